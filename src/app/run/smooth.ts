/**
 * Smoothing for noisy curves without the lag of a plain moving average: an exponential average once forwards and once backwards
 * (zero phase), so that a turn shows where it happened. Pure.
 */

/** `amount` 0 (none) … 1 (flat). Empty in, empty out. */
export function smooth(values: readonly number[], amount: number): number[] {
	const keep = Math.min(0.999, Math.max(0, amount));
	if (keep === 0) return [...values];
	return pass(pass(values, keep).reverse(), keep).reverse();
}

/** Exponential average, its start-up bias divided out (as Adam does it). */
function pass(values: readonly number[], keep: number): number[] {
	let sum = 0;
	let weight = 0;
	return values.map((value) => {
		sum = keep * sum + (1 - keep) * value;
		weight = keep * weight + (1 - keep);
		return sum / weight;
	});
}
