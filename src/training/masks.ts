/**
 * Where the loss counts: one number 0 … 1 for each latent pixel.
 *
 * Rules (spec §1.6 as it was meant; TrainTrain computes the difference mask and then drops it, and knows masks in Multi-ADDifT only)
 * - Alpha: a pixel counts when it is more than a tenth opaque. Difference: a pixel counts when the two pictures differ there by more than 10 of 255, over all colours.
 *   A latent pixel counts when any pixel of its square does.
 * - A mask picture: white counts, black does not, grey partly; its square's mean.
 * - Several masks multiply. Renormalised, a mask has the mean 1, so that a small mouth weighs as much as a whole picture would.
 */
import type { Picture } from './events';

const DIFFERENT = 10;
const OPAQUE = 0.1 * 255;

/** Squares of `factor` pixels, reduced to one number each. */
function reduced(picture: Picture, factor: number, of: (at: number) => number, reduce: (values: readonly number[]) => number): Float32Array {
	const [width, height] = [Math.floor(picture.width / factor), Math.floor(picture.height / factor)];
	return Float32Array.from({ length: width * height }, (_, cell) => {
		const [x0, y0] = [(cell % width) * factor, Math.floor(cell / width) * factor];
		const values: number[] = [];
		for (let y = y0; y < y0 + factor; y++) for (let x = x0; x < x0 + factor; x++) values.push(of(4 * (y * picture.width + x)));
		return reduce(values);
	});
}

const any = (values: readonly number[]): number => Math.max(...values);

/** `[h, w]` of the latent. @param factor pixels of a latent pixel along a side */
export function alphaMask(picture: Picture, factor: number): Float32Array {
	return reduced(picture, factor, (at) => ((picture.data[at + 3] ?? 255) > OPAQUE ? 1 : 0), any);
}

/** Both pictures have the same size. */
export function differenceMask(original: Picture, target: Picture, factor: number): Float32Array {
	const difference = (at: number): number => [0, 1, 2].reduce((sum, c) => sum + Math.abs((original.data[at + c] ?? 0) - (target.data[at + c] ?? 0)), 0);
	return reduced(original, factor, (at) => (difference(at) > DIFFERENT ? 1 : 0), any);
}

export function pictureMask(mask: Picture, factor: number): Float32Array {
	const light = (at: number): number => ((mask.data[at] ?? 0) + (mask.data[at + 1] ?? 0) + (mask.data[at + 2] ?? 0)) / (3 * 255);
	return reduced(mask, factor, light, (values) => values.reduce((a, b) => a + b, 0) / values.length);
}

/** The product of the masks that are there; undefined when none is. An empty product counts nothing and stays as it is. */
export function combined(masks: readonly (Float32Array | undefined)[], renormalise: boolean): Float32Array | undefined {
	const given = masks.filter((mask) => mask !== undefined);
	const [first, ...others] = given;
	if (!first) return undefined;
	const product = first.map((value, i) => others.reduce((all, mask) => all * (mask[i] ?? 0), value));
	const mean = product.reduce((a, b) => a + b, 0) / product.length;
	return renormalise && mean > 0 ? product.map((value) => value / mean) : product;
}
