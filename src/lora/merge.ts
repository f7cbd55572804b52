/**
 * Merges LoRAs and compares them. A session belongs to a set of files and keeps all that does not depend on ratios (Gram matrices of every stack, and the factors while
 * they are small), so that another ratio, dimension or block weight costs only the small core and the last product.
 *
 * Rules
 * - W = Σ ratio · block weight · alpha/rank · up·down per module, over the union of the modules. BASE acts on the text encoders.
 * - Dimension: fixed, auto (the largest rank of the parts that take part in the module), or by energy; never more than the matrix or the sum of ranks allows. Alpha = rank.
 * - A module whose coefficients are all 0, or whose change is 0, is left out and counted.
 */
import { blockRatio } from '../recipe/merge';
import type { Dimension, MergeSettings } from '../recipe/merge';
import { adviseRatio } from '../recipe/merge-advice';
import { GpuError, type Gpu } from '../gpu/gpu';
import type { ModelFamily } from '../recipe/recipe';
import { LoraError } from './error';
import { stacksOf } from './merge-files';
import type { MergeFile, Pair, Stack } from './merge-files';
import { pivotedCholesky } from './linear';
import { GpuMerge, prefersGpu } from './merge-gpu';
import type { GpuResult } from './merge-gpu';
import { approximate, average, clampPair, concatenate, diagonal, loadStack, prepareStack, spectrumOf } from './merge-solve';
import type { Prepared, Spectrum, StackFactors } from './merge-solve';
import { Tally } from './merge-tally';
import type { ComparedLora, LoraComparison, MergedModule, MergeReport } from './merge-types';

export interface Merged {
	readonly family: ModelFamily;
	readonly modules: readonly MergedModule[];
	readonly report: MergeReport;
	readonly warnings: readonly LoraError[];
}

export interface MergeHooks {
	/** 0 to 1. */
	readonly onProgress?: (share: number) => void;
	/** Throws to stop. */
	readonly check?: () => void;
	/** For what the CPU would take long for (`merge-gpu.ts`). `force`: in any case. */
	readonly gpu?: Gpu;
	readonly force?: boolean;
}

/** Factors are kept in memory up to this many bytes per session; larger sets are read again from their files. */
const KEEP_BYTES = 192 << 20;
/** Lets messages through between modules, at most this often. */
const BREATH_MS = 40;

class Breath {
	#last = performance.now();

	constructor(private readonly hooks: MergeHooks) {}

	async take(share: number): Promise<void> {
		if (performance.now() - this.#last < BREATH_MS) return;
		this.hooks.onProgress?.(share);
		await new Promise((resolve) => setTimeout(resolve, 0));
		this.hooks.check?.();
		this.#last = performance.now();
	}
}

const isActive = (c: readonly number[], lora: number): boolean => (c[lora] ?? 0) !== 0;

/** How many of the singular values are kept. */
function chooseRank(dimension: Dimension, stack: Stack, coefficients: readonly number[], sigma: Float64Array): number {
	const ranks = stack.parts.filter(({ lora }) => isActive(coefficients, lora)).map(({ rank }) => rank);
	const most = Math.min(
		ranks.reduce((a, b) => a + b, 0),
		stack.rows,
		stack.columns,
		sigma.length
	);
	switch (dimension.kind) {
		case 'fixed':
			return Math.min(dimension.rank, most);
		case 'auto':
			return Math.min(Math.max(...ranks), most);
		case 'energy': {
			const total = sigma.reduce((sum, s) => sum + s * s, 0);
			let kept = 0;
			for (let r = 0; r < most; r++) {
				kept += (sigma[r] ?? 0) ** 2;
				if (kept >= dimension.keep * total) return r + 1;
			}
			return most;
		}
	}
}

/** ‖W‖² from the Gram matrices. */
function squaredNorm(prepared: Prepared, coefficients: readonly number[]): number {
	const { rank, upGram, downGram } = prepared;
	const c = diagonal(prepared, coefficients);
	let sum = 0;
	for (let i = 0; i < rank; i++) for (let j = 0; j < rank; j++) sum += (c[i] ?? 0) * (c[j] ?? 0) * (upGram[i * rank + j] ?? 0) * (downGram[i * rank + j] ?? 0);
	return Math.max(0, sum);
}

const dimensionOf = ({ dimension, convDimension }: MergeSettings, { kernel }: Stack): Dimension =>
	kernel.length > 0 ? (convDimension ?? dimension) : dimension;

function withEnergy(result: GpuResult): GpuResult & { square: number; kept: number } {
	const energy = (sigma: Float64Array): number => sigma.reduce((sum, s) => sum + s * s, 0);
	return { ...result, square: energy(result.sigma), kept: energy(result.sigma.subarray(0, result.rank)) };
}

export class MergeSession {
	readonly family: ModelFamily;
	readonly #stacks: readonly Stack[];
	readonly #prepared = new Map<Stack, Prepared>();
	readonly #factors = new Map<Stack, StackFactors>();
	readonly #keep: boolean;
	#gpu: GpuMerge | undefined;

	/** @param files of one architecture; `given` stands for stacks made from something else than files. @throws LoraError when they contradict each other */
	constructor(
		readonly files: readonly MergeFile[],
		given?: { readonly family: ModelFamily; readonly stacks: readonly Stack[] }
	) {
		if (files.length === 0 && !given) throw new LoraError('merge.noFiles', '', 'There is nothing to merge. Choose at least one LoRA.');
		const { family, stacks } = given ?? stacksOf(files);
		this.family = family;
		this.#stacks = stacks;
		const bytes = stacks.reduce((sum, { rows, columns, parts }) => sum + 4 * (rows + columns) * parts.reduce((all, { rank }) => all + rank, 0), 0);
		this.#keep = bytes <= KEEP_BYTES;
	}

	async #load(stack: Stack): Promise<StackFactors> {
		const known = this.#factors.get(stack);
		if (known) return known;
		const factors = await loadStack(stack);
		if (this.#keep) this.#factors.set(stack, factors);
		return factors;
	}

	/** All that the GPU answers; what is missing belongs to the CPU. */
	async #solveOnGpu(settings: MergeSettings, hooks: MergeHooks, breath: Breath): Promise<Map<Stack, GpuResult>> {
		const { gpu, force } = hooks;
		if (!gpu || settings.method !== 'svd' || !(force ?? prefersGpu(gpu, this.#stacks))) return new Map();
		if (this.#gpu?.gpu !== gpu) {
			this.release();
			this.#gpu = new GpuMerge(gpu, this.#stacks);
		}
		const coefficients = (stack: Stack): number[] => settings.parts.map((part) => blockRatio(part, stack.block));
		try {
			return await this.#gpu.solve(
				coefficients,
				(stack, sigma) => {
					const c = coefficients(stack);
					return stack.parts.some(({ lora }) => isActive(c, lora)) ? chooseRank(dimensionOf(settings, stack), stack, c, sigma) : 0;
				},
				(share) => breath.take(share)
			);
		} catch (error) {
			if (!(error instanceof GpuError)) throw error;
			// No room, or lost: the CPU needs longer but not the GPU.
			this.release();
			return new Map();
		}
	}

	/** Gives the GPU's memory back. */
	release(): void {
		this.#gpu?.destroy();
		this.#gpu = undefined;
	}

	async #prepare(stack: Stack): Promise<Prepared> {
		let prepared = this.#prepared.get(stack);
		if (!prepared) {
			prepared = prepareStack(stack, await this.#load(stack));
			this.#prepared.set(stack, prepared);
		}
		return prepared;
	}

	/** @param settings one part per file, in the same order */
	async merge(settings: MergeSettings, hooks: MergeHooks = {}): Promise<Merged> {
		const started = performance.now();
		const breath = new Breath(hooks);
		const tally = new Tally();
		const modules: MergedModule[] = [];
		const leftOut: string[] = [];
		let [kept, whole] = [0, 0];
		const solved = await this.#solveOnGpu(settings, hooks, breath);
		for (const [i, stack] of this.#stacks.entries()) {
			if (solved.size === 0) await breath.take(i / this.#stacks.length);
			const coefficients = settings.parts.map((part) => blockRatio(part, stack.block));
			if (!stack.parts.some(({ lora }) => isActive(coefficients, lora))) {
				leftOut.push(stack.name);
				continue;
			}
			const given = solved.get(stack);
			const made = given ? withEnergy(given) : await this.#merge(stack, settings, coefficients);
			if (made.rank === 0) leftOut.push(stack.name);
			else {
				tally.add(stack.block, made.rank, made.sigma ?? made.square);
				const pair = settings.clamp ? clampPair(made) : made;
				const { name, part, block, rows, columns, kernel } = stack;
				modules.push({ name, part, block, rows, columns, kernel, rank: made.rank, alpha: made.rank, down: pair.down, up: pair.up });
			}
			whole += made.square;
			kept += made.kept;
		}
		if (modules.length === 0) {
			throw new LoraError('merge.nothing', '', 'Nothing is left of this merge: every ratio or block weight is 0, or the LoRAs change nothing. Raise a ratio.');
		}
		const report: MergeReport = {
			family: this.family,
			modules: modules.length,
			textEncoderModules: modules.filter(({ part }) => part === 'te').length,
			ranks: tally.ranks,
			norm: Math.sqrt(whole),
			kept: settings.method === 'average' ? null : whole > 0 ? Math.min(1, kept / whole) : 1,
			energy: tally.energy,
			blocks: tally.blocks,
			seconds: (performance.now() - started) / 1000,
			device: solved.size > 0 ? 'gpu' : 'cpu'
		};
		return {
			family: this.family,
			modules,
			report,
			warnings: [...this.files.flatMap(({ warnings }) => warnings), ...this.#remarks(settings, modules, leftOut)]
		};
	}

	async #merge(
		stack: Stack,
		settings: MergeSettings,
		coefficients: readonly number[]
	): Promise<Pair & { rank: number; sigma?: Float64Array; square: number; kept: number }> {
		const prepared = await this.#prepare(stack);
		const factors = await this.#load(stack);
		if (settings.method !== 'svd') {
			const square = squaredNorm(prepared, coefficients);
			if (settings.method === 'concat') return { ...concatenate(prepared, factors, coefficients), square, kept: square };
			const mean = average(prepared, factors, coefficients);
			if (mean) return { ...mean, square, kept: 0 };
			const ranks = stack.parts.map(({ rank }) => rank).join(', ');
			const message = `The ranks of ${stack.name} differ (${ranks}): factors can only be averaged where they agree. Merge by SVD instead.`;
			throw new LoraError('merge.ranks', stack.name, message, { module: stack.name, ranks });
		}
		const spectrum: Spectrum = spectrumOf(prepared, coefficients);
		const { sigma } = spectrum;
		const square = sigma.reduce((sum, s) => sum + s * s, 0);
		if (square === 0) return { rank: 0, sigma, square, kept: 0, down: new Float32Array(0), up: new Float32Array(0) };
		const rank = chooseRank(dimensionOf(settings, stack), stack, coefficients, sigma);
		return withEnergy({ ...approximate(prepared, factors, spectrum, rank), rank, sigma });
	}

	#remarks({ method, dimension }: MergeSettings, modules: readonly MergedModule[], leftOut: readonly string[]): LoraError[] {
		const remarks: LoraError[] = [];
		const largest = Math.max(...modules.map(({ rank }) => rank));
		if (method === 'svd' && dimension.kind === 'fixed' && dimension.rank > largest) {
			const message = `Dimension ${dimension.rank} is more than these LoRAs have together; the result has ${largest}, which already holds all of them.`;
			remarks.push(new LoraError('merge.dimensionAboveRank', 'dimension', message, { dimension: dimension.rank, rank: largest }));
		}
		if (leftOut.length > 0) {
			const message = `${leftOut.length} modules have weight 0 or change nothing and are not in the result, first ${leftOut[0] ?? ''}.`;
			remarks.push(new LoraError('merge.leftOut', 'parts', message, { modules: leftOut.length, first: leftOut[0] ?? '' }));
		}
		return remarks;
	}

	/** Each LoRA alone, and how far they point the same way. */
	async compare(hooks: MergeHooks = {}): Promise<LoraComparison> {
		const breath = new Breath(hooks);
		const n = this.files.length;
		const tallies = this.files.map(() => new Tally());
		const products = this.files.map(() => new Array<number>(n).fill(0));
		const alphas = this.files.map((): Record<string, number> => ({}));
		for (const [i, stack] of this.#stacks.entries()) {
			await breath.take(i / this.#stacks.length);
			const prepared = await this.#prepare(stack);
			addProducts(products, prepared);
			for (const part of stack.parts) {
				const alone = this.files.map((_, lora) => (lora === part.lora ? 1 : 0));
				tallies[part.lora]?.add(stack.block, part.rank, spectrumOf(partOf(prepared, part.lora), alone).sigma);
				const alpha = alphas[part.lora];
				const key = String(Number((part.scale * part.rank).toPrecision(6)));
				if (alpha) alpha[key] = (alpha[key] ?? 0) + 1;
			}
		}
		const size = (i: number): number => Math.sqrt(products[i]?.[i] ?? 0);
		const similarity = products.map((row, i) => row.map((product, j) => (size(i) * size(j) > 0 ? product / (size(i) * size(j)) : 0)));
		return {
			family: this.family,
			files: this.files.map((file, i) => describe(file, tallies[i] ?? new Tally(), alphas[i] ?? {})),
			similarity,
			products,
			advice: adviseRatio(products)
		};
	}
}

function describe(file: MergeFile, tally: Tally, alphas: Record<string, number>): ComparedLora {
	const { modules } = file.raw;
	const { norm, energy, blocks, ranks } = tally;
	const textEncoderModules = modules.filter(({ part }) => part === 'te').length;
	return {
		name: file.name,
		title: file.looksLike.title,
		modules: modules.length,
		textEncoderModules,
		ranks,
		alphas,
		norm,
		energy,
		blocks,
		metadata: { ...file.metadata }
	};
}

/** ⟨Wₐ, W_b⟩ = Σ scaleₐ·scale_b·(UₐᵀU_b)∘(DₐD_bᵀ), from the Gram matrices: the full changes are never made. */
function addProducts(products: number[][], { stack, rank, starts, upGram, downGram }: Prepared): void {
	stack.parts.forEach((a, i) => {
		stack.parts.forEach((b, j) => {
			let sum = 0;
			for (let x = starts[i] ?? 0; x < (starts[i] ?? 0) + a.rank; x++)
				for (let y = starts[j] ?? 0; y < (starts[j] ?? 0) + b.rank; y++) sum += (upGram[x * rank + y] ?? 0) * (downGram[x * rank + y] ?? 0);
			const row = products[a.lora];
			if (row) row[b.lora] = (row[b.lora] ?? 0) + sum * a.scale * b.scale;
		});
	});
}

/** One file's share of a prepared stack. */
function partOf(prepared: Prepared, lora: number): Prepared {
	const { stack, starts, rank } = prepared;
	const index = stack.parts.findIndex((part) => part.lora === lora);
	const part = stack.parts[index];
	if (!part || stack.parts.length === 1) return prepared;
	const start = starts[index] ?? 0;
	const cut = (g: Float64Array): Float64Array =>
		Float64Array.from({ length: part.rank ** 2 }, (_, at) => g[(start + Math.floor(at / part.rank)) * rank + start + (at % part.rank)] ?? 0);
	const downGram = cut(prepared.downGram);
	return {
		stack: { ...stack, parts: [part] },
		rank: part.rank,
		starts: [0],
		upGram: cut(prepared.upGram),
		downGram,
		cholesky: pivotedCholesky(downGram, part.rank)
	};
}
