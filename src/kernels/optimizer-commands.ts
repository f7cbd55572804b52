/**
 * What an optimizer step dispatches: made once, encoded every step.
 *
 * Rules: the flat buffers are cut between two matrices where one binding would become too large, and where the rate changes; every command works on one such range, or on the whole.
 */
import { allocate } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import { pipelinesOf } from '../gpu/pipelines';
import type { Pipeline } from '../gpu/pipelines';
import type { BindingAccess } from '../gpu/shaders';
import type { FactorLayout, Place } from './factor-layout';
import type { FactorStore } from './factors';
import { targetOf } from './lower';
import { flatWorkgroups } from './lowering';
import { PARAM_BYTES } from './optimizer-params';
import type { Extent } from './optimizer-params';

/** Invocations of every kernel here but the last sums. */
export const WORKGROUP = 64;

/** A part of the flat buffers, in bytes. */
export interface Range {
	readonly offset: number;
	readonly size: number;
	/** The matrices in it. */
	readonly places: readonly Place[];
	/** Of all of them. */
	readonly rateFactor: number;
}

/** @param limit largest binding in bytes */
export function cutRanges({ places, elements }: FactorLayout, limit: number): Range[] {
	const ranges: { offset: number; size: number; places: Place[]; rateFactor: number }[] = [];
	places.forEach((place, i) => {
		const end = places[i + 1]?.offset ?? elements * 4;
		const last = ranges.at(-1);
		const { rateFactor = 1 } = place.entry;
		if (last?.rateFactor === rateFactor && end - last.offset <= limit) {
			last.places.push(place);
			last.size = end - last.offset;
		} else ranges.push({ offset: place.offset, size: end - place.offset, places: [place], rateFactor });
	});
	return ranges;
}

export interface Kernel {
	readonly shader: string;
	readonly conditions?: Readonly<Record<string, boolean>>;
	readonly constants?: Readonly<Record<string, number>>;
}

export interface Bound {
	readonly resource: GPUBufferBinding;
	readonly access: 'read' | 'read_write';
}

export const reads = (buffer: GPUBuffer, range?: Range): Bound => ({ resource: part(buffer, range), access: 'read' });
export const writes = (buffer: GPUBuffer, range?: Range): Bound => ({ resource: part(buffer, range), access: 'read_write' });

const part = (buffer: GPUBuffer, range: Range | undefined): GPUBufferBinding => (range ? { buffer, offset: range.offset, size: range.size } : { buffer });

interface Command {
	readonly pipeline: Pipeline;
	readonly group: GPUBindGroup;
	readonly extent: number;
	readonly groups: readonly [number, number, number];
}

/** Collects the commands of a step, with the buffers that belong to them and not to the state. */
export class Commands {
	readonly extents: Extent[] = [];
	readonly ranges: readonly Range[];
	readonly status: GPUBuffer;
	readonly #commands: Command[] = [];
	readonly #scratch: GPUBuffer[] = [];
	#uniforms: GPUBindGroup | undefined;
	#params: GPUBuffer | undefined;

	constructor(
		readonly gpu: Gpu,
		readonly factors: FactorStore
	) {
		this.ranges = cutRanges(factors.layout, gpu.limits.maxStorageBufferBindingSize);
		this.status = factors.stateBuffer('status');
	}

	get values(): GPUBuffer {
		return this.#twin(0);
	}

	get gradients(): GPUBuffer {
		return this.#twin(1);
	}

	#twin(index: number): GPUBuffer {
		const buffer = this.factors.buffers[index];
		if (!buffer || !this.factors.trainable) throw new Error('The factors are not trainable.');
		return buffer;
	}

	/** Bytes of what is not state: tables, partial sums. */
	get bytes(): number {
		return this.#scratch.reduce((sum, { size }) => sum + size, 0);
	}

	async scratch(label: string, bytes: number, data?: Uint32Array | Float32Array): Promise<GPUBuffer> {
		const buffer = await allocate(this.gpu, `optimizer ${label}`, bytes);
		if (data) this.gpu.device.queue.writeBuffer(buffer, 0, data.buffer, data.byteOffset, data.byteLength);
		this.#scratch.push(buffer);
		return buffer;
	}

	/** Workgroups for so many numbers in fours, one invocation each. */
	groupsFor(quads: number): [number, number, number] {
		return flatWorkgroups(quads, WORKGROUP, targetOf(this.gpu));
	}

	/** Adds a command. @param bound by binding number, `status` (0) left out */
	async add(kernel: Kernel, bound: readonly (Bound | undefined)[], extent: Extent, groups: readonly [number, number, number]): Promise<void> {
		const all = [writes(this.status), ...bound];
		const access: BindingAccess = all.map((binding) => binding?.access);
		const pipeline = await pipelinesOf(this.gpu).get({
			shader: kernel.shader,
			conditions: kernel.conditions ?? {},
			constants: { WORKGROUP, ...kernel.constants },
			access
		});
		const group = this.gpu.device.createBindGroup({
			label: kernel.shader,
			layout: pipeline.storageLayout,
			entries: all.flatMap((binding, number) => (binding ? [{ binding: number, resource: binding.resource }] : []))
		});
		this.#commands.push({ pipeline, group, extent: this.extents.length, groups });
		this.extents.push(extent);
	}

	/** To be called once, after the last `add`. */
	async seal(): Promise<void> {
		const { device } = this.gpu;
		const params = await allocate(
			this.gpu,
			'optimizer params',
			Math.max(1, this.extents.length) * PARAM_BYTES,
			GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST
		);
		const unused = await allocate(this.gpu, 'optimizer scalars', 256, GPUBufferUsage.UNIFORM);
		this.#scratch.push(params, unused);
		this.#params = params;
		this.#uniforms = device.createBindGroup({
			label: 'optimizer uniforms',
			layout: pipelinesOf(this.gpu).uniformLayout,
			entries: [
				{ binding: 0, resource: { buffer: params, size: PARAM_BYTES } },
				{ binding: 1, resource: { buffer: unused } }
			]
		});
	}

	write(params: ArrayBuffer): void {
		if (this.#params) this.gpu.device.queue.writeBuffer(this.#params, 0, params);
	}

	encode(encoder: GPUCommandEncoder): void {
		const pass = encoder.beginComputePass({ label: 'optimizer' });
		for (const { pipeline, group, extent, groups } of this.#commands) {
			pass.setPipeline(pipeline.pipeline);
			pass.setBindGroup(0, group);
			pass.setBindGroup(1, this.#uniforms ?? null, [extent * PARAM_BYTES]);
			pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
		}
		pass.end();
	}

	destroy(): void {
		for (const buffer of this.#scratch) buffer.destroy();
	}
}
