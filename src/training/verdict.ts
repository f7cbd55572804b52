/**
 * What the probe's curve says about a pass, as a pure function of its history.
 *
 * The value of a reading is its ratio r to the base (the same loss without the trained network). r jitters while the rate is high, so rules look at the median of the last
 * three, m. They are tried in this order:
 * - `collapsed`: a value is not finite; or m is above `hopeless` × base; or the pass had been below 0.7 and m is above that again and above 2.5 × its best.
 *   `hopeless` is 6, less where the base itself is large (predicting nothing at all has a loss of about 1), never under 2.5. A good AdamW run overshoots to 2.4 × base in its first
 *   ten steps and comes back; a rate ten times too high goes to 60 × and stays there (test/fixtures/judgement).
 * - `overfitting`: something had been learnt (best m under 0.8), and for three readings m has been above 1.5 × that best. The best step lies behind.
 * - `notConverging`, first kind: nine tenths of the pass's learning rate are spent and the loss has been falling with it all the way, like a power of what is spent, so that twice the
 *   rate would take more than a third off it. Seen by three signs: the curve has hardly ever risen (a rate that is high enough makes it jump); from the half on ln r falls by 0.65 to 1.3
 *   for each ln of what is spent (faster is the falling rate calming down what a high one has stirred up); and along a straight line. A tenth of a good rate: 0.7 to 0.85 where the level
 *   alone would say "enough"; good rates: under 0.6, or with jumps (test/fixtures/judgement). Not under a quarter of `enough`: what has been learnt by then is no longer a matter of the rate
 *   (a thousand steps on one picture, made-up weights of SD1.5's size: down to 0.03 of base, falling to the last).
 * - `converged`: something was learnt, and over at least four readings and a tenth of the pass m has fallen by less than 3 %; near the end, where any schedule lets the
 *   curve run flat, only if m is at or under `enough`.
 * - `notConverging`, second kind: three tenths of the pass are over, the curve is smooth (a high rate makes it jump, and what it has learnt shows only when the rate falls), and at the
 *   pace of its second half so far, measured in learning rate still to come, m would end above `enough`.
 * - `learning`: m is under 0.97; `notYet` otherwise.
 * A verdict replaces another only when two readings in a row call for it, so that it does not flicker; a value that is not finite, and the first sign of learning, count at once.
 * `converged` is left for `learning` only when m falls by another 10 %.
 *
 * Why the levels are relative, and `enough` the caller's: a copier that reproduces its picture falls to a fifth of base on the mini model, the second pass of a difference run to a
 * seventh, ADDifT to two fifths; with a tenth of their rates they end at a third to a half, at 0.2 to 0.8, at 0.75 to 0.9. A LoRA of many pictures barely leaves 1.
 */
import type { ProbeVerdict } from './events';

export interface ProbeReading {
	/** Steps done. */
	readonly step: number;
	readonly now: number;
}

/** What a pass is judged against. */
export interface VerdictFrame {
	/** The loss without the trained network; above 0. */
	readonly base: number;
	/** Steps the pass is to make. */
	readonly steps: number;
	/** The ratio at which such a pass has done its work. */
	readonly enough: number;
	/** Share of the pass's learning rate that is spent after so many steps, 0…1. */
	readonly spent: (step: number) => number;
}

const LEARNT = 0.8;
/** Steps from one reading to the next differ less than this (ln) on a smooth curve: with a tenth of a good rate 0.01 to 0.04, with the good rate 0.1 to 0.5. */
const SMOOTH = 0.06;
/** From here on flatness may be the schedule's doing. */
const LATE = 0.9;
/** Part of all ups and downs that may be ups on a curve that falls all the way. */
const RISES = 0.1;
/** How steeply a curve falls that would go on falling (ln r by ln of what is spent), and how steeply one that is only calming down. */
const PACE = { least: 0.65, most: 1.3 };
/** Share of the late fall that such a straight line must account for (r²); 0.92 and more with a tenth of a good rate. */
const STRAIGHT = 0.85;
const PACE_READINGS = 8;
/** Of `enough`: below it a curve that still falls is a pass that has learnt all it was made for. */
const DONE = 0.25;
const FIRST_SIGN = 0.97;
const FLAT = 0.03;
const FLAT_READINGS = 4;

/** Above so many times the base a network does worse than one that predicts nothing. @param base mean loss without the trained network */
export function hopeless(base: number): number {
	return Math.min(6, Math.max(2.5, 0.9 / base));
}

const median = (values: readonly number[]): number => {
	const sorted = [...values].sort((a, b) => a - b);
	const middle = sorted.length >> 1;
	return sorted.length % 2 === 1 ? (sorted[middle] ?? NaN) : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
};

/** Medians of three, one for each reading; the first two of what there is. */
function medians(ratios: readonly number[]): number[] {
	return ratios.map((_, i) => median(ratios.slice(Math.max(0, i - 2), i + 1)));
}

/** What the readings up to the last one call for, by themselves. */
function raw(readings: readonly ProbeReading[], frame: VerdictFrame): ProbeVerdict {
	const { base, steps, enough, spent } = frame;
	const ratios = readings.map(({ now }) => now / base);
	if (!ratios.every(Number.isFinite)) return 'collapsed';
	const m = medians(ratios);
	const now = m.at(-1);
	const step = readings.at(-1)?.step;
	if (now === undefined || step === undefined) return 'notYet';
	const learnt = Math.max(LEARNT, enough);
	const best = Math.min(...m);
	if (now > hopeless(base) || (best < 0.7 && now > 0.7 && now > 2.5 * best)) return 'collapsed';
	if (best < LEARNT && m.length > 3 && m.slice(-3).every((value) => value > 1.5 * best)) return 'overfitting';
	if (now > DONE * enough && stillFalling(ratios, readings, spent)) return 'notConverging';
	if (now < learnt && (spent(step) < LATE || now <= enough) && flat(m, readings, steps)) return 'converged';
	if (readings.length >= 4 && step >= 0.3 * steps && smooth(ratios) && atTheEnd(m, readings, spent) > enough) return 'notConverging';
	return now < FIRST_SIGN ? 'learning' : 'notYet';
}

function flat(m: readonly number[], readings: readonly ProbeReading[], steps: number): boolean {
	const last = readings.at(-1);
	const from = readings.findLastIndex(({ step }, i) => i <= readings.length - FLAT_READINGS && last !== undefined && last.step - step >= 0.1 * steps);
	if (from < 2) return false;
	const before = Math.min(...m.slice(0, from + 1));
	return Math.min(...m.slice(from + 1)) > (1 - FLAT) * before;
}

function smooth(ratios: readonly number[]): boolean {
	const strides = ratios.slice(1).map((ratio, i) => Math.log(ratio / (ratios[i] ?? NaN)));
	const usual = median(strides);
	return median(strides.map((stride) => Math.abs(stride - usual))) < SMOOTH;
}

/** The learning rate is nearly spent, and the loss has been falling with it to the end. */
function stillFalling(ratios: readonly number[], readings: readonly ProbeReading[], spent: VerdictFrame['spent']): boolean {
	const last = readings.at(-1);
	if (!last || readings.length < PACE_READINGS || spent(last.step) < LATE) return false;
	const strides = ratios.map((ratio, i) => Math.log(ratio / (ratios[i - 1] ?? 1)));
	const ups = strides.reduce((sum, stride) => sum + Math.max(0, stride), 0);
	if (ups >= RISES * strides.reduce((sum, stride) => sum + Math.abs(stride), 0)) return false;
	const late = readings.map(({ step }, i) => ({ x: Math.log(spent(step)), y: Math.log(ratios[i] ?? NaN) })).filter(({ x }) => x >= Math.log(0.5));
	const middle = (of: (point: (typeof late)[number]) => number): number => late.reduce((sum, point) => sum + of(point), 0) / late.length;
	const [x, y] = [middle((point) => point.x), middle((point) => point.y)];
	const both = middle((point) => (point.x - x) * (point.y - y));
	const alone = middle((point) => (point.x - x) ** 2);
	const pace = -both / alone;
	const straight = both ** 2 / (alone * middle((point) => (point.y - y) ** 2));
	return pace > PACE.least && pace < PACE.most && straight > STRAIGHT;
}

/** m at the last step, if it goes on falling with the learning rate spent as over the second half of the readings. */
function atTheEnd(m: readonly number[], readings: readonly ProbeReading[], spent: VerdictFrame['spent']): number {
	const half = m.length >> 1;
	const [first, last] = [readings[half], readings.at(-1)];
	const [from, to] = [m[half] ?? NaN, m.at(-1) ?? NaN];
	const way = first && last ? spent(last.step) - spent(first.step) : 0;
	if (!last || way <= 0) return to;
	return to * Math.exp(-Math.max(0, Math.log(from / to) / way) * (1 - spent(last.step)));
}

/** The verdict after the last of `readings` (in the order of their steps; the base reading is not one of them). */
export function judge(readings: readonly ProbeReading[], frame: VerdictFrame): ProbeVerdict {
	let verdict: ProbeVerdict = 'notYet';
	let asked: ProbeVerdict = 'notYet';
	/** m when the pass was called converged. */
	let level = 0;
	readings.forEach((reading, i) => {
		const seen = readings.slice(0, i + 1);
		const wanted = raw(seen, frame);
		const now = median(seen.slice(-3).map((r) => r.now / frame.base));
		const atOnce = !Number.isFinite(reading.now) || (verdict === 'notYet' && wanted === 'learning');
		const held = verdict === 'converged' && wanted === 'learning' && now > 0.9 * level;
		if (wanted !== verdict && !held && (atOnce || wanted === asked)) {
			verdict = wanted;
			if (verdict === 'converged') level = now;
		}
		asked = wanted;
	});
	return verdict;
}

/**
 * Whether a pass that may end when it has converged should do so now: it has been called converged at this and the `patience` readings before, after a fifth of its steps.
 * One picture too many costs little, a copier cut short spoils the second pass.
 */
export function shouldEnd(readings: readonly ProbeReading[], frame: VerdictFrame, patience = 2): boolean {
	const last = readings.at(-1);
	if (!last || last.step < 0.2 * frame.steps || readings.length <= patience) return false;
	for (let back = 0; back <= patience; back++) if (judge(readings.slice(0, readings.length - back), frame) !== 'converged') return false;
	return true;
}
