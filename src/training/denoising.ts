/**
 * The plain denoising objective: one latent, fresh noise at every step, the prediction should be that noise (or the velocity). Both passes of the difference method are this,
 * the second with the copier in force.
 */
import type { ModelConfig } from '../diffusion/config';
import type { WeightStore } from '../kernels/weights';
import type { PassSettings } from '../recipe/recipe';
import type { NetworkPlan } from './network';
import { drawStep } from './noising';
import type { Objective } from './objective';
import type { Conditioning } from './sample';
import { buildStep } from './step';
import { writeConditioning, writeDraw, writeMasks } from './step-inputs';

export interface DenoisingOptions {
	readonly config: Pick<ModelConfig, 'unet' | 'prediction'>;
	readonly storage: WeightStore['storage'];
	readonly settings: PassSettings;
	/** Not -1. */
	readonly seed: number;
	/** `[h, w, 4]`, scaled. */
	readonly latent: Float32Array;
	readonly height: number;
	readonly width: number;
	readonly conditioning: Conditioning;
	/** `[h, w]` as in `LatentPair`; absent: everything counts. */
	readonly mask?: Float32Array | undefined;
	readonly frozen: readonly NetworkPlan[];
	readonly trained: NetworkPlan;
}

export function denoisingObjective(options: DenoisingOptions): Objective {
	const { config, storage, settings, seed, latent, height, width, conditioning, mask, frozen, trained } = options;
	const target = config.prediction === 'v' ? 'velocity' : 'noise';
	const step = buildStep(config.unet, { height, width, storage }, settings, { frozen, trained }, { target, latents: 'shared', masked: mask !== undefined });
	return {
		shapes: [step],
		probe: { height, width, latent, conditioning, multiplier: 1, prediction: config.prediction, mask },
		begin(program) {
			program.write(step.inputs.latent, latent);
			writeMasks(program, step.inputs.mask, new Array<{ mask: typeof mask }>(settings.batch).fill({ mask }), { height, width });
			writeConditioning(program, step.inputs, config.unet, new Array<Conditioning>(settings.batch).fill(conditioning));
		},
		write(k, programs) {
			for (const program of programs) writeDraw(program, step.inputs, drawStep(seed, k, settings, config.prediction));
			return { shape: 0, scalars: {} };
		},
		timesteps: (k) => [...drawStep(seed, k, settings, config.prediction).t]
	};
}
