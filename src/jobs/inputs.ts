/**
 * What a run of each mode is given, whether it fits, and the same encoded: pictures to latents, words to contexts, masks to the latent's size.
 *
 * Rules
 * - Everything about the inputs is checked here before anything is spent; every finding names the picture.
 * - Each picture and caption is encoded once, whatever it is used for; all texts together, because a large encoder passes through memory once for all of them.
 * - Pairs of a folder are trained with the recipe's prompts, or, when those are empty, with their own captions. (TrainTrain reads the captions and never uses them.)
 * - The size that is probed and previewed is the first one.
 */
import { latentFactor, type ModelConfig } from '../diffusion/config';
import type { Recipe } from '../recipe/recipe';
import { bucketed, captionOf, pairsOf, sameSize, sizesUsed, type FolderPicture, type NamedPair } from '../training/dataset';
import { alphaMask, combined, differenceMask, pictureMask } from '../training/masks';
import type { SizeConditioning, TextConditioning } from '../diffusion/text';
import type { PromptText } from '../diffusion/text-input';
import type { Conditioning } from '../training/sample';
import type { TrainingInputs } from '../training/train';
import { checkFolder, checkMask, checkPair } from './check';
import type { Conditioner } from './conditioner';
import { conditioningOf, croppedPicture, toldIn, wholePicture } from './conditioning';
import type { Picture, Problem } from './events';
import { errorProblem } from './problem';

export interface RunInput {
	recipe: Recipe;
	/** Modes difference and addift. */
	original?: Picture | undefined;
	target?: Picture | undefined;
	/** Of the pictures' size. */
	mask?: Picture | undefined;
	/** Modes lora and multiAddift: all pictures of the folder. */
	pictures?: readonly FolderPicture[] | undefined;
	/** The file of a finished copier, where the recipe takes one. */
	copier?: ArrayBuffer | undefined;
	/** The LoRA to go on from, where the recipe names one. */
	start?: ArrayBuffer | undefined;
	/** Bytes of the GPU the run may take; absent: as `training/fit.ts` chooses. Changes no result. */
	gpuMemory?: number | undefined;
}

const usesPair = ({ mode }: Recipe): boolean => mode === 'difference' || mode === 'addift';

/** The two pictures in the roles the recipe gives them. */
function pairOf({ recipe, original, target }: RunInput): { original: Picture; target: Picture } | undefined {
	if (!original || !target) return undefined;
	return recipe.swap ? { original: target, target: original } : { original, target };
}

function missing(where: string, what: string): Problem {
	return errorProblem('input.missing', where, `${what} is missing. The recipe's mode cannot be trained without.`, { which: where });
}

/** What is wrong with the inputs, or surprising about them. */
export function checkInputs(input: RunInput, config: ModelConfig): Problem[] {
	const { recipe } = input;
	const found: Problem[] = [];
	if (usesPair(recipe)) {
		const pair = pairOf(input);
		if (!input.original) found.push(missing('images.original', 'The original picture'));
		if (!input.target) found.push(missing('images.target', 'The target picture'));
		if (pair) found.push(...checkPair(pair.original, pair.target, config, recipe.masking.alpha), ...checkMask(input.mask, pair.original));
	} else if (recipe.mode !== 'leco') found.push(...checkFolder(recipe, input.pictures ?? [], config));
	if (recipe.mode === 'difference' && recipe.copier.use === 'file' && !input.copier) found.push(missing('copier.file', 'The file of the copier'));
	if (recipe.resumeFrom && !input.start) found.push(missing('resumeFrom', 'The LoRA to go on from'));
	return found;
}

/** Sizes in pixels that are trained, the first one first. */
export function trainingSizes(input: RunInput): { width: number; height: number }[] {
	const { recipe, pictures = [] } = input;
	switch (recipe.mode) {
		case 'leco':
			return [recipe.resolution];
		case 'lora':
			return sizesUsed(
				pictures.map(({ picture }) => picture),
				recipe.dataset,
				recipe.resolution
			);
		case 'multiAddift':
			return sizesUsed(
				pairsOf(pictures, recipe.dataset.suffix).map((pair) => sameSize(pair)[0]),
				recipe.dataset,
				recipe.resolution
			);
		default:
			return input.original ? [{ width: input.original.width, height: input.original.height }] : [];
	}
}

/** Captions of a pair of a folder, where captions count. */
function captionsOf({ original, target }: NamedPair, { prompts, dataset }: Recipe): { original: string; target: string } | undefined {
	if (prompts.original !== '' || prompts.target !== '') return undefined;
	const own = captionOf(original, dataset);
	return { original: own, target: dataset.captions === 'files' && target.text !== undefined ? captionOf(target, dataset) : own };
}

/** Every text the run is trained with. */
function textsOf({ recipe, pictures = [] }: RunInput): string[] {
	const { prompts, dataset, leco } = recipe;
	switch (recipe.mode) {
		case 'leco':
			return [leco.original, leco.target || leco.neutral];
		case 'lora':
			return pictures.map((picture) => captionOf(picture, dataset));
		case 'multiAddift': {
			const captions = pairsOf(pictures, dataset.suffix).map((pair) => captionsOf(pair, recipe));
			return [prompts.original, prompts.target, ...captions.flatMap((pair) => (pair ? [pair.original, pair.target] : []))];
		}
		default:
			return [prompts.original, prompts.target];
	}
}

/** Encodes; `between` is called after every piece of work, with the share of the texts done while they are encoded, and may throw to stop; `lookUp` for a trained text encoder. */
export async function encodeInputs(
	input: RunInput,
	config: ModelConfig,
	conditioner: Conditioner,
	between: (fraction?: number) => void,
	lookUp?: (captions: readonly string[]) => Promise<readonly PromptText[]>
): Promise<TrainingInputs> {
	const { recipe } = input;
	const factor = latentFactor(config.vae);
	const words = [...new Set(textsOf(input))];
	const encoded = words.length > 0 ? await conditioner.encodeText(words, between) : [];
	between();
	const texts = new Map<string, TextConditioning | undefined>(words.map((word, i) => [word, encoded[i]]));
	const lookedUp = lookUp && new Map((await lookUp(words)).map((text, i) => [words[i] ?? '', text]));
	const text = (prompt: string, sizes: SizeConditioning): Conditioning => {
		const known = texts.get(prompt);
		if (!known) throw new RangeError(`The text “${prompt}” was not encoded.`);
		const conditioning = conditioningOf(config, known, toldIn(recipe, sizes, factor));
		return lookedUp ? { ...conditioning, text: lookedUp.get(prompt) } : conditioning;
	};
	const latent = async (picture: Picture): Promise<Float32Array> => {
		const encoded = await conditioner.encodePicture(picture, between);
		between();
		return encoded;
	};
	const { alpha, difference, renormalise } = recipe.masking;
	const maskOf = (original: Picture, target?: Picture, drawn?: Picture): Float32Array | undefined =>
		combined(
			[
				alpha ? alphaMask(original, factor) : undefined,
				alpha && target ? alphaMask(target, factor) : undefined,
				difference && target ? differenceMask(original, target, factor) : undefined,
				drawn ? pictureMask(drawn, factor) : undefined
			],
			renormalise
		);
	const prompts = ({ original, target }: { original: string; target: string }, sizes: SizeConditioning) => ({
		original: text(original, sizes),
		target: text(target, sizes)
	});
	const inLatent = ({ width, height }: { width: number; height: number }) => ({ width: width / factor, height: height / factor });
	const pictures = input.pictures ?? [];

	switch (recipe.mode) {
		case 'leco': {
			const { original, target, neutral } = recipe.leco;
			return { kind: 'words', ...inLatent(recipe.resolution), conditioning: prompts({ original, target: target || neutral }, wholePicture(recipe.resolution)) };
		}
		case 'lora': {
			const groups = pictures.map(({ picture }, index) => ({ pictures: [picture], index }));
			const buckets = await bucketed(groups, recipe.dataset, recipe.resolution, async ([picture], index) => {
				const source = pictures[index];
				if (!picture || !source) throw new RangeError(`There is no picture ${index}.`);
				const conditioning = text(captionOf(source, recipe.dataset), croppedPicture(source.picture, picture));
				return { latent: await latent(opaque(picture)), conditioning, mask: maskOf(picture) };
			});
			return { kind: 'pictures', buckets: buckets.map(({ size, samples }) => ({ ...inLatent(size), pictures: samples })) };
		}
		case 'multiAddift': {
			const named = pairsOf(pictures, recipe.dataset.suffix);
			const groups = named.map((pair, index) => ({
				pictures: recipe.swap ? sameSize(pair).reverse() : sameSize(pair),
				index
			}));
			const buckets = await bucketed(groups, recipe.dataset, recipe.resolution, async ([original, target], index) => {
				const [pair, file] = [named[index], groups[index]?.pictures[0]];
				if (!original || !target || !pair || !file) throw new RangeError('A pair is not complete.');
				const captions = captionsOf(pair, recipe);
				const sizes = croppedPicture(file, original);
				// SDXL is told the sizes of each pair, so each has a conditioning of its own there.
				const own = captions ?? (config.unet.vectorDim > 0 ? recipe.prompts : undefined);
				return {
					original: await latent(opaque(original)),
					target: await latent(opaque(target)),
					mask: maskOf(original, target),
					conditioning: own && prompts(own, sizes)
				};
			});
			const conditioning = prompts(recipe.prompts, wholePicture(recipe.resolution));
			return { kind: 'pairs', conditioning, buckets: buckets.map(({ size, samples }) => ({ ...inLatent(size), pairs: samples })) };
		}
		default: {
			const pair = pairOf(input);
			if (!pair) throw new RangeError('The pair is not complete.');
			const mask = maskOf(pair.original, pair.target, input.mask);
			const latents = { original: await latent(opaque(pair.original)), target: await latent(opaque(pair.target)), mask };
			const conditioning = prompts(recipe.prompts, wholePicture(pair.original));
			return { kind: 'pairs', conditioning, buckets: [{ ...inLatent(pair.original), pairs: [latents] }] };
		}
	}
}

/** The colours as they are, whatever their opacity: masks say where they count. */
function opaque(picture: Picture): Picture {
	if (!picture.data.some((value, i) => i % 4 === 3 && value !== 255)) return picture;
	return { ...picture, data: picture.data.map((value, i) => (i % 4 === 3 ? 255 : value)) };
}
