/**
 * The recipe: one document that describes a run completely. The queue stores recipes, links carry them, the command line takes them.
 * The validating schema (`schema.ts`) produces exactly these types; every field is present after validation.
 */
import type { OptimizerSettings } from './optimizers';
import type { ScheduleSettings } from './schedules';

export type { OptimizerKind, OptimizerSettings } from './optimizers';
export type { ScheduleKind, ScheduleSettings } from './schedules';

/** The 26 block ids of SD1.5; SDXL uses those that exist there. BASE is the text encoder. */
export const BLOCK_IDS = [
	'BASE',
	...Array.from({ length: 12 }, (_, i) => `IN${String(i).padStart(2, '0')}` as const),
	'M00',
	...Array.from({ length: 12 }, (_, i) => `OUT${String(i).padStart(2, '0')}` as const)
] as const;
export type BlockId = (typeof BLOCK_IDS)[number];

/** mini: the bundled 128-pixel model of SD1.5 topology. */
export type ModelFamily = 'mini' | 'sd15' | 'sdxl';

export interface PassSettings {
	/** Rank of Linear and 1×1 modules. */
	rank: number;
	alpha: number;
	/**
	 * Rank of 3×3 convolutions. 0: no modules in residual blocks and samplers at all (the "linear" network); above 0 their
	 * 1×1 modules (time_emb_proj, conv_shortcut) take part too, with `rank` and `alpha` like every Linear.
	 */
	convRank: number;
	convAlpha: number;
	blocks: BlockId[];
	iterations: number;
	batch: number;
	learningRate: number;
	optimizer: OptimizerSettings;
	schedule: ScheduleSettings;
	/** -1: drawn at the start of the run and written into the result. */
	seed: number;
	/** 0: off. */
	minSnrGamma: number;
	timesteps: { min: number; max: number };
	loss: 'mse' | 'l1' | 'smoothL1';
}

/** Refers to a picture by content; `path` only in recipes of the command line. */
export interface ImageRef {
	name: string;
	sha256?: string;
	path?: string;
	/** One of the pictures that come with the app, e.g. `front/a.png`. */
	bundled?: string;
}

export interface ModelRef {
	name: string;
	family: ModelFamily;
	sha256?: string;
	path?: string;
	/** `mini` for the bundled model. */
	bundled?: string;
}

export type SamplerKind = 'ddim' | 'euler_a';

export interface PreviewSettings {
	prompt: string;
	negative: string;
	seeds: number[];
	strengths: number[];
	steps: number;
	cfg: number;
	sampler: SamplerKind;
	/** Steps between live previews; 0: none. */
	every: number;
}

export interface Recipe {
	version: 1;
	/** Name of the result, also `ss_output_name`. */
	name: string;
	mode: 'difference';
	model: ModelRef;
	images: { original: ImageRef; target: ImageRef };
	prompts: { original: string; target: string };
	passes: { copier: PassSettings; difference: PassSettings };
	saving: {
		/** Steps between intermediate files of the second pass; 0: none. */
		everySteps: number;
		precision: 'f16' | 'f32';
		keepCopier: boolean;
	};
	preview: PreviewSettings;
	/** Fixed-noise loss measured every so many steps; 0: off. */
	probe: { every: number };
	/** Storage of weights and activations on the GPU. */
	storage: 'f16' | 'f32';
}
