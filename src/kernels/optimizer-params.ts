/**
 * The numbers a step of an optimizer takes: `Params` of shaders/optimizer_common.wesl. What depends on how many steps were really made (bias correction and the like) is
 * not here: the GPU counts them, because only it knows which steps were skipped.
 */
import type { OptimizerSettings } from '../recipe/optimizers';

/** `Status` of shaders/optimizer_common.wesl, rounded up. */
export const STATUS_BYTES = 128;
export const PARAM_BYTES = 256;

export interface OptimizerStep {
	/** Of this step, after the schedule. */
	readonly learningRate: number;
	/** What the gradients were multiplied by. */
	readonly lossScale: number;
}

/** The part of the parameters that differs between dispatches of one step. */
export interface Extent {
	readonly quads: number;
	readonly first: number;
	readonly count: number;
	/** Learning rate of this part as a multiple of the step's; absent: 1. */
	readonly rateFactor?: number;
}

type Named = Partial<
	Record<
		'beta1' | 'beta2' | 'beta3' | 'epsilon' | 'epsilon2' | 'exponent' | 'clip' | 'd0' | 'dCoefficient' | 'growth' | 'warmup' | 'stepPower' | 'ratePower',
		number
	>
>;

function named(settings: OptimizerSettings): Named {
	switch (settings.kind) {
		case 'lion':
		case 'adamw':
		case 'adam':
			return settings;
		case 'sgdNesterov':
			return { beta1: settings.momentum };
		case 'tiger':
			return { beta1: settings.beta };
		case 'adafactor':
			return { beta1: settings.beta1, epsilon: settings.epsilon1, epsilon2: settings.epsilon2, exponent: settings.decayRate, clip: settings.clipThreshold };
		case 'came':
			return { ...settings, epsilon: settings.epsilon1, clip: settings.clipThreshold };
		case 'prodigy':
			return { ...settings, beta3: settings.beta3 ?? Math.sqrt(settings.beta2), growth: settings.growthRate };
		case 'dAdaptAdam':
			return { ...settings, beta3: Math.sqrt(settings.beta2), growth: settings.growthRate };
		case 'dAdaptLion':
			return { ...settings, beta3: Math.sqrt(settings.beta2) };
		case 'scheduleFreeAdamW':
			return { ...settings, stepPower: settings.r, ratePower: settings.weightRatePower };
	}
}

/** Where the rate stands in `Params`. */
const RATE_WORD = 4;

/** Optimizers that find the size of their steps themselves have one for all factors. */
export function takesRateFactors(settings: OptimizerSettings): boolean {
	return !(settings.kind === 'adafactor' && settings.relativeStep) && !['prodigy', 'dAdaptAdam', 'dAdaptLion'].includes(settings.kind);
}

/** ln β; for β = 0 far enough below 0 that every power of it is 0. */
const logOf = (beta: number): number => (beta > 0 ? Math.log(beta) : -100);

/** One block of `PARAM_BYTES` per extent. */
export function packStep(settings: OptimizerSettings, { learningRate, lossScale }: OptimizerStep, extents: readonly Extent[]): ArrayBuffer {
	const n = named(settings);
	const [beta1, beta2, beta3] = [n.beta1 ?? 0, n.beta2 ?? 0, n.beta3 ?? 0];
	const numbers = [
		1 / lossScale,
		learningRate,
		settings.weightDecay,
		...[beta1, 1 - beta1, beta2, 1 - beta2, beta3, 1 - beta3],
		...[logOf(beta1), logOf(beta2)],
		...[n.epsilon ?? 0, n.epsilon2 ?? 0, n.exponent ?? 0, n.clip ?? 1],
		...[n.d0 ?? 0, n.dCoefficient ?? 1, n.growth ?? 0],
		...[n.warmup ?? 0, n.stepPower ?? 0, n.ratePower ?? 0]
	];
	const data = new ArrayBuffer(extents.length * PARAM_BYTES);
	extents.forEach(({ quads, first, count, rateFactor = 1 }, i) => {
		new Uint32Array(data, i * PARAM_BYTES).set([quads, first, count]);
		const floats = new Float32Array(data, i * PARAM_BYTES);
		floats.set([...numbers, rateFactor], 3);
		floats[RATE_WORD] = learningRate * rateFactor;
	});
	return data;
}
