/**
 * The learning-rate finder's judgement, pure: from the losses of one short run whose rate grows exponentially (`finder-run.ts`), the rate to train with.
 *
 * Rules
 * - A loss counts as a ratio to what it was before anything was learnt, averaged exponentially in its logarithm (0.8, start-up bias divided out): 1 means "nothing learnt", below
 *   that the rate does something, far above it the network has broken.
 * - It broke where the average rises above 2; the ramp ends there, as what follows tells nothing.
 * - The suggestion is an eighth of the rate at which it broke: there the run still learns fast and stays clear of the edge that it meets when the steps are many. If it never
 *   broke, the rate at the lowest average.
 * Source: Smith 2015, "Cyclical learning rates" (the range test). The eighth is from runs of the mini model at fixed rates (docs/results.md).
 */

export interface RatePoint {
	readonly rate: number;
	/** Loss by what it was before anything was learnt; NaN: not finite. */
	readonly ratio: number;
}

export interface SmoothPoint {
	readonly rate: number;
	/** Average of the ratio up to here. */
	readonly value: number;
}

export interface RateAdvice {
	readonly rate: number;
	/** Where it broke; null: nowhere up to the highest rate tried. */
	readonly brokeAt: number | null;
	/** The lowest average, and its rate. */
	readonly lowest: SmoothPoint;
	/** `broke`: an eighth of where it broke. `lowest`: it never broke, the rate of the lowest average. `nothing`: the loss never fell, whatever the rate. */
	readonly reason: 'broke' | 'lowest' | 'nothing';
}

const KEEP = 0.8;
const BROKEN = 2;
const BELOW_BREAK = 8;
/** Looked at only after so many points: the average has no memory before. */
const SETTLED = 6;

/** Rates from `low` to `high`, each the same factor above the one before. */
export function ramp(low: number, high: number, steps: number): number[] {
	return Array.from({ length: steps }, (_, k) => low * (high / low) ** (k / Math.max(1, steps - 1)));
}

export function smoothRatios(points: readonly RatePoint[]): SmoothPoint[] {
	let sum = 0;
	let weight = 0;
	return points.map(({ rate, ratio }) => {
		sum = KEEP * sum + (1 - KEEP) * (Number.isFinite(ratio) && ratio > 0 ? Math.log(ratio) : Infinity);
		weight = KEEP * weight + (1 - KEEP);
		return { rate, value: Math.exp(sum / weight) };
	});
}

/** Index of the point at which the network is found broken, or -1. */
export function breakOf(curve: readonly SmoothPoint[]): number {
	return curve.findIndex(({ value }, i) => i >= SETTLED && !(value <= BROKEN));
}

/** undefined while there are too few points to say anything. Two significant digits: it promises no more. */
export function adviseRate(points: readonly RatePoint[]): RateAdvice | undefined {
	const curve = smoothRatios(points);
	const broke = breakOf(curve);
	const until = broke === -1 ? curve : curve.slice(0, broke);
	const lowest = until.slice(SETTLED).reduce<SmoothPoint | undefined>((best, point) => (best && best.value <= point.value ? best : point), undefined);
	if (!lowest) return undefined;
	const brokeAt = curve[broke]?.rate ?? null;
	const learnt = lowest.value < 0.85;
	const reason = brokeAt !== null ? 'broke' : learnt ? 'lowest' : 'nothing';
	const rate = brokeAt !== null ? brokeAt / BELOW_BREAK : lowest.rate;
	return { rate: Number(rate.toPrecision(2)), brokeAt, lowest, reason };
}
