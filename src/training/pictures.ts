/**
 * LoRA mode: many pictures, each with its own text; the prediction should be the noise (or the velocity). One step graph for each size of picture.
 * With block BASE the text encoder is part of the step: each picture's words enter as rows of tokens.
 * Source: spec §1.1 and §5.6. Unlike TrainTrain, transparent parts of a picture are left out of the loss where the recipe asks for it.
 */
import type { ModelConfig } from '../diffusion/config';
import type { WeightStore } from '../kernels/weights';
import type { PassSettings } from '../recipe/recipe';
import { batchOrder } from './batches';
import type { NetworkPlan } from './network';
import { drawStep } from './noising';
import type { Objective } from './objective';
import type { Conditioning } from './sample';
import { buildStep } from './step';
import { joined, writeConditioning, writeDraw, writeMasks } from './step-inputs';
import { changesText } from './text';

/** A scaled latent `[h, w, 4]` with its text; the mask `[h, w]` as in `LatentPair`. */
export interface CaptionedLatent {
	readonly latent: Float32Array;
	readonly conditioning: Conditioning;
	readonly mask?: Float32Array | undefined;
}

/** Pictures of one size. */
export interface PictureBucket {
	readonly height: number;
	readonly width: number;
	readonly pictures: readonly CaptionedLatent[];
}

export interface PicturesOptions {
	readonly config: Pick<ModelConfig, 'unet' | 'prediction' | 'text'>;
	readonly storage: WeightStore['storage'];
	readonly settings: PassSettings;
	/** Not -1. */
	readonly seed: number;
	readonly buckets: readonly PictureBucket[];
	readonly trained: NetworkPlan;
}

export function picturesObjective(options: PicturesOptions): Objective {
	const { config, storage, settings, seed, buckets, trained } = options;
	const { batch } = settings;
	const masked = buckets.some(({ pictures }) => pictures.some(({ mask }) => mask));
	const target = config.prediction === 'v' ? 'velocity' : 'noise';
	const text = changesText(trained) ? config.text : undefined;
	const steps = buckets.map(({ height, width }) =>
		buildStep(config.unet, { height, width, storage }, settings, { frozen: [], trained }, { target, latents: 'each', masked, text })
	);
	const order = batchOrder({ sizes: buckets.map(({ pictures }) => pictures.length), batch, seed });
	const first = buckets[0];
	const example = first?.pictures[0];
	if (!first || !example) throw new RangeError('There are no pictures to train on.');
	return {
		shapes: steps,
		probe: {
			height: first.height,
			width: first.width,
			latent: example.latent,
			conditioning: example.conditioning,
			multiplier: 1,
			prediction: config.prediction,
			mask: example.mask,
			enough: 0.97 // one picture of many: its own loss hardly falls
		},
		timesteps: (k) => Array.from(drawStep(seed, k, settings).t),
		begin: () => undefined,
		write(k, programs) {
			const { bucket, items } = order(k);
			const [program, step, size] = [programs[bucket], steps[bucket], buckets[bucket]];
			if (!program || !step || !size) throw new RangeError(`There is no step for pictures of size ${bucket}.`);
			const pictures = items.map((item) => size.pictures[item]).filter((picture) => picture !== undefined);
			program.write(step.inputs.latent, joined(pictures.map(({ latent }) => latent)));
			writeConditioning(
				program,
				step.inputs,
				config.unet,
				pictures.map(({ conditioning }) => conditioning)
			);
			writeMasks(program, step.inputs.mask, pictures, size);
			writeDraw(program, step.inputs, drawStep(seed, k, settings, config.prediction));
			return { shape: bucket, scalars: {} };
		}
	};
}
