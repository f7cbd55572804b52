/**
 * Steps with everything WebGPU needs, and how one is recorded.
 */
import type { Dispatch } from './dispatch';
import type { Home } from './residency';

/** A step with everything WebGPU needs. */
export type Ready =
	| {
			readonly step: Dispatch;
			readonly pipeline: GPUComputePipeline;
			readonly group: GPUBindGroup;
			/** Workgroups, here because steps are objects of many forms, which are slow to read. */
			readonly x: number;
			readonly y: number;
			readonly z: number;
	  }
	| { readonly from: Home; readonly to: Home; readonly bytes: number; readonly label: string };

/** Calls into WebGPU are what recording costs: `group` holds everything a dispatch reads, and the pass keeps its pipeline (`before`). */
export function encodeDispatch(pass: GPUComputePassEncoder, item: Extract<Ready, { step: Dispatch }>, before?: GPUComputePipeline): void {
	if (item.pipeline !== before) pass.setPipeline(item.pipeline);
	pass.setBindGroup(0, item.group);
	// Each argument is converted by itself.
	if (item.y === 1 && item.z === 1) pass.dispatchWorkgroups(item.x);
	else pass.dispatchWorkgroups(item.x, item.y, item.z);
}

export function encodeCopy(encoder: GPUCommandEncoder, item: Exclude<Ready, { step: Dispatch }>): void {
	encoder.copyBufferToBuffer(item.from.buffer, item.from.offset, item.to.buffer, item.to.offset, item.bytes);
}
