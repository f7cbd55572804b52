/**
 * The plain denoising objective: one latent, fresh noise at every step, the prediction should be that noise. Both passes of the difference method are this,
 * the second with the copier in force.
 */
import type { UnetConfig } from '../diffusion/config';
import type { Program } from '../kernels/program';
import type { WeightStore } from '../kernels/weights';
import type { PassSettings } from '../recipe/recipe';
import type { NetworkPlan } from './network';
import { drawStep } from './noising';
import type { StepDraw } from './noising';
import type { Objective } from './objective';
import type { Conditioning } from './sample';
import { buildStep, TOKENS } from './step';
import type { TrainingStep } from './step';

export interface DenoisingOptions {
	readonly config: UnetConfig;
	readonly storage: WeightStore['storage'];
	readonly settings: PassSettings;
	/** Not -1. */
	readonly seed: number;
	/** `[h, w, 4]`, scaled. */
	readonly latent: Float32Array;
	readonly height: number;
	readonly width: number;
	readonly conditioning: Conditioning;
	readonly frozen: readonly NetworkPlan[];
	readonly trained: NetworkPlan;
}

export function denoisingObjective(options: DenoisingOptions): Objective {
	const { config, storage, settings, seed, latent, height, width, conditioning, frozen, trained } = options;
	const step = buildStep(config, { height, width, storage }, settings, { frozen, trained });
	return {
		shapes: [step],
		probe: { height, width, latent, conditioning, multiplier: 1 },
		begin(program) {
			program.write(step.inputs.latent, latent);
			writeConditioning(step, program, config, conditioning, settings.batch);
		},
		write(k, programs) {
			for (const program of programs) writeDraw(step, program, drawStep(seed, k, settings));
			return { shape: 0, scalars: {} };
		}
	};
}

function repeated(data: Float32Array, times: number): Float32Array {
	const out = new Float32Array(data.length * times);
	for (let i = 0; i < times; i++) out.set(data, i * data.length);
	return out;
}

function writeConditioning({ inputs }: TrainingStep, program: Program, config: UnetConfig, { context, vector }: Conditioning, batch: number): void {
	if (context.length !== TOKENS * config.contextDim)
		throw new RangeError(`The context has ${context.length} numbers instead of ${TOKENS * config.contextDim}.`);
	program.write(inputs.context, repeated(context, batch));
	if (inputs.vector) program.write(inputs.vector, repeated(vector ?? new Float32Array(config.vectorDim), batch));
}

function writeDraw({ inputs }: TrainingStep, program: Program, draw: StepDraw): void {
	program.write(inputs.t, draw.t);
	program.write(inputs.coef, draw.coef);
	program.write(inputs.weight, draw.weight);
	program.write(inputs.counter, draw.counter);
}
