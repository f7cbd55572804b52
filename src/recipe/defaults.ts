/**
 * The recipe nobody has touched, per model family. A recipe on disk or in a link may leave out any field; it then means the value here.
 *
 * Rule: these values belong to recipe version 1. Links store only what differs from them (`link.ts`), so changing a number here changes
 * the meaning of links already shared: raise the version instead.
 *
 * Full-size families: the two-pass copier method, 16/16 with conv 8/8 then 4/4, Lion, cosine, 5e-5, 1000 iterations, seed 1111.
 * mini: the settings of its reference run `difference-adamw` (AdamW 5e-3 × 300, then 3e-3 × 150, batch 2, seeds 11 and 12), the quickest of the clean ones.
 * Other modes: TrainTrain's shipped presets for full-size models (ADDifT: its *Action* presets), the reference runs of the mini model for mini.
 */
import { defaultOptimizer } from './optimizers';
import type { OptimizerSettings } from './optimizers';
import { BLOCK_IDS } from './recipe';
import type { BlockId, DatasetSettings, Mode, ModelFamily, PassSettings, PreviewSettings, Recipe } from './recipe';
import { defaultSchedule } from './schedules';

/** Every block a difference run can train. BASE (text encoder) is left out: its conditioning is computed once, so it would stay zero. */
export const UNET_BLOCKS: readonly BlockId[] = BLOCK_IDS.filter((id) => id !== 'BASE');

type PassNumbers = Pick<PassSettings, 'rank' | 'alpha' | 'convRank' | 'convAlpha' | 'iterations' | 'batch' | 'learningRate' | 'seed' | 'minSnrGamma'>;

export function passSettings(optimizer: OptimizerSettings, numbers: PassNumbers, more: Partial<PassSettings> = {}): PassSettings {
	return {
		...numbers,
		network: 'lierla',
		attention: 'full',
		strength: 1,
		blocks: [...UNET_BLOCKS],
		optimizer,
		schedule: defaultSchedule('cosine'),
		timesteps: { min: 0, max: 1000 },
		sharedTimesteps: false,
		textEncoderRate: 0,
		loss: 'mse',
		...more
	};
}

function preview(family: ModelFamily): PreviewSettings {
	const common = { seeds: [1111, 2222, 3333], strengths: [-1, -0.5, 0, 0.5, 1, 1.5, 2], live: { seeds: [], strengths: [1] } };
	if (family === 'mini') {
		const prompt = '1girl, blue hair, long hair, green eyes, closed mouth, facing viewer, simple background, white background';
		return { ...common, prompt, negative: '', steps: 30, cfg: 5, sampler: 'ddim', every: 50 };
	}
	// A picture of SDXL costs minutes where there are few cores, so its strip is short.
	const strip = family === 'sdxl' ? { seeds: [1111], strengths: [0, 0.5, 1, 1.5] } : {};
	return {
		...common,
		...strip,
		prompt: '1girl, solo, looking at viewer, upper body, closed mouth, simple background, white background',
		negative: 'lowres, bad anatomy, worst quality',
		steps: 20,
		cfg: 7,
		sampler: 'euler_a',
		every: 250
	};
}

const linear = { convRank: 0, convAlpha: 0 };

function differencePasses(family: ModelFamily): Recipe['passes'] {
	if (family === 'mini') {
		const mini = { ...linear, batch: 2, minSnrGamma: 0 };
		return {
			copier: passSettings(defaultOptimizer('adamw'), { ...mini, rank: 16, alpha: 16, iterations: 300, learningRate: 5e-3, seed: 31 }),
			difference: passSettings(defaultOptimizer('adamw'), { ...mini, rank: 4, alpha: 4, iterations: 150, learningRate: 3e-3, seed: 32 })
		};
	}
	const full = { batch: 1, minSnrGamma: 5, iterations: 1000, learningRate: 5e-5, seed: 1111 };
	return {
		copier: passSettings(defaultOptimizer('lion'), { ...full, rank: 16, alpha: 16, convRank: 8, convAlpha: 8 }),
		difference: passSettings(defaultOptimizer('lion'), { ...full, ...linear, rank: 4, alpha: 4 })
	};
}

/** The pass that makes the result in the modes with one pass. */
function singlePass(family: ModelFamily, mode: Exclude<Mode, 'difference'>): PassSettings {
	const mini = family === 'mini';
	const seed = mini ? 31 : 1111;
	const minSnrGamma = mini ? 0 : 5;
	switch (mode) {
		case 'addift':
		case 'multiAddift':
			return mini
				? passSettings(
						defaultOptimizer('adamw'),
						{ ...linear, rank: 4, alpha: 4, iterations: 30, batch: 1, learningRate: 5e-3, seed, minSnrGamma },
						{ timesteps: { min: 200, max: 800 } }
					)
				: passSettings(
						defaultOptimizer('came'),
						{ ...linear, rank: 4, alpha: 1, iterations: 30, batch: 1, learningRate: family === 'sdxl' ? 2e-4 : 1e-4, seed, minSnrGamma },
						{ timesteps: { min: 500, max: 1000 }, schedule: { ...defaultSchedule('cosineAnnealing'), minRate: 1e-5 } }
					);
		case 'lora':
			return passSettings(defaultOptimizer('adamw'), {
				...linear,
				rank: mini ? 8 : 16,
				alpha: 8,
				iterations: mini ? 300 : 1000,
				batch: 2,
				learningRate: mini ? 3e-3 : 1e-4,
				seed,
				minSnrGamma
			});
		case 'leco':
			return passSettings(defaultOptimizer('adamw'), {
				...linear,
				rank: 4,
				alpha: mini ? 4 : 8,
				iterations: mini ? 150 : 300,
				batch: 2,
				learningRate: mini ? 3e-3 : 5e-4,
				seed,
				minSnrGamma
			});
	}
}

/** The passes of a mode: what a recipe has when nobody touched them. The copier is there in every mode and used in `difference` only. */
export function defaultPasses(family: ModelFamily, mode: Mode): Recipe['passes'] {
	const passes = differencePasses(family);
	return mode === 'difference' ? passes : { ...passes, difference: singlePass(family, mode) };
}

/** Side of the square pictures a family was made for, in pixels. */
export const USUAL_SIDE: Readonly<Record<ModelFamily, number>> = { mini: 128, sd15: 512, sdxl: 1024 };

function dataset(family: ModelFamily): DatasetSettings {
	const side = USUAL_SIDE[family];
	return {
		folder: null,
		trigger: '',
		captions: 'files',
		suffix: '_t',
		bucketStep: family === 'mini' ? 64 : 256,
		minSide: family === 'sdxl' ? 512 : side / 2,
		maxRatio: 2,
		repeats: 1,
		subImages: 0,
		mirror: false,
		upscale: true
	};
}

/** A fresh, complete recipe; the caller owns it. */
export function defaultRecipe(family: ModelFamily, mode: Mode = 'difference'): Recipe {
	const mini = family === 'mini';
	const side = USUAL_SIDE[family];
	return {
		version: 1,
		name: 'difference',
		mode,
		model: mini ? { name: 'mini', family, bundled: 'mini' } : { name: '', family },
		prediction: 'epsilon',
		sizes: 'pixels',
		images: mini
			? { original: { name: 'closed.png', bundled: 'front/closed.png' }, target: { name: 'a.png', bundled: 'front/a.png' } }
			: { original: { name: '' }, target: { name: '' } },
		prompts: { original: '', target: '' },
		swap: false,
		mask: null,
		masking: { alpha: false, difference: false, renormalise: false },
		copier: { use: 'train', file: null, only: false },
		addift: { timesteps: 'traintrain', multiplier: 0.25, ratio: 1 },
		dataset: dataset(family),
		leco: { original: '', target: '', neutral: '' },
		resolution: { width: side, height: side },
		resumeFrom: null,
		passes: defaultPasses(family, mode),
		guard: { action: 'rollback', rollbacks: 3 },
		stopWhenConverged: false,
		saving: { everySteps: 0, snapshotEvery: mini ? 50 : 100, precision: 'f16', keepCopier: false },
		preview: preview(family),
		probe: { every: mini ? 25 : 50 },
		storage: 'f16',
		base: 'f16',
		traintrain: []
	};
}
