/**
 * What every step draws on the host: timesteps, noising coefficients and loss weights. The noise itself is drawn on the GPU.
 *
 * Rules
 * - One timestep and one noise per batch item; t is uniform over the whole numbers of [min, max), the end not included (TrainTrain).
 * - Everything is counter-based: step k of a seed is the same whatever came before, so a resumed run equals an uninterrupted one.
 * - x_t = √ᾱ·x₀ + √(1−ᾱ)·n. Loss weight min(γ/SNR, 1), 1 when γ is 0 (Hang et al. 2023, epsilon form); for a velocity target min(SNR, γ)/(SNR + 1). TrainTrain takes
 *   the first form there too, which weighs the noisy timesteps far too much.
 */
import { minSnrWeight, noiseCoefficients, velocityMinSnrWeight } from '../diffusion/schedule';
import type { ModelConfig } from '../diffusion/config';
import { seedKey, UniformStream } from '../lora/random';
import type { PassSettings } from '../recipe/recipe';

const TIME_STREAM = 0x74696d65;

export interface StepDraw {
	/** `[B]` */
	readonly t: Float32Array;
	/** `[B, 2]` */
	readonly coef: Float32Array;
	/** `[B]` */
	readonly weight: Float32Array;
	/** Philox counter of the step's noise, as the `gaussian` operation takes it. */
	readonly counter: Uint32Array;
}

type DrawSettings = Pick<PassSettings, 'batch' | 'timesteps' | 'minSnrGamma'> & Partial<Pick<PassSettings, 'sharedTimesteps'>>;

/** Coefficients and weights of given timesteps. */
export function atTimesteps(t: readonly number[], minSnrGamma: number, prediction: ModelConfig['prediction'] = 'epsilon'): Omit<StepDraw, 'counter'> {
	const weigh = prediction === 'v' ? velocityMinSnrWeight : minSnrWeight;
	return {
		t: Float32Array.from(t),
		coef: Float32Array.from(t.flatMap((step) => [...noiseCoefficients(step)])),
		weight: Float32Array.from(t, (step) => weigh(step, minSnrGamma))
	};
}

/** Draws of step k (from 0). */
export function drawStep(seed: number, k: number, settings: DrawSettings, prediction: ModelConfig['prediction'] = 'epsilon'): StepDraw {
	const { batch, timesteps, minSnrGamma } = settings;
	const uniform = new UniformStream(seed, [TIME_STREAM, 0]).take(k * batch, batch);
	const t = Array.from(
		settings.sharedTimesteps ? uniform.fill(uniform[0] ?? 0) : uniform,
		(u) => timesteps.min + Math.floor(u * (timesteps.max - timesteps.min))
	);
	return { ...atTimesteps(t, minSnrGamma, prediction), counter: Uint32Array.of((k * batch) >>> 0, 0, ...seedKey(seed)) };
}
