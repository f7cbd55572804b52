/**
 * The scores of the mini model's reference runs, from pictures alone. Source: `Lab.effect`, `copy_quality`, `heldout` in tools/mini-model/lora.py.
 * Pictures are planes `[3, H, W]` in −1..1, clamped.
 */
import type { Classifier } from './classifier';

/** Where a pair differs by more than 0.1 in any channel, grown by 4 pixels in a square. */
export function mouthMask(closed: Float32Array, open: Float32Array, size: number): Uint8Array {
	const area = size * size;
	const differs = (p: number): boolean => [0, 1, 2].some((c) => Math.abs((open[c * area + p] ?? 0) - (closed[c * area + p] ?? 0)) > 0.1);
	const mask = new Uint8Array(area);
	for (let p = 0; p < area; p++) {
		if (!differs(p)) continue;
		const [y, x] = [Math.floor(p / size), p % size];
		for (let dy = Math.max(0, y - 4); dy <= Math.min(size - 1, y + 4); dy++)
			mask.fill(1, dy * size + Math.max(0, x - 4), dy * size + Math.min(size - 1, x + 4) + 1);
	}
	return mask;
}

/** Mean absolute difference per pixel (mean over channels), averaged inside and outside of the mask over all pictures. */
function change(before: readonly Float32Array[], after: readonly Float32Array[], mask: Uint8Array): { inside: number; outside: number } {
	const area = mask.length;
	let [inside, outside, pixelsIn, pixelsOut] = [0, 0, 0, 0];
	before.forEach((y0, i) => {
		const y = after[i] ?? y0;
		for (let p = 0; p < area; p++) {
			let d = 0;
			for (let c = 0; c < 3; c++) d += Math.abs((y[c * area + p] ?? 0) - (y0[c * area + p] ?? 0)) / 3;
			if (mask[p]) [inside, pixelsIn] = [inside + d, pixelsIn + 1];
			else [outside, pixelsOut] = [outside + d, pixelsOut + 1];
		}
	});
	return { inside: inside / pixelsIn, outside: outside / pixelsOut };
}

export interface Effect {
	/** Change inside and outside of the mouth region over the change of the rendered pair inside it. */
	readonly in: number;
	readonly out: number;
	/** Share of faces the classifier calls open, before and after. */
	readonly open0: number;
	readonly open: number;
	/** Mean probability of the vowel shape a. */
	readonly a: number;
	/** What each mouth reads as. */
	readonly mouths: readonly string[];
	readonly sameHair: number;
	readonly sameEyes: number;
}

export function effect(
	before: readonly Float32Array[],
	after: readonly Float32Array[],
	pair: { readonly closed: Float32Array; readonly open: Float32Array },
	classifier: Classifier
): Effect {
	const size = Math.round(Math.sqrt(pair.closed.length / 3));
	const mask = mouthMask(pair.closed, pair.open, size);
	const reference = change([pair.closed], [pair.open], mask).inside;
	const { inside, outside } = change(before, after, mask);
	const [was, is] = [before.map((y) => classifier.judge(y)), after.map((y) => classifier.judge(y))];
	const share = (test: (i: number) => boolean): number => is.filter((_, i) => test(i)).length / is.length;
	return {
		in: inside / reference,
		out: outside / reference,
		open0: was.filter((j) => j.open).length / was.length,
		open: share((i) => is[i]?.open === true),
		a: is.reduce((sum, j) => sum + j.a, 0) / is.length,
		mouths: is.map((j) => j.mouth),
		sameHair: share((i) => is[i]?.hair === was[i]?.hair),
		sameEyes: share((i) => is[i]?.eyes === was[i]?.eyes)
	};
}

/** Peak signal to noise in dB for a range of 2. */
export function psnr(a: Float32Array, b: Float32Array): number {
	const mse = a.reduce((sum, x, i) => sum + (x - (b[i] ?? 0)) ** 2, 0) / a.length;
	return 10 * Math.log10(4 / mse);
}
