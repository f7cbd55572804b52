/**
 * Every optimizer a pass can use: its settings as a discriminated union, their ranges and their defaults.
 *
 * Defaults are those of the library each optimizer comes from, which are also what applies in TrainTrain (it passes nothing but the rate):
 * torch.optim (AdamW, Adam, SGD with momentum 0.9), lion-pytorch, transformers (Adafactor), pytorch_optimizer (CAME, Tiger), prodigyopt, dadaptation, schedulefree.
 * Lion differs from nobody: betas 0.9/0.99, no decay.
 *
 * Rules
 * - Names are stable: recipes, links and files carry them.
 * - JSON has no infinity: 0 in `growthRate` stands for "no limit", and null in `beta3` for the square root of beta2.
 * - `stateBits: 8` keeps the running means in blocks of 256 with 8 bits a number (Dettmers et al. 2022, as bitsandbytes), a quarter of the memory.
 */
import * as v from 'valibot';
import { fraction, int, num, SMALLEST } from './ranges';

const epsilon = num(SMALLEST, 1);
/** Added to squared gradients, which are far smaller than gradients. */
const tiny = num(1e-37, 1);
const decay = num(0, 1);
const flag = v.boolean();
const stateBits = v.picklist([32, 8] as const);
const growthRate = num(0, 1e6);
const firstDistance = num(SMALLEST, 1);

export const optimizerSchema = v.variant('kind', [
	v.object({ kind: v.literal('lion'), beta1: fraction, beta2: fraction, weightDecay: decay, stateBits }),
	v.object({ kind: v.literal('adamw'), beta1: fraction, beta2: fraction, epsilon, weightDecay: decay, stateBits }),
	/** Decay is added to the gradient (L2), as torch.optim.Adam has it. */
	v.object({ kind: v.literal('adam'), beta1: fraction, beta2: fraction, epsilon, weightDecay: decay, stateBits }),
	v.object({ kind: v.literal('sgdNesterov'), momentum: fraction, weightDecay: decay, stateBits }),
	/** relativeStep: the rate is min(0.01, 1/√step) and the pass's own rate and schedule are not used. beta1 0: no running mean of gradients. */
	v.object({
		kind: v.literal('adafactor'),
		relativeStep: flag,
		scaleParameter: flag,
		warmupInit: flag,
		epsilon1: tiny,
		epsilon2: num(SMALLEST, 1),
		clipThreshold: num(0.01, 1000),
		decayRate: num(-1, -0.01),
		beta1: fraction,
		weightDecay: decay
	}),
	v.object({
		kind: v.literal('came'),
		beta1: fraction,
		beta2: fraction,
		beta3: fraction,
		epsilon1: tiny,
		epsilon2: tiny,
		clipThreshold: num(0.01, 1000),
		weightDecay: decay
	}),
	v.object({
		kind: v.literal('prodigy'),
		beta1: fraction,
		beta2: fraction,
		beta3: v.nullable(fraction),
		epsilon,
		weightDecay: decay,
		biasCorrection: flag,
		safeguardWarmup: flag,
		d0: firstDistance,
		dCoefficient: num(0.001, 1000),
		growthRate
	}),
	v.object({
		kind: v.literal('dAdaptAdam'),
		beta1: fraction,
		beta2: fraction,
		epsilon,
		weightDecay: decay,
		decoupled: flag,
		biasCorrection: flag,
		d0: firstDistance,
		growthRate
	}),
	v.object({ kind: v.literal('dAdaptLion'), beta1: fraction, beta2: fraction, weightDecay: decay, d0: firstDistance }),
	/** warmup: steps of linear rise inside the optimizer, (k + 1)/warmup, beside the schedule's. */
	v.object({
		kind: v.literal('scheduleFreeAdamW'),
		beta1: num(0.01, 0.999999),
		beta2: fraction,
		epsilon,
		weightDecay: decay,
		warmup: int(0, 1_000_000),
		r: num(0, 10),
		weightRatePower: num(0, 4)
	}),
	v.object({ kind: v.literal('tiger'), beta: fraction, weightDecay: decay })
]);

export type OptimizerSettings = v.InferOutput<typeof optimizerSchema>;
export type OptimizerKind = OptimizerSettings['kind'];
type SettingsOf<K extends OptimizerKind> = Extract<OptimizerSettings, { kind: K }>;

const DEFAULTS: { readonly [K in OptimizerKind]: SettingsOf<K> } = {
	lion: { kind: 'lion', beta1: 0.9, beta2: 0.99, weightDecay: 0, stateBits: 32 },
	adamw: { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, stateBits: 32 },
	adam: { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, stateBits: 32 },
	sgdNesterov: { kind: 'sgdNesterov', momentum: 0.9, weightDecay: 0, stateBits: 32 },
	adafactor: {
		kind: 'adafactor',
		relativeStep: true,
		scaleParameter: true,
		warmupInit: false,
		epsilon1: 1e-30,
		epsilon2: 1e-3,
		clipThreshold: 1,
		decayRate: -0.8,
		beta1: 0,
		weightDecay: 0
	},
	came: { kind: 'came', beta1: 0.9, beta2: 0.999, beta3: 0.9999, epsilon1: 1e-30, epsilon2: 1e-16, clipThreshold: 1, weightDecay: 0 },
	prodigy: {
		kind: 'prodigy',
		beta1: 0.9,
		beta2: 0.999,
		beta3: null,
		epsilon: 1e-8,
		weightDecay: 0,
		biasCorrection: false,
		safeguardWarmup: false,
		d0: 1e-6,
		dCoefficient: 1,
		growthRate: 0
	},
	dAdaptAdam: {
		kind: 'dAdaptAdam',
		beta1: 0.9,
		beta2: 0.999,
		epsilon: 1e-8,
		weightDecay: 0,
		decoupled: false,
		biasCorrection: false,
		d0: 1e-6,
		growthRate: 0
	},
	dAdaptLion: { kind: 'dAdaptLion', beta1: 0.9, beta2: 0.99, weightDecay: 0, d0: 1e-6 },
	scheduleFreeAdamW: { kind: 'scheduleFreeAdamW', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, warmup: 0, r: 0, weightRatePower: 2 },
	tiger: { kind: 'tiger', beta: 0.965, weightDecay: 0.01 }
};

/** In the order menus show them: what most runs want first. */
export const OPTIMIZER_KINDS = Object.keys(DEFAULTS) as readonly OptimizerKind[];

/** The library's own settings; Lion's for a kind that does not exist, so that the schema can then refuse the kind by name. */
export function defaultOptimizer<K extends OptimizerKind>(kind: K): SettingsOf<K>;
export function defaultOptimizer(kind: unknown): OptimizerSettings;
export function defaultOptimizer(kind: unknown): OptimizerSettings {
	const known = OPTIMIZER_KINDS.find((name) => name === kind) ?? 'lion';
	return { ...DEFAULTS[known] };
}

/** Bytes an optimizer remembers for each number it trains, row and column means (Adafactor, CAME) aside. */
export function rememberedBytes(settings: OptimizerSettings): number {
	const each = 'stateBits' in settings && settings.stateBits === 8 ? 1 : 4;
	switch (settings.kind) {
		case 'adafactor':
			return settings.beta1 > 0 ? 4 : 0;
		case 'lion':
		case 'sgdNesterov':
		case 'tiger':
		case 'came':
			return each;
		case 'adamw':
		case 'adam':
		case 'dAdaptLion':
		case 'scheduleFreeAdamW':
			return 2 * each;
		case 'dAdaptAdam':
			return 12;
		case 'prodigy':
			return 16;
	}
}
