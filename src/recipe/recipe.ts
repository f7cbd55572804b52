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

/**
 * difference: copier of the original, then what differs in the target. addift: one network that turns the original's prediction into the target's.
 * multiAddift: the same from a folder of pairs. lora: a folder of pictures with captions. leco: prompts only, no pictures.
 */
export const MODES = ['difference', 'addift', 'multiAddift', 'lora', 'leco'] as const;
export type Mode = (typeof MODES)[number];

/** lierla: low-rank factors (with a conv rank also on convolutions, TrainTrain's c3lier). loha: two pairs of factors whose products are multiplied (LyCORIS). */
export type NetworkKind = 'lierla' | 'loha';

/** full: every module. cross, self: only the four projections of attn2 or of attn1, and nothing in residual blocks. Ignored by loha. */
export type AttentionChoice = 'full' | 'cross' | 'self';

export interface PassSettings {
	network: NetworkKind;
	attention: AttentionChoice;
	/** Rank of Linear and 1×1 modules. */
	rank: number;
	alpha: number;
	/**
	 * Rank of 3×3 convolutions. 0: no modules in residual blocks and samplers at all (the "linear" network); above 0 their
	 * 1×1 modules (time_emb_proj, conv_shortcut) take part too, with `rank` and `alpha` like every Linear.
	 */
	convRank: number;
	convAlpha: number;
	/** Baked into the file: √strength on each of up and down, so that the saved change is `strength` times the trained one. Not for loha. */
	strength: number;
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
	/** One timestep for all pictures of a batch. */
	sharedTimesteps: boolean;
	/** Learning rate of the text encoder's modules (block BASE, mode lora); 0: the pass's own. */
	textEncoderRate: number;
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

/** A LoRA file, by content; `path` only in recipes of the command line. */
export interface FileRef {
	name: string;
	sha256?: string;
	path?: string;
}

/** A folder of pictures; `path` only in recipes of the command line. */
export interface FolderRef {
	name: string;
	path?: string;
}

export interface ModelRef {
	name: string;
	family: ModelFamily;
	sha256?: string;
	path?: string;
	/** A file with another VAE; absent: the model's own. */
	vae?: FileRef;
	/** `mini` for the bundled model. */
	bundled?: string;
}

/** dpmpp_2m: DPM++ 2M with Karras sigmas; euler_a: ancestral Euler with uniform ones. */
export const SAMPLERS = ['ddim', 'euler_a', 'dpmpp_2m'] as const;
export type SamplerKind = (typeof SAMPLERS)[number];

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
	/** What a live preview draws: each of these seeds at each of these strengths. No seeds: the first of `seeds`. */
	live: { seeds: number[]; strengths: number[] };
}

/** Pictures of a folder (modes lora and multiAddift). Lengths in pixels. */
export interface DatasetSettings {
	folder: FolderRef | null;
	/** Put before every caption, or the whole caption of pictures that have none. */
	trigger: string;
	/** files: `.txt` or `.caption` beside the picture. names: the file's name up to the first `_id_`, underscores as commas. */
	captions: 'files' | 'names';
	/** multiAddift: `X<suffix>.png` is the target of `X.png`. */
	suffix: string;
	/** Steps of bucket sizes; 0: one square bucket. */
	bucketStep: number;
	minSide: number;
	/** Longest side by shortest side. */
	maxRatio: number;
	/** How often each picture counts in an epoch. */
	repeats: number;
	/** Further, smaller crops of each picture. */
	subImages: number;
	/** Each picture also as its mirror image. */
	mirror: boolean;
	/** false: pictures smaller than a bucket are left out of it. */
	upscale: boolean;
}

/** What happens when training goes wrong (`training/guard.ts` has the rules). */
export interface GuardSettings {
	/** rollback: back to the last good snapshot with a lower rate, then on. */
	action: 'off' | 'stop' | 'rollback';
	/** How often it may roll back before it stops. */
	rollbacks: number;
}

export interface Recipe {
	version: 1;
	/** Name of the result, also `ss_output_name`. */
	name: string;
	mode: Mode;
	model: ModelRef;
	/** What the model predicts; only few models of SD1.5 and SDXL predict v. */
	prediction: 'epsilon' | 'v';
	/** SDXL is told how large a picture is: in pixels, or in pixels of the latent (an eighth), as TrainTrain does in its picture modes. */
	sizes: 'pixels' | 'latents';
	/** Modes difference and addift. */
	images: { original: ImageRef; target: ImageRef };
	prompts: { original: string; target: string };
	/** Original and target change places (pictures, not prompts). */
	swap: boolean;
	/** White where to learn, black where not, of the pictures' size. */
	mask: ImageRef | null;
	/**
	 * alpha: transparent parts do not count. difference: parts that are the same in both pictures do not count. renormalise: the loss is the mean over what counts
	 * instead of over the whole picture, so that a small region learns as fast as a large one.
	 */
	masking: { alpha: boolean; difference: boolean; renormalise: boolean };
	/** only: end after the copier, which is the result then. */
	copier: { use: 'train' | 'file'; file: FileRef | null; only: boolean };
	/**
	 * timesteps: TrainTrain's fixed sequence of five, or drawn from ten windows. multiplier: of the network while it trains. ratio: of the mirrored (odd) steps to
	 * the others; 0 leaves them out, below 0 they train "no change" on noise.
	 */
	addift: { timesteps: 'traintrain' | 'random'; multiplier: number; ratio: number };
	dataset: DatasetSettings;
	/** The concept of `original` becomes that of `target`; empty target: is forgotten. neutral: the prompt that stands for "nothing". */
	leco: { original: string; target: string; neutral: string };
	/** Picture size in pixels where no picture says it: the size of leco's latents, the pixel budget of a dataset's buckets. */
	resolution: { width: number; height: number };
	/** The LoRA the result's pass starts from, instead of a fresh network. */
	resumeFrom: FileRef | null;
	/**
	 * The passes. `difference` is the one that makes the result, in every mode; `copier` is used in mode difference only.
	 */
	passes: { copier: PassSettings; difference: PassSettings };
	guard: GuardSettings;
	/** Ends a pass when its probe says "converged". */
	stopWhenConverged: boolean;
	saving: {
		/** Steps between intermediate files of the second pass; 0: none. */
		everySteps: number;
		/** Steps between snapshots, from which an interrupted run goes on; 0: only when the page is left or the run is paused. */
		snapshotEvery: number;
		precision: 'f16' | 'f32';
		keepCopier: boolean;
	};
	preview: PreviewSettings;
	/** Fixed-noise loss measured every so many steps; 0: off. */
	probe: { every: number };
	/** Storage of weights and activations on the GPU. */
	storage: 'f16' | 'f32';
	/** Frozen weights: as `storage` says, or the large matrices in about eleven bits a number, seven tenths of the memory of f16 and slightly coarser. Not with loha. */
	base: 'f16' | 'int8';
	/** Settings of an imported TrainTrain preset that have no place above, or are spelled otherwise there (`traintrain/preset.ts`). */
	traintrain: KeptSetting[];
}

/** `value` is what the preset said where we would write `ours`. `in` tells the two blocks of such a file apart; an empty `key` lists the keys it lacks. */
export interface KeptSetting {
	in: 'first' | 'second';
	key: string;
	value?: unknown;
	ours?: unknown;
}

export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
