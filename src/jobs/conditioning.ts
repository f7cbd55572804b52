/**
 * From what the text encoders say to what the UNet is conditioned on. SD 1.5 takes the context as it is; SDXL takes a vector too: the pooled text and six sizes
 * in pixels (original height and width, crop from the top and the left, target height and width), 256 sinusoids each.
 *
 * Rules (spec §1.0, §8.6)
 * - Sizes are pixels. TrainTrain hands over the latent's sizes (128 for a picture of 1024) in its picture modes, which tells the model that the picture is tiny; a recipe
 *   can ask for that, to repeat what was trained so.
 * - A drawn picture is whole and as large as it is drawn. A picture of a folder has the size of its file, and the crop of the scaled picture that is trained.
 * - An empty negative prompt of SDXL is all zeros, context and pooled vector, as in WebUI; sizes stay. In training an empty prompt is encoded like any other.
 */
import type { ModelConfig } from '../diffusion/config';
import { sizeVector, type SizeConditioning, type TextConditioning } from '../diffusion/text';
import type { Recipe } from '../recipe/recipe';
import { cropPlan } from '../training/dataset-buckets';
import type { Conditioning } from '../training/sample';

interface Size {
	readonly width: number;
	readonly height: number;
}

/** Sizes as the recipe wants the model to be told them; iLECO has pixels in TrainTrain too. @param factor pixels of a pixel of the latent */
export function toldIn({ sizes: unit, mode }: Pick<Recipe, 'sizes' | 'mode'>, sizes: SizeConditioning, factor: number): SizeConditioning {
	if (unit === 'pixels' || mode === 'leco') return sizes;
	const { original, crop, target } = sizes;
	return {
		original: [original[0] / factor, original[1] / factor],
		crop: [crop[0] / factor, crop[1] / factor],
		target: [target[0] / factor, target[1] / factor]
	};
}

/** A picture that is all there, at its own size. */
export function wholePicture({ width, height }: Size): SizeConditioning {
	return { original: [height, width], crop: [0, 0], target: [height, width] };
}

/** A picture of a folder, brought to a bucket's size. */
export function croppedPicture(file: Size, bucket: Size): SizeConditioning {
	const { left, top } = cropPlan(file, bucket);
	return { original: [file.height, file.width], crop: [top, left], target: [bucket.height, bucket.width] };
}

export function conditioningOf({ unet }: Pick<ModelConfig, 'unet'>, { context, pooled }: TextConditioning, sizes: SizeConditioning): Conditioning {
	return unet.vectorDim > 0 ? { context, vector: sizeVector(pooled, sizes) } : { context };
}

/** The text of a negative prompt: nothing at all where it is empty and the model is SDXL. */
export function negativeText({ unet }: Pick<ModelConfig, 'unet'>, prompt: string, { context, pooled }: TextConditioning): TextConditioning {
	if (unet.vectorDim === 0 || prompt !== '') return { context, pooled };
	return { context: new Float32Array(context.length), pooled: new Float32Array(pooled.length) };
}
