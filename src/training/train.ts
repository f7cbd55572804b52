/** A run of any mode: from encoded inputs to files. Which objective a mode trains, and how many passes. */
import type { ModelConfig } from '../diffusion/config';
import type { Recipe } from '../recipe/recipe';
import { trainsTextEncoder } from '../recipe/text-encoder';
import { addiftObjective } from './addift';
import type { PairBucket } from './addift';
import { trainDifference } from './difference';
import type { PassName } from './events';
import { lecoObjective } from './leco';
import type { Objective } from './objective';
import { picturesObjective } from './pictures';
import type { PictureBucket } from './pictures';
import { RunKit, withPrediction } from './run-kit';
import type { RunOptions, TrainingResult } from './run-kit';
import type { TrainedModules } from './run-state';
import type { Conditioning } from './sample';
import type { StepKind } from './step';

/** What a mode trains on, encoded. Conditionings are the recipe's prompts'. */
export type TrainingInputs =
	| {
			readonly kind: 'pairs';
			readonly buckets: readonly PairBucket[];
			readonly conditioning: { readonly original: Conditioning; readonly target: Conditioning };
	  }
	| { readonly kind: 'pictures'; readonly buckets: readonly PictureBucket[] }
	/** Size of the latent. */
	| {
			readonly kind: 'words';
			readonly height: number;
			readonly width: number;
			readonly conditioning: { readonly original: Conditioning; readonly target: Conditioning };
	  };

export interface TrainOptions extends RunOptions {
	readonly inputs: TrainingInputs;
	readonly copier?: TrainedModules | undefined;
}

/** Size of the first latent: the one that is probed and previewed. */
export function latentSize(inputs: TrainingInputs): { height: number; width: number } {
	const { height, width } = inputs.kind === 'words' ? inputs : (inputs.buckets[0] ?? { height: 0, width: 0 });
	return { height, width };
}

/** The kind of step a pass of the recipe makes, for the memory estimate. */
export function stepKind(config: ModelConfig, recipe: Recipe, pass: PassName): StepKind {
	const { alpha, difference } = recipe.masking;
	const masked = pass === 'difference' && recipe.mode !== 'leco' && (alpha || (difference && recipe.mode !== 'lora') || recipe.mask !== null);
	const { prediction } = withPrediction(config, recipe);
	const plain = prediction === 'v' ? 'velocity' : 'noise';
	switch (recipe.mode) {
		case 'difference':
			return { target: plain, latents: 'shared', masked };
		case 'lora':
			return { target: plain, latents: 'each', masked, text: trainsTextEncoder(recipe) ? config.text : undefined };
		case 'leco':
			return { target: 'teacher', latents: 'shared', masked: false };
		default:
			return { target: 'teacher', latents: 'each', masked };
	}
}

/** What the pass that makes the result trains, in every mode but the difference method. */
export function objectiveOf({ inputs, recipe, config, weights }: TrainOptions, kit: RunKit): Objective {
	const settings = recipe.passes.difference;
	const common = { storage: weights.storage, settings, seed: kit.seeds.difference, trained: kit.plan('difference') };
	switch (inputs.kind) {
		case 'pairs':
			return addiftObjective({ ...common, ...inputs, config: config.unet, addift: recipe.addift });
		case 'pictures':
			return picturesObjective({ ...common, ...inputs, config });
		case 'words':
			return lecoObjective({ ...common, ...inputs, config: config.unet });
	}
}

/**
 * Trains what the recipe says; finished and intermediate networks come as `file` events.
 * @throws GpuError (memory, lost device), TrainingError (diverged), LoraError (nothing finite to save), RangeError when inputs and mode do not fit
 */
export async function trainRecipe(given: TrainOptions): Promise<TrainingResult> {
	const options = { ...given, config: withPrediction(given.config, given.recipe) };
	const { recipe, inputs } = options;
	if (recipe.mode === 'difference') {
		const bucket = inputs.kind === 'pairs' ? inputs.buckets[0] : undefined;
		const pair = bucket?.pairs[0];
		if (inputs.kind !== 'pairs' || !bucket || !pair) throw new RangeError('The difference method needs a pair of pictures.');
		const { context } = inputs.conditioning.original;
		const { vector } = inputs.conditioning.target;
		return trainDifference({ ...options, latents: { ...pair, height: bucket.height, width: bucket.width }, conditioning: { context, vector } });
	}
	const kit = new RunKit(options, latentSize(inputs));
	return kit.finish(objectiveOf(options, kit), []);
}
