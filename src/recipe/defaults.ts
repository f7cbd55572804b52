/**
 * The recipe nobody has touched, per model family. A recipe on disk or in a link may leave out any field; it then means the value here.
 *
 * Rule: these values belong to recipe version 1. Links store only what differs from them (`link.ts`), so changing a number here changes
 * the meaning of links already shared: raise the version instead.
 *
 * Full-size families: the two-pass copier method, 16/16 with conv 8/8 then 4/4, Lion, cosine, 5e-5, 1000 iterations, seed 1111.
 * mini: the settings of its reference run `difference-adamw` (AdamW 5e-3 × 300, then 3e-3 × 150, batch 2, seeds 11 and 12), the quickest of the clean ones.
 */
import { defaultOptimizer } from './optimizers';
import type { OptimizerSettings } from './optimizers';
import { BLOCK_IDS } from './recipe';
import type { BlockId, ModelFamily, PassSettings, PreviewSettings, Recipe } from './recipe';
import { defaultSchedule } from './schedules';

/** Every block a difference run can train. BASE (text encoder) is left out: its conditioning is computed once, so it would stay zero. */
export const UNET_BLOCKS: readonly BlockId[] = BLOCK_IDS.filter((id) => id !== 'BASE');

type PassNumbers = Pick<PassSettings, 'rank' | 'alpha' | 'convRank' | 'convAlpha' | 'iterations' | 'batch' | 'learningRate' | 'seed' | 'minSnrGamma'>;

export function passSettings(optimizer: OptimizerSettings, numbers: PassNumbers): PassSettings {
	return { ...numbers, blocks: [...UNET_BLOCKS], optimizer, schedule: defaultSchedule('cosine'), timesteps: { min: 0, max: 1000 }, loss: 'mse' };
}

function preview(family: ModelFamily): PreviewSettings {
	const common = { seeds: [1111, 2222, 3333], strengths: [-1, -0.5, 0, 0.5, 1, 1.5, 2] };
	if (family === 'mini') {
		const prompt = '1girl, blue hair, long hair, green eyes, closed mouth, facing viewer, simple background, white background';
		return { ...common, prompt, negative: '', steps: 30, cfg: 5, sampler: 'ddim', every: 50 };
	}
	return {
		...common,
		prompt: '1girl, solo, looking at viewer, upper body, closed mouth, simple background, white background',
		negative: 'lowres, bad anatomy, worst quality',
		steps: 20,
		cfg: 7,
		sampler: 'euler_a',
		every: 250
	};
}

function passes(family: ModelFamily): Recipe['passes'] {
	if (family === 'mini') {
		const mini = { convRank: 0, convAlpha: 0, batch: 2, minSnrGamma: 0 };
		return {
			copier: passSettings(defaultOptimizer('adamw'), { ...mini, rank: 16, alpha: 16, iterations: 300, learningRate: 5e-3, seed: 31 }),
			difference: passSettings(defaultOptimizer('adamw'), { ...mini, rank: 4, alpha: 4, iterations: 150, learningRate: 3e-3, seed: 32 })
		};
	}
	const full = { batch: 1, minSnrGamma: 5, iterations: 1000, learningRate: 5e-5, seed: 1111 };
	return {
		copier: passSettings(defaultOptimizer('lion'), { ...full, rank: 16, alpha: 16, convRank: 8, convAlpha: 8 }),
		difference: passSettings(defaultOptimizer('lion'), { ...full, rank: 4, alpha: 4, convRank: 0, convAlpha: 0 })
	};
}

/** A fresh, complete recipe; the caller owns it. */
export function defaultRecipe(family: ModelFamily): Recipe {
	const mini = family === 'mini';
	return {
		version: 1,
		name: 'difference',
		mode: 'difference',
		model: mini ? { name: 'mini', family, bundled: 'mini' } : { name: '', family },
		images: mini
			? { original: { name: 'closed.png', bundled: 'front/closed.png' }, target: { name: 'a.png', bundled: 'front/a.png' } }
			: { original: { name: '' }, target: { name: '' } },
		prompts: { original: '', target: '' },
		passes: passes(family),
		saving: { everySteps: 0, precision: 'f16', keepCopier: false },
		preview: preview(family),
		probe: { every: mini ? 25 : 50 },
		storage: 'f16'
	};
}
