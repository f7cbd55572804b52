/**
 * The SVD of a merge on the GPU (`kernels/svd.ts`), batch after batch.
 *
 * Rules
 * - Chosen by `prefersGpu`: a hardware adapter and a merge that would keep the CPU busy for more than about a second. Software adapters run on the same cores as JavaScript,
 *   which needs a third of the operations (float64 can afford Gram matrices where f32 needs a QR): there the CPU is faster, as `bench/merge.ts` shows.
 * - Factors go from their files to the GPU as they are stored: 275 million numbers (three LoRAs of rank 32 for SDXL) would take JavaScript seconds to widen, and halves are half of
 *   the bytes. The next batch goes up while the GPU works on the last.
 * - Batches stay on the GPU while they fit a budget, factored: another ratio then costs the cores and the projection only.
 * - f32 is good for 1e-6 of what is added up. Where the sum is less than 1/300 of that (LoRAs that cancel each other), the module is left to float64.
 */
import type { Gpu } from '../gpu/gpu';
import { MOST_RANK, panelNumbers, SvdBatch, type SvdPart, type SvdValues } from '../kernels/svd';
import { LoraError } from './error';
import type { Pair, Stack } from './merge-files';
import { diagonal } from './merge-solve';

/** Multiplications of Gram matrices that take the CPU about a second. */
const WORTH = 1e9;
/** A batch is one dispatch per kernel: large enough to fill a GPU, small enough that none keeps a slow one busy for long. */
const BATCH_BYTES = 256 << 20;
/** Three LoRAs of rank 32 for SDXL take 0.53 GB in halves. */
const KEEP_BYTES = 1.25 * 2 ** 30;
const CANCELLED = 1 / 300;

const rankOf = (stack: Stack): number => stack.parts.reduce((sum, { rank }) => sum + rank, 0);
const shapeOf = (stack: Stack): { rows: number; columns: number; rank: number } => ({ rows: stack.rows, columns: stack.columns, rank: rankOf(stack) });

/** Whether the GPU answers sooner than the CPU would. */
export function prefersGpu(gpu: Gpu, stacks: readonly Stack[]): boolean {
	return !gpu.adapter.software && stacks.reduce((sum, stack) => sum + panelNumbers(shapeOf(stack)) * rankOf(stack), 0) > WORTH;
}

export interface GpuResult extends Pair {
	readonly sigma: Float64Array;
	readonly rank: number;
}

interface Planned {
	readonly stacks: Stack[];
	readonly halves: boolean;
}

/** All of its files hold halves, and each factor whole words of them. */
const inHalves = ({ parts, rows, columns }: Stack): boolean =>
	parts.every(({ loadHalves, rank }) => loadHalves !== undefined && (rank * rows) % 2 === 0 && (rank * columns) % 2 === 0);

/** The factors of a stack as their files have them. @throws LoraError when a file is damaged */
async function partsOf(stack: Stack, halves: boolean): Promise<SvdPart[]> {
	const { name, rows, columns } = stack;
	return Promise.all(
		stack.parts.map(async ({ rank, load, loadHalves }) => {
			const { down, up } = await (halves && loadHalves ? loadHalves() : load());
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
	readonly #plan: Planned[] = [];
	readonly #kept = new Map<Planned, Promise<SvdBatch>>();
	readonly #keep: boolean;

	constructor(
		readonly gpu: Gpu,
		stacks: readonly Stack[]
	) {
		const limit = Math.min(BATCH_BYTES, gpu.limits.maxStorageBufferBindingSize, gpu.limits.maxBufferSize);
		const solvable = stacks.filter((stack) => rankOf(stack) <= MOST_RANK);
		let all = 0;
		for (const halves of [true, false]) {
			let used = Infinity;
			for (const stack of solvable.filter((one) => inHalves(one) === halves)) {
				const bytes = (halves ? 2 : 4) * panelNumbers(shapeOf(stack));
				if (used + bytes > limit) {
					this.#plan.push({ stacks: [], halves });
					used = 0;
				}
				this.#plan.at(-1)?.stacks.push(stack);
				used += bytes;
				all += bytes;
			}
		}
		this.#keep = all <= KEEP_BYTES;
	}

	#batch(planned: Planned): Promise<SvdBatch> {
		const known = this.#kept.get(planned);
		if (known) return known;
		const { stacks, halves } = planned;
		const parts = (i: number): Promise<SvdPart[]> => {
			const stack = stacks[i];
			return stack ? partsOf(stack, halves) : Promise.resolve([]);
		};
		const batch = SvdBatch.create(this.gpu, stacks.map(shapeOf), parts, halves);
		this.#kept.set(planned, batch);
		batch.catch(() => this.#kept.delete(planned));
		return batch;
	}

	#drop(planned: Planned): void {
		const batch = this.#kept.get(planned);
		this.#kept.delete(planned);
		batch?.then((svd) => svd.destroy()).catch(() => undefined);
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
		for (const [n, planned] of this.#plan.entries()) {
			await onProgress(n / this.#plan.length);
			const { stacks } = planned;
			const svd = await this.#batch(planned);
			const next = this.#plan[n + 1];
			if (next) void this.#batch(next).catch(() => undefined); // goes up meanwhile; asked for again, it says what is wrong
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
				if (!this.#keep) this.#drop(planned);
			}
		}
		return results;
	}

	destroy(): void {
		for (const planned of [...this.#kept.keys()]) this.#drop(planned);
	}
}
