/**
 * What a cell does to its base, in numbers, and which strengths are of use. Pure; pictures are 8-bit RGBA of one size, alpha is ignored.
 *
 * - change = mean over pixels and colours of |cell − base| / 255, inside the region and outside of it (0: nothing, 1: black against white).
 *   Without a region everything is inside.
 * - similarity = mean structural similarity (SSIM) of the grey values over windows of 8 × 8 pixels, every 4 pixels:
 *   (2·μa·μb + C1)(2·σab + C2) / ((μa² + μb² + C1)(σa² + σb² + C2)) with C1 = (0.01·255)², C2 = (0.03·255)²; 1 means equal.
 *   Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
 * - A strength is of use when, averaged over everything else in the plot, the region changes at least half as much as it ever does, and the
 *   rest changes at most a quarter as much as the region.
 */
import type { PlotRegion } from './plot';

interface Pixels {
	readonly width: number;
	readonly height: number;
	readonly data: Uint8ClampedArray;
}

export interface CellMetrics {
	inside: number;
	/** null without a region, or when it covers everything. */
	outside: number | null;
	similarity: number;
}

/** Whole pixels of the region; at least one. */
function pixelsOf(region: PlotRegion, width: number, height: number): { left: number; top: number; right: number; bottom: number } {
	const span = (from: number, to: number, size: number): [number, number] => {
		const start = Math.min(size - 1, Math.max(0, Math.round(from * size)));
		return [start, Math.min(size, Math.max(start + 1, Math.round(to * size)))];
	};
	const [left, right] = span(region.left, region.right, width);
	const [top, bottom] = span(region.top, region.bottom, height);
	return { left, top, right, bottom };
}

/** @throws RangeError when the pictures have different sizes */
export function measureCell(cell: Pixels, base: Pixels, region: PlotRegion | null): CellMetrics {
	const { width, height } = cell;
	if (base.width !== width || base.height !== height) throw new RangeError('Cell and base have different sizes.');
	const box = pixelsOf(region ?? { left: 0, top: 0, right: 1, bottom: 1 }, width, height);
	let [inside, outside] = [0, 0];
	for (let y = 0; y < height; y++) {
		const row = y >= box.top && y < box.bottom;
		for (let x = 0; x < width; x++) {
			const at = 4 * (y * width + x);
			let sum = 0;
			for (let c = 0; c < 3; c++) sum += Math.abs((cell.data[at + c] ?? 0) - (base.data[at + c] ?? 0));
			if (row && x >= box.left && x < box.right) inside += sum;
			else outside += sum;
		}
	}
	const area = (box.right - box.left) * (box.bottom - box.top);
	const rest = width * height - area;
	return { inside: inside / (area * 765), outside: rest > 0 ? outside / (rest * 765) : null, similarity: structuralSimilarity(cell, base) };
}

/** Rec. 601 luma, 0…255. */
function grey({ width, height, data }: Pixels): Float32Array {
	const out = new Float32Array(width * height);
	for (let i = 0; i < out.length; i++) out[i] = 0.299 * (data[4 * i] ?? 0) + 0.587 * (data[4 * i + 1] ?? 0) + 0.114 * (data[4 * i + 2] ?? 0);
	return out;
}

const WINDOW = 8;
const STRIDE = 4;
const C1 = (0.01 * 255) ** 2;
const C2 = (0.03 * 255) ** 2;

function structuralSimilarity(a: Pixels, b: Pixels): number {
	const [ga, gb] = [grey(a), grey(b)];
	const side = Math.min(WINDOW, a.width, a.height);
	const n = side * side;
	let [sum, windows] = [0, 0];
	for (let y = 0; y + side <= a.height; y += STRIDE) {
		for (let x = 0; x + side <= a.width; x += STRIDE) {
			let [ma, mb, aa, bb, ab] = [0, 0, 0, 0, 0];
			for (let j = 0; j < side; j++) {
				for (let i = 0; i < side; i++) {
					const at = (y + j) * a.width + x + i;
					const [p, q] = [ga[at] ?? 0, gb[at] ?? 0];
					ma += p;
					mb += q;
					aa += p * p;
					bb += q * q;
					ab += p * q;
				}
			}
			ma /= n;
			mb /= n;
			const [va, vb, cov] = [aa / n - ma * ma, bb / n - mb * mb, ab / n - ma * mb];
			sum += ((2 * ma * mb + C1) * (2 * cov + C2)) / ((ma * ma + mb * mb + C1) * (va + vb + C2));
			windows++;
		}
	}
	return sum / windows;
}

/** A strength with what it did in one cell. */
export interface StrengthSample {
	strength: number;
	metrics: CellMetrics;
}

export interface UsableStrengths {
	from: number;
	to: number;
	/** Where the region gains most over the rest. */
	best: number;
}

const ENOUGH = 0.5;
const SPILL = 0.25;

/** The longest run of neighbouring strengths above 0 that are of use; null when none is, or nothing outside was measured. */
export function usableStrengths(samples: readonly StrengthSample[]): UsableStrengths | null {
	const means = new Map<number, { inside: number; outside: number; n: number }>();
	for (const { strength, metrics } of samples) {
		if (strength <= 0 || metrics.outside === null) continue;
		const mean = means.get(strength) ?? { inside: 0, outside: 0, n: 0 };
		means.set(strength, { inside: mean.inside + metrics.inside, outside: mean.outside + metrics.outside, n: mean.n + 1 });
	}
	const rows = [...means]
		.map(([strength, { inside, outside, n }]) => ({ strength, inside: inside / n, outside: outside / n }))
		.sort((a, b) => a.strength - b.strength);
	const most = Math.max(0, ...rows.map(({ inside }) => inside));
	const useful = rows.map(({ inside, outside }) => most > 0 && inside >= ENOUGH * most && outside <= SPILL * inside);
	let best: { start: number; end: number } | null = null;
	for (let i = 0; i < rows.length; i++) {
		if (!useful[i] || useful[i - 1]) continue;
		let end = i;
		while (useful[end + 1]) end++;
		if (!best || end - i > best.end - best.start) best = { start: i, end };
	}
	if (!best) return null;
	const run = rows.slice(best.start, best.end + 1);
	const top = run.reduce((a, b) => (b.inside - b.outside / SPILL > a.inside - a.outside / SPILL ? b : a));
	return { from: run[0]?.strength ?? 0, to: run.at(-1)?.strength ?? 0, best: top.strength };
}
