/**
 * Text encoders that a LoRA changes: which files' modules can be applied, the words of prompts where they are needed, the encoder with networks in force.
 * Where nothing changes it, the encoder is run by ONNX Runtime (`conditioner.ts`) and nothing of this is loaded.
 */
import { loadTextWeights, textModules } from '../diffusion/clip-graph';
import { embedCaptions, embedPrompts, type PromptText } from '../diffusion/text-input';
import type { Gpu } from '../gpu/gpu';
import type { Base } from '../kernels/int8';
import type { TargetModule } from '../lora/modules';
import type { Recipe } from '../recipe/recipe';
import { trainsTextEncoder } from '../recipe/text-encoder';
import type { Network } from '../training/network';
import type { Conditioning } from '../training/sample';
import { AdaptedText, changesText } from '../training/text';
import type { OpenModel, Storage } from './model';

/** Every module of a model that a LoRA may change. */
export function loadableModules(model: OpenModel): readonly TargetModule[] {
	return [...model.modules, ...textModules(model.checkpoint.config.text, true)];
}

/** The modules that this recipe can go on training. */
export function trainableModules(model: OpenModel, recipe: Recipe): readonly TargetModule[] {
	return trainsTextEncoder(recipe) ? [...model.modules, ...textModules(model.checkpoint.config.text)] : model.modules;
}

/** The encoder with these networks in force; undefined where none of them changes it. @throws GpuError when it does not fit */
export async function adaptedText(
	gpu: Gpu,
	model: OpenModel,
	storage: Storage,
	networks: readonly Network[],
	base: Base = 'f16'
): Promise<AdaptedText | undefined> {
	if (!networks.some(changesText)) return undefined;
	const weights = await model.weights(gpu, storage, undefined, base);
	await loadTextWeights(model.checkpoint, weights);
	return AdaptedText.create(gpu, { weights, configs: model.checkpoint.config.text, networks });
}

/** Looks captions up for a run that trains the text encoder, whose tensors it brings to the GPU; undefined for other runs. */
export async function captionsForTraining(
	gpu: Gpu,
	model: OpenModel,
	recipe: Recipe
): Promise<((captions: readonly string[]) => Promise<PromptText[]>) | undefined> {
	if (!trainsTextEncoder(recipe)) return undefined;
	await loadTextWeights(model.checkpoint, await model.weights(gpu, recipe.storage, undefined, recipe.base));
	return (captions) => embedCaptions(model.checkpoint, captions);
}

export interface DrawnWords {
	readonly conditional: Conditioning;
	readonly unconditional: Conditioning;
}

/** The conditionings of a picture, with what they were made of. SDXL's empty negative prompt is nothing at all, whatever the encoder (`conditioning.ts`). */
export async function withWords(model: OpenModel, words: DrawnWords, { prompt, negative }: { prompt: string; negative: string }): Promise<DrawnWords> {
	const [conditional, unconditional] = await embedPrompts(model.checkpoint, [prompt, negative]);
	const nothing = negative === '' && model.checkpoint.config.unet.vectorDim > 0;
	return {
		conditional: { ...words.conditional, text: conditional },
		unconditional: nothing ? words.unconditional : { ...words.unconditional, text: unconditional }
	};
}

/** Both conditionings with the networks at these strengths. */
export async function wordsAt(text: AdaptedText | undefined, { conditional, unconditional }: DrawnWords, strengths: readonly number[]): Promise<DrawnWords> {
	if (!text) return { conditional, unconditional };
	return { conditional: await text.condition(conditional, strengths), unconditional: await text.condition(unconditional, strengths) };
}
