/**
 * The best approximation of a weighted sum of low-rank changes, without ever making the sum: W = U·C·D with the ups side by side in U `[rows, R]`, the downs on top of
 * each other in D `[R, columns]`, and C the diagonal of ratio · alpha/rank.
 *
 * Rules
 * - Once per stack: the Gram matrices UᵀU and DDᵀ, and DDᵀ = T·Tᵀ. D = T·Qᵀ then has orthonormal Q that is never formed.
 * - Per ratios: K = Tᵀ·C·(UᵀU)·C·T is R×R and has the eigenvalues σ² and eigenvectors Y of W's singular value problem; right singular vectors Qᵀ-wise: V = Q·Y.
 *   down = Vᵀ is a combination of D's rows, up = W·V of U's columns: exactly the projection of W, whatever the rounding of Y.
 * - All of σ goes into up, down has orthonormal rows, alpha = rank: the convention of kohya and SuperMerger.
 * - Squaring costs half of the digits: singular values below 1e-7 of the largest are noise. Files in halves end at 5e-4.
 */
import { LoraError } from './error';
import { combine, gram, pivotedCholesky, product, solvePivots, symmetricEigen, transposed } from './linear';
import type { Cholesky } from './linear';
import type { Pair, Stack } from './merge-files';

/** All factors of a stack in one piece. */
export interface StackFactors {
	/** D `[R, columns]` */
	readonly downs: Float32Array;
	/** Uᵀ `[R, rows]` */
	readonly ups: Float32Array;
}

/** What does not depend on ratios. */
export interface Prepared {
	readonly stack: Stack;
	/** R */
	readonly rank: number;
	/** First column of each part. */
	readonly starts: readonly number[];
	/** UᵀU */
	readonly upGram: Float64Array;
	/** DDᵀ */
	readonly downGram: Float64Array;
	readonly cholesky: Cholesky;
}

export async function loadStack(stack: Stack): Promise<StackFactors> {
	const rank = stack.parts.reduce((sum, part) => sum + part.rank, 0);
	const downs = new Float32Array(rank * stack.columns);
	const ups = new Float32Array(rank * stack.rows);
	let at = 0;
	for (const part of stack.parts) {
		const { down, up } = await part.load();
		if (down.length !== part.rank * stack.columns || up.length !== part.rank * stack.rows)
			throw new LoraError('lora.shape', stack.name, `The factors of ${stack.name} have another size than their shapes say. The file is damaged.`);
		downs.set(down, at * stack.columns);
		ups.set(transposed(up, part.rank), at * stack.rows);
		at += part.rank;
	}
	return { downs, ups };
}

export function prepareStack(stack: Stack, { downs, ups }: StackFactors): Prepared {
	const starts: number[] = [];
	let rank = 0;
	for (const part of stack.parts) {
		starts.push(rank);
		rank += part.rank;
	}
	const downGram = gram(downs, rank);
	return { stack, rank, starts, upGram: gram(ups, rank), downGram, cholesky: pivotedCholesky(downGram, rank) };
}

/** The diagonal C: the coefficient of each part times its alpha/rank, once per rank. */
export function diagonal({ stack, rank }: Pick<Prepared, 'stack' | 'rank'>, coefficients: readonly number[]): Float64Array {
	const c = new Float64Array(rank);
	let at = 0;
	for (const part of stack.parts) {
		c.fill((coefficients[part.lora] ?? 0) * part.scale, at, at + part.rank);
		at += part.rank;
	}
	return c;
}

export interface Spectrum {
	/** σ, descending; as many as the sum of ranks, at most. */
	readonly sigma: Float64Array;
	/** As rows, in the basis of T's columns. */
	readonly vectors: Float64Array;
	readonly coefficients: Float64Array;
}

/** Singular values of the weighted sum. @param coefficients one per file */
export function spectrumOf(prepared: Prepared, coefficients: readonly number[]): Spectrum {
	const { factor, pivots } = prepared.cholesky;
	const { upGram, rank } = prepared;
	const p = pivots.length;
	const c = diagonal(prepared, coefficients);
	const scaled = factor.map((x, i) => x * (c[Math.floor(i / p)] ?? 0));
	const k = product(transposed(scaled, p), product(upGram, scaled, rank), rank);
	const { values, vectors } = symmetricEigen(k, p);
	return { sigma: values.map((x) => Math.sqrt(Math.max(0, x))), vectors, coefficients: c };
}

/** The first `rank` singular triples as factors. */
export function approximate(prepared: Prepared, factors: StackFactors, { vectors, coefficients }: Spectrum, rank: number): Pair {
	const { cholesky, rank: total } = prepared;
	const { factor, pivots } = cholesky;
	const p = pivots.length;
	const kept = vectors.slice(0, rank * p);
	// down: Yᵀ·(pivot rows of T)⁻¹ over the pivot rows of D
	const solved = solvePivots(cholesky, kept);
	const downWeights = new Float64Array(rank * total);
	for (let r = 0; r < rank; r++) pivots.forEach((row, j) => (downWeights[r * total + row] = solved[r * p + j] ?? 0));
	// up: C·T·Y over the columns of U
	const upWeights = product(kept, transposed(factor, p), p).map((x, i) => x * (coefficients[i % total] ?? 0));
	return { down: combine(downWeights, factors.downs, total), up: transposed(combine(upWeights, factors.ups, total), factors.ups.length / total) };
}

/** [c₁U₁ | c₂U₂ | …] and all downs: the sum itself, whose rank is the sum of the ranks. Parts with coefficient 0 are left out. */
export function concatenate({ stack, starts }: Prepared, { downs, ups }: StackFactors, coefficients: readonly number[]): Pair & { rank: number } {
	const used = stack.parts.map((part, i) => ({ part, start: starts[i] ?? 0, c: (coefficients[part.lora] ?? 0) * part.scale })).filter(({ c }) => c !== 0);
	const rank = used.reduce((sum, { part }) => sum + part.rank, 0);
	const down = new Float32Array(rank * stack.columns);
	const up = new Float32Array(rank * stack.rows);
	let at = 0;
	for (const { part, start, c } of used) {
		down.set(downs.subarray(start * stack.columns, (start + part.rank) * stack.columns), at * stack.columns);
		up.set(
			ups.subarray(start * stack.rows, (start + part.rank) * stack.rows).map((x) => x * c),
			at * stack.rows
		);
		at += part.rank;
	}
	return { down, up: transposed(up, stack.rows), rank };
}

/**
 * The weighted mean of the factors themselves, times the sum of |ratios|: for LoRAs of one origin, whose factors mean the same. Not the sum of the changes (up of one meets
 * down of another). The sign of a ratio goes to the up side.
 * @returns undefined when the ranks of this module differ
 */
export function average({ stack, starts }: Prepared, { downs, ups }: StackFactors, coefficients: readonly number[]): (Pair & { rank: number }) | undefined {
	const used = stack.parts.map((part, i) => ({ part, start: starts[i] ?? 0, ratio: coefficients[part.lora] ?? 0 })).filter(({ ratio }) => ratio !== 0);
	const rank = used[0]?.part.rank ?? 0;
	if (used.some(({ part }) => part.rank !== rank)) return undefined;
	const total = used.reduce((sum, { ratio }) => sum + Math.abs(ratio), 0);
	const down = new Float32Array(rank * stack.columns);
	const up = new Float32Array(rank * stack.rows);
	for (const { part, start, ratio } of used) {
		const root = Math.sqrt(Math.abs(part.scale));
		const [a, b] = [(Math.abs(ratio) / total) * root, ratio * root * Math.sign(part.scale)];
		for (let i = 0; i < down.length; i++) down[i] = (down[i] ?? 0) + a * (downs[start * stack.columns + i] ?? 0);
		for (let i = 0; i < up.length; i++) up[i] = (up[i] ?? 0) + b * (ups[start * stack.rows + i] ?? 0);
	}
	return { down, up: transposed(up, stack.rows), rank };
}

const QUANTILE = 0.99;

/** Clips both factors at the 0.99 quantile of their signed values together, as kohya's and SuperMerger's merges do (linear interpolation between order statistics). */
export function clampPair({ down, up }: Pair): Pair {
	const all = new Float32Array(down.length + up.length);
	all.set(down);
	all.set(up, down.length);
	all.sort();
	const at = QUANTILE * (all.length - 1);
	const low = all[Math.floor(at)] ?? 0;
	const limit = low + (at - Math.floor(at)) * ((all[Math.ceil(at)] ?? low) - low);
	const clip = (x: number): number => Math.max(-limit, Math.min(limit, x));
	return { down: down.map(clip), up: up.map(clip) };
}
