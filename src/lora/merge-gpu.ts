/**
 * The SVD of a merge on the GPU (`kernels/svd.ts`), batch after batch.
 *
 * Rules
 * - Chosen by `prefersGpu`: a hardware adapter and a merge that would keep the CPU busy for more than about a second. Software adapters run on the same cores as JavaScript,
 *   which needs a third of the operations (float64 can afford Gram matrices where f32 needs a QR): there the CPU is faster, as `bench/merge.ts` shows.
 * - Batches stay on the GPU while they fit a budget, factored: another ratio then costs the cores and the projection only.
 * - f32 is good for 1e-6 of what is added up. Where the sum is less than 1/300 of that (LoRAs that cancel each other), the module is left to float64.
 */
import type { Gpu } from '../gpu/gpu';
import { panelFloats, SvdBatch } from '../kernels/svd';
import { transposed } from './linear';
import type { Pair, Stack } from './merge-files';
import { diagonal, type StackFactors } from './merge-solve';

/** Multiplications of Gram matrices that take the CPU about a second. */
const WORTH = 1e9;
/** A batch is one dispatch per kernel: small enough that none keeps a slow GPU busy for long. */
const BATCH_BYTES = 48 << 20;
/** One workgroup rotates a whole core, which takes long when it is large. */
const MOST_RANK = 192;
const KEEP_BYTES = 768 << 20;
const CANCELLED = 1 / 300;

const rankOf = (stack: Stack): number => stack.parts.reduce((sum, { rank }) => sum + rank, 0);
const shapeOf = (stack: Stack): { rows: number; columns: number; rank: number } => ({ rows: stack.rows, columns: stack.columns, rank: rankOf(stack) });

/** Whether the GPU answers sooner than the CPU would. */
export function prefersGpu(gpu: Gpu, stacks: readonly Stack[]): boolean {
	return !gpu.adapter.software && stacks.reduce((sum, stack) => sum + panelFloats(shapeOf(stack)) * rankOf(stack), 0) > WORTH;
}

export interface GpuResult extends Pair {
	readonly sigma: Float64Array;
	readonly rank: number;
}

interface Batch {
	readonly stacks: readonly Stack[];
	/** ‖U‖·‖D‖ of every part: what a unit of its coefficient can add at most. */
	readonly sizes: readonly (readonly number[])[];
	readonly svd: SvdBatch;
}

const length = (data: Float32Array): number => Math.sqrt(data.reduce((sum, x) => sum + x * x, 0));

function partSizes({ parts, rows, columns }: Stack, { ups, downs }: StackFactors): number[] {
	let start = 0;
	return parts.map(({ rank }) => {
		const from = start;
		start += rank;
		return length(ups.subarray(from * rows, start * rows)) * length(downs.subarray(from * columns, start * columns));
	});
}

export class GpuMerge {
	readonly #plan: Stack[][] = [];
	readonly #kept = new Map<Stack[], Batch>();
	readonly #keep: boolean;

	constructor(
		readonly gpu: Gpu,
		stacks: readonly Stack[],
		private readonly load: (stack: Stack) => Promise<StackFactors>
	) {
		const limit = Math.min(BATCH_BYTES, gpu.limits.maxStorageBufferBindingSize, gpu.limits.maxBufferSize) / 4;
		let [used, all] = [0, 0];
		for (const stack of stacks.filter((one) => rankOf(one) <= MOST_RANK)) {
			const floats = panelFloats(shapeOf(stack));
			const last = this.#plan.at(-1);
			if (last && used + floats <= limit) last.push(stack);
			else {
				this.#plan.push([stack]);
				used = 0;
			}
			used += floats;
			all += floats;
		}
		this.#keep = 4 * all <= KEEP_BYTES;
	}

	async #batch(stacks: Stack[]): Promise<Batch> {
		const known = this.#kept.get(stacks);
		if (known) return known;
		const factors: StackFactors[] = [];
		for (const stack of stacks) factors.push(await this.load(stack));
		const sizes = stacks.map((stack, i) => partSizes(stack, factors[i] ?? { ups: new Float32Array(0), downs: new Float32Array(0) }));
		const svd = await SvdBatch.create(this.gpu, stacks.map(shapeOf), (i) => factors[i] ?? { ups: new Float32Array(0), downs: new Float32Array(0) });
		const batch = { stacks, sizes, svd };
		if (this.#keep) this.#kept.set(stacks, batch);
		return batch;
	}

	/**
	 * @param coefficients one per file
	 * @param choose how many of the descending singular values are kept
	 * @returns what the GPU can answer; stacks that are missing belong to the CPU
	 */
	async solve(
		coefficients: (stack: Stack) => readonly number[],
		choose: (stack: Stack, sigma: Float64Array) => number,
		onProgress: (share: number) => Promise<void>
	): Promise<Map<Stack, GpuResult>> {
		const results = new Map<Stack, GpuResult>();
		for (const [n, stacks] of this.#plan.entries()) {
			await onProgress(n / this.#plan.length);
			const { svd, sizes } = await this.#batch(stacks);
			try {
				const at = (i: number): { stack: Stack; c: readonly number[] } | undefined => {
					const stack = stacks[i];
					return stack && { stack, c: coefficients(stack) };
				};
				const found = await svd.solve((i) => {
					const one = at(i);
					return one ? diagonal({ stack: one.stack, rank: rankOf(one.stack) }, one.c) : new Float64Array(0);
				});
				const orders = found.map((sigma) => Array.from(sigma.keys()).sort((a, b) => (sigma[b] ?? 0) - (sigma[a] ?? 0)));
				const sigmas = found.map((sigma, i) => Float64Array.from(orders[i] ?? [], (k) => sigma[k] ?? 0));
				const ranks = sigmas.map((sigma, i) => {
					const one = at(i);
					if (!one) return 0;
					const most = one.stack.parts.reduce((sum, { lora, scale }, k) => sum + Math.abs((one.c[lora] ?? 0) * scale) * (sizes[i]?.[k] ?? 0), 0);
					return Math.hypot(...sigma) > CANCELLED * most ? choose(one.stack, sigma) : 0;
				});
				const factors = await svd.project((i) => (orders[i] ?? []).slice(0, ranks[i] ?? 0));
				factors.forEach(({ up, down }, i) => {
					const [stack, rank, sigma] = [stacks[i], ranks[i] ?? 0, sigmas[i]];
					if (stack && sigma && rank > 0) results.set(stack, { up: transposed(up, stack.rows), down, sigma, rank });
				});
			} finally {
				if (!this.#keep) svd.destroy();
			}
		}
		return results;
	}

	destroy(): void {
		for (const { svd } of this.#kept.values()) svd.destroy();
		this.#kept.clear();
	}
}
