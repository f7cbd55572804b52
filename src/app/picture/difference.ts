/**
 * Where a pair differs: per pixel the largest difference of the three colours, as a heat picture over the dimmed target, with its share
 * and its box. Pure; a 512² pair takes a few milliseconds, larger ones are stepped over so that it stays that way.
 */
import type { Picture } from '../../service/protocol';

/** Differences below this (of 255) are compression noise and rounding. */
const THRESHOLD = 12;
const MOST_PIXELS = 512 * 512;

export interface Difference {
	heat: Picture;
	/** Share of pixels that differ, 0…1. */
	share: number;
	/** Box around them as fractions of width and height; null when nothing differs. */
	box: { left: number; top: number; right: number; bottom: number } | null;
}

/** Dark red over orange to near white, in even steps of lightness. */
const RAMP: readonly (readonly [number, number, number])[] = [
	[90, 20, 60],
	[196, 40, 60],
	[246, 132, 40],
	[255, 236, 160]
];

function heatColour(strength: number): [number, number, number] {
	const at = Math.min(1, strength) * (RAMP.length - 1);
	const low = RAMP[Math.min(RAMP.length - 2, Math.floor(at))] ?? [0, 0, 0];
	const high = RAMP[Math.min(RAMP.length - 1, Math.floor(at) + 1)] ?? low;
	const part = at - Math.min(RAMP.length - 2, Math.floor(at));
	return [low[0] + (high[0] - low[0]) * part, low[1] + (high[1] - low[1]) * part, low[2] + (high[2] - low[2]) * part];
}

/** Both pictures must have one size. */
export function findDifference(original: Picture, target: Picture): Difference {
	const step = Math.max(1, Math.ceil(Math.sqrt((original.width * original.height) / MOST_PIXELS)));
	const width = Math.ceil(original.width / step);
	const height = Math.ceil(original.height / step);
	const data = new Uint8ClampedArray(width * height * 4);
	let changed = 0;
	let [left, top, right, bottom] = [width, height, -1, -1];
	for (let y = 0; y < height; y++) {
		for (let x = 0; x < width; x++) {
			const from = (y * step * original.width + x * step) * 4;
			let most = 0;
			let grey = 0;
			for (let c = 0; c < 3; c++) {
				const value = target.data[from + c] ?? 0;
				most = Math.max(most, Math.abs(value - (original.data[from + c] ?? 0)));
				grey += value / 3;
			}
			const to = (y * width + x) * 4;
			const dim = 24 + grey * 0.24;
			if (most >= THRESHOLD) {
				changed++;
				left = Math.min(left, x);
				right = Math.max(right, x);
				top = Math.min(top, y);
				bottom = Math.max(bottom, y);
				data.set(heatColour(most / 200), to);
			} else {
				data.set([dim, dim, dim + 6], to);
			}
			data[to + 3] = 255;
		}
	}
	const box = right < 0 ? null : { left: left / width, top: top / height, right: (right + 1) / width, bottom: (bottom + 1) / height };
	return { heat: { width, height, data }, share: changed / (width * height), box };
}
