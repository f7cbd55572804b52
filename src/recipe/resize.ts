/**
 * How many dimensions a resized LoRA keeps in each module: kohya's rules, so that both programs make the same file of the same settings.
 *
 * Rules (S: singular values of up·down without alpha, descending, n = min(out, in) of them)
 * - fixed: the given number.
 * - ratio p: those above S₁/p. cumulative p: as many as make up the share p of ΣS. frobenius p: the share p of √ΣS². Each then clamped to 1 … n−1, plus one,
 *   and never more than the given number.
 * - A module that changes nothing gets 1. More than the LoRA has is never made (kohya fills up with noise of size 0).
 * Source: the reference on resize_lora.
 */
export interface ResizeSettings {
	/** Largest dimension of Linear modules, and of those whose factors have four axes. */
	rank: number;
	convRank: number;
	dynamic: { method: 'ratio' | 'cumulative' | 'frobenius'; value: number } | null;
}

/** Below this nothing is there. */
const NOTHING = 1e-6;

function firstReaching(values: Float64Array, share: number): number {
	const total = values.reduce((all, value) => all + value, 0);
	let sum = 0;
	for (let k = 0; k < values.length; k++) {
		sum += values[k] ?? 0;
		if (sum / total >= share) return k;
	}
	return values.length;
}

/** @param sigma the singular values that can differ from 0 @param full n */
export function resizedRank(sigma: Float64Array, full: number, limit: number, dynamic: ResizeSettings['dynamic']): number {
	const has = Math.min(sigma.length, full);
	if ((sigma[0] ?? 0) <= NOTHING) return 1;
	if (dynamic === null) return Math.max(1, Math.min(limit, has));
	const { method, value } = dynamic;
	let index: number;
	if (method === 'ratio') index = sigma.filter((s) => s > (sigma[0] ?? 0) / value).length;
	else if (method === 'cumulative') index = firstReaching(sigma, value) + 1;
	else
		index =
			firstReaching(
				sigma.map((s) => s * s),
				value ** 2
			) + 1;
	const rank = Math.max(1, Math.min(index, full - 1)) + 1;
	return Math.max(1, Math.min(rank, limit, has));
}
