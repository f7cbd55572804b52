/**
 * iLECO: a concept becomes another one by words alone. The network in force must predict for the original prompt what the bare model predicts for the target prompt.
 *
 *   loss( UNet(L, t, original; 1), stop(UNet(L, t, target; 0)) ),  t drawn for each item and step
 *
 * Rule (TrainTrain, spec §1.2): L is one tensor of unit noise for the whole run; it belongs to no timestep and is never noised again. It comes out of the step's own
 * generator with a counter that stays where it is and the coefficients (0, 1).
 */
import type { UnetConfig } from '../diffusion/config';
import type { WeightStore } from '../kernels/weights';
import { seedKey } from '../lora/random';
import type { PassSettings } from '../recipe/recipe';
import type { NetworkPlan } from './network';
import { drawStep } from './noising';
import type { Objective } from './objective';
import type { Conditioning } from './sample';
import { buildStep, MULTIPLIER } from './step';
import { writeConditioning, writeDraw } from './step-inputs';

export interface LecoOptions {
	readonly config: UnetConfig;
	readonly storage: WeightStore['storage'];
	readonly settings: PassSettings;
	/** Not -1. */
	readonly seed: number;
	/** Of the latent. */
	readonly height: number;
	readonly width: number;
	readonly conditioning: { readonly original: Conditioning; readonly target: Conditioning };
	readonly trained: NetworkPlan;
}

export function lecoObjective(options: LecoOptions): Objective {
	const { config, storage, settings, seed, height, width, conditioning, trained } = options;
	const { batch } = settings;
	const step = buildStep(config, { height, width, storage }, settings, { frozen: [], trained }, { target: 'teacher', latents: 'shared', masked: false });
	const { inputs } = step;
	const nothing = new Float32Array(height * width * config.inChannels);
	return {
		shapes: [step],
		probe: {
			height,
			width,
			latent: nothing,
			pureNoise: true,
			conditioning: conditioning.original,
			multiplier: 1,
			teacher: { latent: nothing, conditioning: conditioning.target }
		},
		timesteps: (k) => Array.from(drawStep(seed, k, settings).t),
		begin(program) {
			program.write(inputs.latent, nothing);
			writeConditioning(program, inputs, config, new Array<Conditioning>(batch).fill(conditioning.original));
			if (!inputs.teacher) return;
			program.write(inputs.teacher.latent, nothing);
			writeConditioning(program, inputs.teacher, config, new Array<Conditioning>(batch).fill(conditioning.target));
		},
		write(k, [program]) {
			const noiseAlone = Float32Array.from({ length: 2 * batch }, (_, i) => i % 2);
			const draw = { ...drawStep(seed, k, settings), coef: noiseAlone, counter: Uint32Array.of(0, 0, ...seedKey(seed)) };
			if (program) writeDraw(program, inputs, draw);
			return { shape: 0, scalars: { [MULTIPLIER]: 1 } };
		}
	};
}
