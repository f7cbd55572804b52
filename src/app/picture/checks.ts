/**
 * What may be wrong with a pair, before anything is spent, and the size both could be brought to. Pure functions on pixels.
 * Rule: the latent halves three times in the UNet and the VAE divides by 8, so sides must be multiples of 64 for the levels to meet again.
 */
import type { Picture, Problem } from '../../service/protocol';
import type { Which } from './load';

export const SIDE_STEP = 64;

export interface Size {
	width: number;
	height: number;
}

export function sameSize(a: Size, b: Size): boolean {
	return a.width === b.width && a.height === b.height;
}

/** True when any pixel is not fully opaque. */
export function hasAlpha(picture: Picture): boolean {
	const { data } = picture;
	for (let i = 3; i < data.length; i += 4) if (data[i] !== 255) return true;
	return false;
}

export function checkPair(original: Picture, target: Picture, resolution: number): Problem[] {
	const problems: Problem[] = [];
	const pictures: [Which, Picture][] = [
		['original', original],
		['target', target]
	];
	const add = (level: Problem['level'], code: string, which: string, values: Problem['values'], message: string) =>
		problems.push({ level, code, where: `images.${which}`, values, message });
	if (!sameSize(original, target)) {
		const values = { width: original.width, height: original.height, width2: target.width, height2: target.height };
		const message = `The original has ${original.width} × ${original.height} pixels, the target ${target.width} × ${target.height}. They must have the same size.`;
		add('error', 'pair.sizes', 'target', values, message);
	}
	for (const [which, { width, height }] of pictures) {
		if (width % SIDE_STEP === 0 && height % SIDE_STEP === 0) continue;
		const message = `The ${which} has ${width} × ${height} pixels; both sides must be multiples of ${SIDE_STEP}.`;
		add('error', 'pair.multiple', which, { which, width, height, step: SIDE_STEP }, message);
	}
	for (const [which, picture] of pictures) {
		if (!hasAlpha(picture)) continue;
		const message = `The ${which} is partly transparent; models know no transparency. Put it on a solid background.`;
		add('error', 'pair.alpha', which, { which }, message);
	}
	const area = original.width * original.height;
	if (area > 1.6 * resolution ** 2) {
		const values = { width: original.width, height: original.height, resolution };
		const message = `${original.width} × ${original.height} is more than this model was trained for (${resolution} px): slower, more memory, and often worse.`;
		add('warning', 'pair.large', 'original', values, message);
	}
	if (area < 0.4 * resolution ** 2) {
		const values = { width: original.width, height: original.height, resolution };
		const message = `${original.width} × ${original.height} is much less than this model was trained for (${resolution} px): it hardly draws faces at that size.`;
		add('warning', 'pair.small', 'original', values, message);
	}
	return problems;
}

/** The size both pictures should get: the original's shape at about the model's own area, sides multiples of 64. */
export function fitSize(original: Size, resolution: number): Size {
	const scale = Math.sqrt(resolution ** 2 / (original.width * original.height));
	const side = (pixels: number) => Math.max(SIDE_STEP, Math.round((pixels * scale) / SIDE_STEP) * SIDE_STEP);
	return { width: side(original.width), height: side(original.height) };
}

/** The part of `source` that fills `wanted` when scaled: centred, as large as possible. */
export function cropTo(source: Size, wanted: Size): { x: number; y: number; width: number; height: number } {
	const scale = Math.min(source.width / wanted.width, source.height / wanted.height);
	const width = wanted.width * scale;
	const height = wanted.height * scale;
	return { x: (source.width - width) / 2, y: (source.height - height) / 2, width, height };
}
