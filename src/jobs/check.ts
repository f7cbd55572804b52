/**
 * What must hold before a run may cost anything: the pair fits together, fits the model, and the recipe is meant for the open model.
 * Pure functions; every finding is a `Problem` with its remedy. The file itself (empty, animated, damaged) is checked where it is decoded.
 */
import { latentFactor, type ModelConfig } from '../diffusion/config';
import type { Recipe } from '../recipe/recipe';
import type { Picture, Problem } from './events';
import { bucketSizes } from '../training/dataset-buckets';
import { pairsOf, sizesUsed, type FolderPicture } from '../training/dataset';
import { errorProblem, warningProblem } from './problem';

/** Longest side that is trained on; beyond it activations alone take tens of gigabytes. */
export const MAX_SIDE = 2048;

export type ImageRole = 'original' | 'target';

/** Picture sides must be multiples of this: every level of the UNet halves the latent, and the way up must meet the way down. */
export function sizeMultiple(config: ModelConfig): number {
	return latentFactor(config.vae) * 2 ** (config.unet.channelMult.length - 1);
}

function nearest(size: number, multiple: number): number {
	return Math.max(multiple, Math.round(size / multiple) * multiple);
}

function checkPicture(picture: Picture, role: ImageRole, config: ModelConfig, alpha: boolean): Problem[] {
	const { width, height, data } = picture;
	const where = `images.${role}`;
	const whole = Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0;
	if (!whole || data.length !== 4 * width * height)
		return [errorProblem('pair.empty', where, `The ${role} picture has no pixels. Choose another picture.`, { which: role })];
	if (width > MAX_SIDE || height > MAX_SIDE) {
		const message = `The ${role} picture has ${width} × ${height} pixels; at most ${MAX_SIDE} on a side can be trained. Make it smaller, best ${config.resolution} × ${config.resolution}.`;
		return [errorProblem('pair.tooLarge', where, message, { which: role, width, height, limit: MAX_SIDE })];
	}
	const multiple = sizeMultiple(config);
	if (width % multiple !== 0 || height % multiple !== 0) {
		const [w, h] = [nearest(width, multiple), nearest(height, multiple)];
		const message = `The ${role} picture has ${width} × ${height} pixels, but both sides must be multiples of ${multiple} for this model. Crop or scale it to ${w} × ${h}.`;
		return [errorProblem('pair.multiple', where, message, { which: role, width, height, step: multiple, w, h })];
	}
	for (let i = 3; i < data.length && !alpha; i += 4) {
		if (data[i] !== 255) {
			const message = `The ${role} picture has transparent pixels, and the model knows no transparency. Put it on a background and save it without an alpha channel.`;
			return [errorProblem('pair.alpha', where, message, { which: role })];
		}
	}
	return [];
}

function samePixels(a: Uint8ClampedArray, b: Uint8ClampedArray): boolean {
	for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
	return true;
}

/** @param alpha transparent parts are allowed: they will not count */
export function checkPair(original: Picture, target: Picture, config: ModelConfig, alpha = false): Problem[] {
	if (original.width !== target.width || original.height !== target.height) {
		const values = { width: original.width, height: original.height, width2: target.width, height2: target.height };
		const message = `The pictures differ in size: the original has ${original.width} × ${original.height} pixels, the target ${target.width} × ${target.height}. Both must show the same scene at the same size; crop or scale one of them.`;
		return [errorProblem('pair.sizes', 'images.target', message, values)];
	}
	const found = [...checkPicture(original, 'original', config, alpha), ...checkPicture(target, 'target', config, alpha)];
	if (found.length > 0) return found;
	if (samePixels(original.data, target.data))
		return [
			warningProblem('pair.same', 'images.target', 'Both pictures are the same, so there is no difference to learn. Choose the changed picture as the target.')
		];
	const ratio = Math.sqrt((original.width * original.height) / config.resolution ** 2);
	if (ratio > 1.6 || ratio < 0.6) {
		const values = { width: original.width, height: original.height, resolution: config.resolution };
		const message = `The pictures have ${original.width} × ${original.height} pixels, but the model was made for ${config.resolution} × ${config.resolution}. Results are best near that size.`;
		return [warningProblem(ratio > 1 ? 'pair.large' : 'pair.small', 'images.original', message, values)];
	}
	return [];
}

export function checkMask(mask: Picture | undefined, picture: Picture): Problem[] {
	if (!mask) return [];
	const { width, height } = mask;
	if (width !== picture.width || height !== picture.height) {
		const message = `The mask has ${width} × ${height} pixels, the pictures have ${picture.width} × ${picture.height}. Make it the same size.`;
		return [errorProblem('mask.size', 'mask', message, { width, height, width2: picture.width, height2: picture.height })];
	}
	const white = mask.data.some((value, i) => i % 4 < 3 && value > 0);
	return white
		? []
		: [errorProblem('mask.black', 'mask', 'The mask is black everywhere, so nothing would be learned. Paint white where the LoRA should learn.')];
}

/** Most sizes of a data set; each needs a program and memory of its own on the GPU. */
const MANY_SIZES = 8;

/** The folder of the modes lora and multiAddift, and the sizes its pictures are brought to. */
export function checkFolder({ mode, dataset, resolution }: Recipe, pictures: readonly FolderPicture[], config: ModelConfig): Problem[] {
	if (pictures.length === 0)
		return [errorProblem('dataset.empty', 'dataset.folder', 'There are no pictures in the folder. Put pictures into it, or choose another folder.')];
	const multiple = sizeMultiple(config);
	const { bucketStep, minSide, maxRatio } = dataset;
	const possible = bucketSizes({ resolution, step: bucketStep, minSide, maxRatio });
	const odd = [...possible.largest, ...(dataset.subImages > 0 ? possible.smaller : [])].find(
		({ width, height }) => width % multiple !== 0 || height % multiple !== 0 || Math.max(width, height) > MAX_SIDE
	);
	if (odd) {
		const values = { width: odd.width, height: odd.height, step: multiple, limit: MAX_SIDE };
		const message = `The data set's sizes include ${odd.width} × ${odd.height} pixels, but sides must be multiples of ${multiple} for this model and at most ${MAX_SIDE}. Choose a resolution, smallest side and step that are multiples of ${multiple}.`;
		return [errorProblem('dataset.multiple', 'dataset.bucketStep', message, values)];
	}
	const used = mode === 'multiAddift' ? pairsOf(pictures, dataset.suffix).map(({ original }) => original.picture) : pictures.map(({ picture }) => picture);
	if (used.length === 0) {
		const message = `No picture has a partner whose name ends in “${dataset.suffix}” (X.png and X${dataset.suffix}.png). Rename the pictures, or change the ending.`;
		return [errorProblem('dataset.noPairs', 'dataset.suffix', message, { suffix: dataset.suffix })];
	}
	const sizes = sizesUsed(used, dataset, resolution);
	if (sizes.length === 0) {
		const message = 'All pictures are smaller than their sizes, and enlarging them is switched off. Allow enlarging, or choose a smaller resolution.';
		return [errorProblem('dataset.tooSmall', 'dataset.upscale', message)];
	}
	if (sizes.length <= MANY_SIZES) return [];
	const message = `The pictures come in ${sizes.length} sizes, and each needs GPU memory of its own. Fewer sizes (a larger step, a smaller ratio) need less.`;
	return [warningProblem('dataset.manySizes', 'dataset.bucketStep', message, { sizes: sizes.length })];
}

export function checkModel(recipe: Recipe, config: ModelConfig): Problem[] {
	if (recipe.model.family === config.family) return [];
	const message = `The recipe is for a model of the family “${recipe.model.family}”, but the open model is “${config.family}”. Open a model of that family, or take a preset for this one.`;
	return [errorProblem('model.family', 'model.family', message, { wanted: recipe.model.family, given: config.family })];
}
