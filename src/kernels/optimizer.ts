/**
 * Optimizer steps over a network's flat buffers, entirely on the GPU.
 *
 * Rules: gradients are first searched for infinities and NaNs; if there is one, the step changes nothing but a counter, without the host being
 * asked. What depends on the step number (bias correction) is computed on the host in float64. Every step is three commands, whatever
 * the number of matrices.
 */
import { ALIGNMENT, allocate, readBuffer, STORAGE_USAGE } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import { pipelinesOf, type Pipeline } from '../gpu/pipelines';
import type { OptimizerSettings } from '../recipe/recipe';
import type { FactorStore } from './factors';
import { targetOf } from './lower';
import { flatWorkgroups } from './lowering';

export interface OptimizerStep {
	readonly learningRate: number;
	/** 1-based, for AdamW's bias correction. */
	readonly step: number;
	/** What the gradients were multiplied by. */
	readonly lossScale: number;
}

export interface Optimizer {
	/** Enqueues one step; returns at once. */
	run(step: OptimizerStep): void;
	/** Steps skipped so far because a gradient was not finite. */
	skipped(): Promise<number>;
	destroy(): void;
}

const WORKGROUP = 64;
const PARAM_BYTES = 256;

/** The part of the buffers that one dispatch covers. */
interface Range {
	readonly quads: number;
	readonly check: GPUBindGroup;
	readonly update: GPUBindGroup;
	readonly groups: readonly [number, number, number];
}

export async function createOptimizer(gpu: Gpu, factors: FactorStore, settings: OptimizerSettings): Promise<Optimizer> {
	await factors.ready();
	if (factors.optimizer !== settings.kind) throw new Error(`The factors were made for ${factors.optimizer ?? 'no optimizer'}, not for ${settings.kind}.`);
	const cache = pipelinesOf(gpu);
	const constants = { WORKGROUP };
	const adamw = settings.kind === 'adamw';
	const [check, update] = await Promise.all([
		cache.get({ shader: 'gradient_check', conditions: {}, constants, access: ['read_write', 'read'] }),
		cache.get({
			shader: 'optimizer',
			conditions: { adamw },
			constants,
			access: ['read_write', 'read', 'read_write', 'read_write', ...(adamw ? ['read_write' as const] : [])]
		})
	]);
	const status = await allocate(gpu, 'optimizer status', 16, STORAGE_USAGE());
	gpu.device.queue.writeBuffer(status, 0, new Uint32Array(4));
	const ranges = rangesOf(gpu, factors, status, check, update);
	const params = await allocate(gpu, 'optimizer params', ranges.length * PARAM_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
	const unused = await allocate(gpu, 'optimizer scalars', 256, GPUBufferUsage.UNIFORM);
	const uniforms = gpu.device.createBindGroup({
		label: 'optimizer uniforms',
		layout: cache.uniformLayout,
		entries: [
			{ binding: 0, resource: { buffer: params, size: PARAM_BYTES } },
			{ binding: 1, resource: { buffer: unused } }
		]
	});
	return {
		run(step) {
			gpu.device.queue.writeBuffer(params, 0, packAll(ranges, settings, step));
			const encoder = gpu.device.createCommandEncoder({ label: 'optimizer' });
			encoder.clearBuffer(status, 0, 4);
			const pass = encoder.beginComputePass({ label: 'optimizer' });
			for (const [pipeline, group] of [
				[check.pipeline, 'check'],
				[update.pipeline, 'update']
			] as const) {
				pass.setPipeline(pipeline);
				ranges.forEach((range, i) => {
					pass.setBindGroup(0, range[group]);
					pass.setBindGroup(1, uniforms, [i * PARAM_BYTES]);
					pass.dispatchWorkgroups(range.groups[0], range.groups[1], range.groups[2]);
				});
			}
			pass.end();
			gpu.device.queue.submit([encoder.finish()]);
		},
		async skipped() {
			return new Uint32Array(await readBuffer(gpu, status, 4, 4))[0] ?? 0;
		},
		destroy() {
			for (const buffer of [status, params, unused]) buffer.destroy();
		}
	};
}

/** Cuts the flat buffers where one binding would become too large. */
function rangesOf(gpu: Gpu, factors: FactorStore, status: GPUBuffer, check: Pipeline, update: Pipeline): Range[] {
	const [values, gradients, ...moments] = factors.buffers;
	if (!values || !gradients) throw new Error('The factors are not trainable.');
	const limit = Math.floor(gpu.limits.maxStorageBufferBindingSize / ALIGNMENT) * ALIGNMENT;
	const total = factors.elements * 4;
	const ranges: Range[] = [];
	for (let offset = 0; offset < total; offset += limit) {
		const size = Math.min(limit, total - offset);
		const part = (buffer: GPUBuffer) => ({ buffer, offset, size });
		const group = (label: string, pipeline: Pipeline, buffers: readonly GPUBuffer[]) =>
			gpu.device.createBindGroup({
				label,
				layout: pipeline.storageLayout,
				entries: [{ buffer: status }, ...buffers.map(part)].map((resource, binding) => ({ binding, resource }))
			});
		const quads = size / 16;
		ranges.push({
			quads,
			check: group('gradient check', check, [gradients]),
			update: group('optimizer', update, [gradients, values, ...moments]),
			groups: flatWorkgroups(quads, WORKGROUP, targetOf(gpu))
		});
	}
	return ranges;
}

/** The shader's `Params` for every range. */
function packAll(ranges: readonly Range[], settings: OptimizerSettings, step: OptimizerStep): ArrayBuffer {
	const data = new ArrayBuffer(ranges.length * PARAM_BYTES);
	const { beta1, beta2, weightDecay } = settings;
	const { learningRate, lossScale } = step;
	const adamw = settings.kind === 'adamw';
	const numbers = [
		1 / lossScale,
		1 - learningRate * weightDecay,
		adamw ? learningRate / (1 - beta1 ** step.step) : learningRate,
		beta1,
		1 - beta1,
		beta2,
		1 - beta2,
		adamw ? settings.epsilon : 0,
		adamw ? 1 / Math.sqrt(1 - beta2 ** step.step) : 1
	];
	ranges.forEach((range, i) => {
		new Uint32Array(data, i * PARAM_BYTES)[0] = range.quads;
		new Float32Array(data, i * PARAM_BYTES).set(numbers, 1);
		new Uint32Array(data, i * PARAM_BYTES)[10] = i === 0 ? 1 : 0;
	});
	return data;
}
