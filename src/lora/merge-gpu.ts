/**
 * The SVD of a merge on the GPU (`kernels/svd.ts`), batch after batch.
 *
 * Rules
 * - Chosen by `prefersGpu`: a hardware adapter and a merge that would keep the CPU busy for more than about a second. Software adapters run on the same cores as JavaScript,
 *   which needs a third of the operations (float64 can afford Gram matrices where f32 needs a QR): there the CPU is faster, as `bench/merge.ts` shows.
 * - Factors go from their files to the GPU without a pass in JavaScript: 275 million numbers (three LoRAs of rank 32 for SDXL) would take it seconds.
 * - Batches stay on the GPU while they fit a budget, factored: another ratio then costs the cores and the projection only.
 * - f32 is good for 1e-6 of what is added up. Where the sum is less than 1/300 of that (LoRAs that cancel each other), the module is left to float64.
 */
import type { Gpu } from '../gpu/gpu';
import { MOST_RANK, panelFloats, SvdBatch, type SvdPart, type SvdValues } from '../kernels/svd';
import { LoraError } from './error';
import type { Pair, Stack } from './merge-files';
import { diagonal } from './merge-solve';

/** Multiplications of Gram matrices that take the CPU about a second. */
const WORTH = 1e9;
/** A batch is one dispatch per kernel: large enough to fill a GPU, small enough that none keeps a slow one busy for long. */
const BATCH_BYTES = 256 << 20;
/** Three LoRAs of rank 32 for SDXL take 1.05 GB. */
const KEEP_BYTES = 1.25 * 2 ** 30;
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
	readonly svd: SvdBatch;
}

/** The factors of a stack as their files have them. @throws LoraError when a file is damaged */
async function partsOf(stack: Stack): Promise<SvdPart[]> {
	const { name, rows, columns } = stack;
	return Promise.all(
		stack.parts.map(async ({ rank, load }) => {
			const { down, up } = await load();
			if (down.length !== rank * columns || up.length !== rank * rows)
				throw new LoraError('lora.shape', name, `The factors of ${name} have another size than their shapes say. The file is damaged.`);
			return { rank, down, up };
		})
	);
}

/** What the parts of a sum can add at most: Σ |coefficient|·‖U‖·‖D‖. */
function largestSum({ parts }: Stack, { ups, downs }: SvdValues, c: readonly number[]): number {
	let start = 0;
	return parts.reduce((sum, { lora, rank, scale }) => {
		const size = (lengths: Float32Array): number => Math.hypot(...lengths.subarray(start, start + rank));
		const most = size(ups) * size(downs);
		start += rank;
		return sum + Math.abs((c[lora] ?? 0) * scale) * most;
	}, 0);
}

export class GpuMerge {
	readonly #plan: Stack[][] = [];
	readonly #kept = new Map<Stack[], Batch>();
	readonly #keep: boolean;

	constructor(
		readonly gpu: Gpu,
		stacks: readonly Stack[]
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
		const svd = await SvdBatch.create(this.gpu, stacks.map(shapeOf), (i) => {
			const stack = stacks[i];
			return stack ? partsOf(stack) : Promise.resolve([]);
		});
		const batch = { stacks, svd };
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
			const { svd } = await this.#batch(stacks);
			try {
				const at = (i: number): { stack: Stack; c: readonly number[] } | undefined => {
					const stack = stacks[i];
					return stack && { stack, c: coefficients(stack) };
				};
				const found = await svd.solve((i) => {
					const one = at(i);
					return one ? diagonal({ stack: one.stack, rank: rankOf(one.stack) }, one.c) : new Float64Array(0);
				});
				const orders = found.map(({ sigma }) => Array.from(sigma.keys()).sort((a, b) => (sigma[b] ?? 0) - (sigma[a] ?? 0)));
				const sigmas = found.map(({ sigma }, i) => Float64Array.from(orders[i] ?? [], (k) => sigma[k] ?? 0));
				const ranks = found.map((values, i) => {
					const [one, sigma] = [at(i), sigmas[i] ?? new Float64Array(0)];
					return one && Math.hypot(...sigma) > CANCELLED * largestSum(one.stack, values, one.c) ? choose(one.stack, sigma) : 0;
				});
				const factors = await svd.project((i) => (orders[i] ?? []).slice(0, ranks[i] ?? 0));
				factors.forEach(({ up, down }, i) => {
					const [stack, rank, sigma] = [stacks[i], ranks[i] ?? 0, sigmas[i]];
					if (stack && sigma && rank > 0) results.set(stack, { up, down, sigma, rank });
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
