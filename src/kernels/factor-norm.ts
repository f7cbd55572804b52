/**
 * The norm of all factors together, added up on the GPU in a fixed order (`shaders/factor_norm.wesl`); at most a few kilobytes come back, and nobody waits for them.
 */
import { ALIGNMENT, allocate, readBuffer } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import { pipelinesOf } from '../gpu/pipelines';
import type { FactorStore } from './factors';

export interface NormMeter {
	readonly bytes: number;
	/** √Σx² over all factors as they are now; asks at once, resolves later. Not finite when a factor is not. */
	measure(): Promise<number>;
	destroy(): void;
}

const WORKGROUP = 64;
const PARAM_BYTES = 256;
/** Quads that one invocation adds up, where there are fewer than `MOST_GROUPS` groups. */
const EACH = 16;
const MOST_GROUPS = 512;

/** Bytes of its buffers. @param elements of the factor store @param limit largest binding in bytes */
export function normBytes(elements: number, limit: number): number {
	const ranges = rangesOf(elements, limit);
	return ranges.length * PARAM_BYTES + 256 + 4 * Math.max(64, total(ranges));
}

interface Range {
	readonly offset: number;
	readonly size: number;
	readonly groups: number;
	/** Of its numbers in the buffer of sums. */
	readonly first: number;
}

const total = (ranges: readonly Range[]): number => ranges.reduce((sum, { groups }) => sum + groups, 0);

function rangesOf(elements: number, limit: number): Range[] {
	const most = Math.floor(limit / ALIGNMENT) * ALIGNMENT;
	const ranges: Range[] = [];
	for (let offset = 0; offset < elements * 4; offset += most) {
		const size = Math.min(most, elements * 4 - offset);
		ranges.push({ offset, size, groups: Math.min(MOST_GROUPS, Math.ceil(size / 16 / WORKGROUP / EACH)), first: total(ranges) });
	}
	return ranges;
}

/** @throws GpuError when its buffers do not fit */
export async function createNormMeter(gpu: Gpu, factors: FactorStore): Promise<NormMeter> {
	await factors.ready();
	const cache = pipelinesOf(gpu);
	const { pipeline, storageLayout } = await cache.get({ shader: 'factor_norm', conditions: {}, constants: { WORKGROUP }, access: ['read_write', 'read'] });
	const ranges = rangesOf(factors.elements, gpu.limits.maxStorageBufferBindingSize);
	const count = total(ranges);
	const sums = await allocate(gpu, 'norm sums', 4 * Math.max(64, count));
	const params = await allocate(gpu, 'norm params', ranges.length * PARAM_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
	const unused = await allocate(gpu, 'norm scalars', 256, GPUBufferUsage.UNIFORM);
	const [values] = factors.buffers;
	if (!values) throw new Error('The factors have no values.');
	ranges.forEach(({ size, groups, first }, i) => gpu.device.queue.writeBuffer(params, i * PARAM_BYTES, Uint32Array.of(size / 16, groups, first)));
	const uniforms = gpu.device.createBindGroup({
		label: 'norm uniforms',
		layout: cache.uniformLayout,
		entries: [
			{ binding: 0, resource: { buffer: params, size: PARAM_BYTES } },
			{ binding: 1, resource: { buffer: unused } }
		]
	});
	const groups = ranges.map(({ offset, size }) =>
		gpu.device.createBindGroup({
			label: 'norm',
			layout: storageLayout,
			entries: [
				{ binding: 0, resource: { buffer: sums } },
				{ binding: 1, resource: { buffer: values, offset, size } }
			]
		})
	);
	return {
		bytes: normBytes(factors.elements, gpu.limits.maxStorageBufferBindingSize),
		async measure() {
			const encoder = gpu.device.createCommandEncoder({ label: 'norm' });
			const pass = encoder.beginComputePass({ label: 'norm' });
			pass.setPipeline(pipeline);
			ranges.forEach((range, i) => {
				pass.setBindGroup(0, groups[i]);
				pass.setBindGroup(1, uniforms, [i * PARAM_BYTES]);
				pass.dispatchWorkgroups(range.groups);
			});
			pass.end();
			gpu.device.queue.submit([encoder.finish()]);
			const parts = new Float32Array(await readBuffer(gpu, sums, 0, count * 4));
			return Math.sqrt(parts.reduce((sum, part) => sum + part, 0));
		},
		destroy() {
			for (const buffer of [sums, params, unused]) buffer.destroy();
		}
	};
}
