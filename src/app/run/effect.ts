/**
 * How much a preview changed where it should (effect) and where it should not (side effect), in numbers. Pure.
 *
 * Rule: the mean absolute change of a preview against the same seed without the LoRA, inside the region where the pair differs and outside of it, each divided by the pair's own mean
 * change inside the region. 1 inside: as much as between original and target; 0 outside: nothing else moved. The region is where a channel of the pair differs by more than 5 %,
 * grown by a thirty-second of the picture. These are "in" and "out" of the mini model's reference results; they mean something where the preview shows the same framing as
 * the pair.
 */
import type { Picture } from '../../service/protocol';

const DIFFERS = 0.05 * 255;
const GROW = 32;

export interface Region {
	readonly width: number;
	readonly height: number;
	/** 1 inside. */
	readonly inside: Uint8Array;
	/** Mean absolute change of the pair inside, 0…255. */
	readonly change: number;
}

export interface Effect {
	readonly inside: number;
	readonly outside: number;
}

function changeAt(a: Picture, b: Picture, pixel: number): number {
	let sum = 0;
	for (let c = 0; c < 3; c++) sum += Math.abs((a.data[4 * pixel + c] ?? 0) - (b.data[4 * pixel + c] ?? 0));
	return sum / 3;
}

function differsAt(a: Picture, b: Picture, pixel: number): boolean {
	for (let c = 0; c < 3; c++) if (Math.abs((a.data[4 * pixel + c] ?? 0) - (b.data[4 * pixel + c] ?? 0)) > DIFFERS) return true;
	return false;
}

/** Marks every place within `by` of a marked one along one axis. */
function grown(marks: Uint8Array, count: number, lines: number, stride: number, lineStride: number, by: number): Uint8Array {
	const out = new Uint8Array(marks.length);
	for (let line = 0; line < lines; line++) {
		let until = -1;
		for (let i = 0; i < count + by; i++) {
			if (i < count && marks[line * lineStride + i * stride]) until = i + 2 * by;
			if (i >= by && i - by < count && i <= until) out[line * lineStride + (i - by) * stride] = 1;
		}
	}
	return out;
}

/** null when the pair is the same everywhere, or different everywhere, or of two sizes: then there is no inside and outside. */
export function regionOf(original: Picture, target: Picture): Region | null {
	const { width, height } = original;
	if (target.width !== width || target.height !== height) return null;
	const seed = new Uint8Array(width * height);
	for (let i = 0; i < seed.length; i++) if (differsAt(original, target, i)) seed[i] = 1;
	const by = Math.round(Math.max(width, height) / GROW);
	const inside = grown(grown(seed, width, height, 1, width, by), height, width, width, 1, by);
	let [sum, count] = [0, 0];
	for (let i = 0; i < inside.length; i++) {
		if (!inside[i]) continue;
		sum += changeAt(original, target, i);
		count++;
	}
	return count === 0 || count === inside.length || sum === 0 ? null : { width, height, inside, change: sum / count };
}

/** null when the pictures are not of the region's size. */
export function effectOf(before: Picture, after: Picture, region: Region): Effect | null {
	if ([before, after].some(({ width, height }) => width !== region.width || height !== region.height)) return null;
	const sums = [0, 0];
	const counts = [0, 0];
	for (let i = 0; i < region.inside.length; i++) {
		const at = region.inside[i] ?? 0;
		sums[at] = (sums[at] ?? 0) + changeAt(before, after, i);
		counts[at] = (counts[at] ?? 0) + 1;
	}
	const share = (at: 0 | 1): number => (sums[at] ?? 0) / (counts[at] ?? 1) / region.change;
	return { inside: share(1), outside: share(0) };
}

/**
 * The step to look at first: of those with at least nine tenths of the largest effect, the one with the least side effect. undefined while the effect is under a quarter
 * of the pair's: nothing to choose from yet.
 */
export function bestStep(points: readonly { step: number; effect: Effect }[]): number | undefined {
	// What is far more than the pair's own change is no longer the effect that was asked for.
	const most = Math.min(1.2, Math.max(0, ...points.map(({ effect }) => effect.inside)));
	if (most < 0.25) return undefined;
	const good = points.filter(({ effect }) => effect.inside >= 0.9 * most);
	return good.reduce<(typeof points)[number] | undefined>((best, point) => (best && best.effect.outside <= point.effect.outside ? best : point), undefined)
		?.step;
}
