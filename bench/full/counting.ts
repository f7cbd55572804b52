/**
 * A device that takes everything and does nothing, for counting what a run allocates at sizes no machine at hand has room for. Buffers have a size and no memory behind them; reading back
 * gives zeros.
 */
import { globals } from 'webgpu';
import type { Gpu } from '../../src/gpu/gpu';

/** Of a usual desktop card in a browser. */
const LIMITS = {
	maxBufferSize: 2 ** 32 - 4,
	maxStorageBufferBindingSize: 2 ** 32 - 4,
	maxStorageBuffersPerShaderStage: 16,
	maxComputeWorkgroupStorageSize: 48 << 10,
	maxComputeInvocationsPerWorkgroup: 1024,
	maxComputeWorkgroupSizeX: 1024,
	maxComputeWorkgroupSizeY: 1024,
	maxComputeWorkgroupSizeZ: 64,
	maxComputeWorkgroupsPerDimension: 65_535
};

/** @returns `bytes`: alive now, without buffers that are mapped, which lie in the computer's memory */
export function countingGpu(): { gpu: Gpu; live: { readonly bytes: number } } {
	Object.assign(globalThis, globals);
	const live = { bytes: 0 };
	const done = (): Promise<undefined> => Promise.resolve(undefined);
	const nothing = (): object => ({});
	// Only what the engine calls before the first step; a method that is missing here fails loudly.
	const device = {
		limits: LIMITS,
		features: new Set<string>(),
		createBuffer: ({ size, usage, label }: GPUBufferDescriptor) => {
			let held = usage & (GPUBufferUsage.MAP_READ | GPUBufferUsage.MAP_WRITE) ? 0 : size;
			live.bytes += held;
			let memory: ArrayBuffer | undefined;
			return {
				size,
				usage,
				label,
				mapState: 'unmapped',
				destroy: () => {
					live.bytes -= held;
					held = 0;
				},
				mapAsync: done,
				unmap: () => undefined,
				getMappedRange: () => (memory ??= new ArrayBuffer(size))
			};
		},
		pushErrorScope: () => undefined,
		popErrorScope: () => Promise.resolve(null),
		createBindGroupLayout: nothing,
		createPipelineLayout: nothing,
		createShaderModule: () => ({ getCompilationInfo: () => Promise.resolve({ messages: [] }) }),
		createComputePipelineAsync: () => Promise.resolve({}),
		createBindGroup: nothing,
		createCommandEncoder: () => ({
			copyBufferToBuffer: () => undefined,
			clearBuffer: () => undefined,
			beginComputePass: () => ({ setPipeline: () => undefined, setBindGroup: () => undefined, dispatchWorkgroups: () => undefined, end: () => undefined }),
			finish: nothing
		}),
		queue: { writeBuffer: () => undefined, submit: () => undefined, onSubmittedWorkDone: done }
	} as unknown as GPUDevice;
	const gpu: Gpu = {
		device,
		adapter: { vendor: '', architecture: '', device: 'counting', description: 'counts buffers', isFallback: false, software: false },
		f16: true,
		subgroups: true,
		subgroupMatrix: false,
		subgroupSize: 32,
		timestamps: false,
		limits: device.limits,
		features: new Set(['shader-f16', 'subgroups']),
		lost: new Promise(() => undefined),
		check: () => undefined,
		close: () => undefined
	};
	return { gpu, live };
}
