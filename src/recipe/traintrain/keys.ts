/**
 * The settings of TrainTrain's forms one by one: key, default, and the field of a recipe behind it. (spec §2.1; the names, one of them misspelled, are stable there.)
 * What a recipe has no field for is not listed under `FIELDS`; it is kept as it is by the import.
 */
import { BLOCK_IDS } from '../recipe';
import type { BlockId, JsonValue, Mode, PassSettings, Recipe } from '../recipe';
import { flagOf, numberOf, textOf, wholeOf } from './values';
import type { Raw } from './values';

/** Every key with its default, in the order of the form. */
export const STANDARD: Raw = {
	network_type: 'lierla',
	network_rank: '16',
	network_alpha: '8',
	lora_data_directory: '',
	diff_target_name: '',
	lora_trigger_word: '',
	'image_size(height, width)': '512',
	train_iterations: '1000',
	train_batch_size: '2',
	train_learning_rate: '1e-4',
	train_optimizer: 'AdamW',
	train_optimizer_settings: '',
	train_lr_scheduler: 'cosine',
	train_lr_scheduler_settings: '',
	save_lora_name: '',
	use_gradient_checkpointing: false,
	'network_blocks(BASE = TextEncoder)': [...BLOCK_IDS],
	network_resume: '',
	network_strength: '1',
	network_conv_rank: '0',
	network_conv_alpha: '0',
	network_element: 'Full',
	network_train_text_encoder: false,
	image_buckets_step: '256',
	image_num_multiply: '1',
	image_min_length: '512',
	image_max_ratio: '2',
	sub_image_num: '0',
	image_mirroring: false,
	image_use_filename_as_tag: false,
	image_disable_upscale: false,
	train_fixed_timsteps_in_batch: false,
	train_textencoder_learning_rate: '',
	train_seed: '-1',
	train_min_timesteps: '0',
	train_max_timesteps: '1000',
	train_loss_function: 'MSE',
	train_lr_step_rules: '',
	train_lr_warmup_steps: '0',
	train_lr_scheduler_num_cycles: '1',
	train_lr_scheduler_power: '1.0',
	train_snr_gamma: '5',
	save_per_steps: '0',
	diff_alt_ratio: '1',
	diff_revert_original_target: false,
	diff_use_diff_mask: false,
	train_model_precision: 'fp16',
	train_lora_precision: 'fp32',
	save_precision: 'fp16',
	train_VAE_precision: 'fp32',
	diff_load_1st_pass: '',
	diff_save_1st_pass: false,
	diff_1st_pass_only: false,
	logging_save_csv: '',
	logging_verbose: false,
	save_overwrite: false,
	save_as_json: false,
	model_v_pred: false,
	use_2nd_pass_settings: false
};

/** Taken from the first block even in the second pass (its "2" column is empty). */
export const FIRST_ONLY: ReadonlySet<string> = new Set([
	'lora_data_directory',
	'diff_target_name',
	'lora_trigger_word',
	'image_size(height, width)',
	'save_lora_name',
	'network_resume',
	'network_train_text_encoder',
	'image_buckets_step',
	'image_num_multiply',
	'image_min_length',
	'image_max_ratio',
	'sub_image_num',
	'image_mirroring',
	'image_use_filename_as_tag',
	'image_disable_upscale',
	'train_textencoder_learning_rate',
	'diff_alt_ratio',
	'diff_revert_original_target',
	'diff_use_diff_mask',
	'diff_load_1st_pass',
	'diff_save_1st_pass',
	'diff_1st_pass_only',
	'logging_save_csv',
	'logging_verbose',
	'save_as_json'
]);

const ELEMENTS = { full: 'Full', cross: 'CrossAttention', self: 'SelfAttention' } as const;
const LOSSES = { mse: 'MSE', l1: 'L1', smoothL1: 'Smooth-L1' } as const;

function keyOf<K extends string>(table: Readonly<Record<K, string>>, text: string, standard: K): K {
	return (Object.keys(table) as K[]).find((key) => table[key].toLowerCase() === text.toLowerCase()) ?? standard;
}

/** A text number, plain where that is short: 0.0001 rather than 1e-4. */
export const numberText = (value: number): string => String(value);

const value = (raw: Raw, key: string): JsonValue | undefined => raw[key] ?? STANDARD[key];
const number = (raw: Raw, key: string): number => numberOf(raw[key], numberOf(STANDARD[key], 0));
const whole = (raw: Raw, key: string): number => wholeOf(raw[key], wholeOf(STANDARD[key], 0));
const text = (raw: Raw, key: string): string => textOf(raw[key], textOf(STANDARD[key]));

/** Everything of a pass but optimizer and schedule. BASE is left out where the mode does not train the text encoder. */
export function readPass(raw: Raw, mode: Mode): Omit<PassSettings, 'optimizer' | 'schedule'> {
	const type = text(raw, 'network_type').toLowerCase();
	const [rank, alpha] = [whole(raw, 'network_rank'), number(raw, 'network_alpha')];
	const conv = type !== 'lierla';
	const list = value(raw, 'network_blocks(BASE = TextEncoder)');
	const given = new Set(Array.isArray(list) ? list.map(String) : BLOCK_IDS);
	const blocks = BLOCK_IDS.filter((id) => given.has(id) && (id !== 'BASE' || mode === 'lora'));
	return {
		network: type === 'loha' ? 'loha' : 'lierla',
		attention: keyOf(ELEMENTS, text(raw, 'network_element'), 'full'),
		rank,
		alpha,
		convRank: conv ? whole(raw, 'network_conv_rank') || rank : 0,
		convAlpha: conv ? number(raw, 'network_conv_alpha') || alpha : 0,
		strength: number(raw, 'network_strength'),
		blocks: blocks.length > 0 ? blocks : BLOCK_IDS.filter((id) => id !== 'BASE'),
		iterations: whole(raw, 'train_iterations'),
		batch: whole(raw, 'train_batch_size'),
		learningRate: number(raw, 'train_learning_rate'),
		seed: Math.max(-1, whole(raw, 'train_seed')),
		minSnrGamma: number(raw, 'train_snr_gamma'),
		timesteps: { min: Math.min(999, whole(raw, 'train_min_timesteps')), max: Math.min(1000, whole(raw, 'train_max_timesteps')) },
		sharedTimesteps: flagOf(raw['train_fixed_timsteps_in_batch']),
		textEncoderRate: number(raw, 'train_textencoder_learning_rate'),
		loss: keyOf(LOSSES, text(raw, 'train_loss_function'), 'mse')
	};
}

export function writePass(pass: PassSettings): Record<string, JsonValue> {
	const conv = pass.convRank > 0;
	return {
		network_type: pass.network === 'loha' ? 'loha' : conv ? 'c3lier' : 'lierla',
		network_rank: numberText(pass.rank),
		network_alpha: numberText(pass.alpha),
		train_iterations: numberText(pass.iterations),
		train_batch_size: numberText(pass.batch),
		train_learning_rate: numberText(pass.learningRate),
		'network_blocks(BASE = TextEncoder)': [...pass.blocks].sort((a: BlockId, b: BlockId) => BLOCK_IDS.indexOf(a) - BLOCK_IDS.indexOf(b)),
		network_strength: numberText(pass.strength),
		network_conv_rank: conv && pass.convRank !== pass.rank ? numberText(pass.convRank) : '0',
		network_conv_alpha: conv && pass.convAlpha !== pass.alpha ? numberText(pass.convAlpha) : '0',
		network_element: ELEMENTS[pass.attention],
		train_fixed_timsteps_in_batch: pass.sharedTimesteps,
		train_textencoder_learning_rate: pass.textEncoderRate === 0 ? '' : numberText(pass.textEncoderRate),
		train_seed: numberText(pass.seed),
		train_min_timesteps: numberText(pass.timesteps.min),
		train_max_timesteps: numberText(pass.timesteps.max),
		train_loss_function: LOSSES[pass.loss],
		train_snr_gamma: numberText(pass.minSnrGamma)
	};
}

const PRECISIONS: Readonly<Record<string, 'f16' | 'f32'>> = { fp32: 'f32', float32: 'f32' };
const precision = (raw: Raw, key: string): 'f16' | 'f32' => PRECISIONS[text(raw, key).toLowerCase()] ?? 'f16';

const fileName = (path: string): string => path.split(/[\\/]/).at(-1) ?? path;

/** `512` or `768,512`, ascending: height is never above width there. */
function sizeOf(raw: Raw): { width: number; height: number } {
	const sides = text(raw, 'image_size(height, width)')
		.split(',')
		.map((side) => Number(side.trim()))
		.filter((side) => Number.isInteger(side) && side > 0);
	const [one = 512, two = one] = sides;
	return { height: Math.min(one, two), width: Math.max(one, two) };
}

type Shared = Pick<Recipe, 'dataset' | 'resolution' | 'resumeFrom' | 'swap' | 'masking' | 'copier' | 'prediction' | 'storage'> & {
	name: string;
	ratio: number;
	saving: Pick<Recipe['saving'], 'everySteps' | 'precision' | 'keepCopier'>;
};

/** Everything that belongs to the run and not to a pass; `result`: the block of the pass that makes the result. */
export function readShared(raw: Raw, result: Raw, mode: Recipe['mode']): Shared {
	const folder = text(raw, 'lora_data_directory');
	const loaded = text(raw, 'diff_load_1st_pass');
	const resume = text(raw, 'network_resume') || (mode === 'difference' ? '' : loaded);
	return {
		name: text(raw, 'save_lora_name'),
		ratio: number(raw, 'diff_alt_ratio'),
		saving: { everySteps: whole(result, 'save_per_steps'), precision: precision(raw, 'save_precision'), keepCopier: flagOf(raw['diff_save_1st_pass']) },
		dataset: {
			folder: folder === '' ? null : { name: fileName(folder), path: folder },
			trigger: text(raw, 'lora_trigger_word'),
			captions: flagOf(raw['image_use_filename_as_tag']) ? 'names' : 'files',
			suffix: text(raw, 'diff_target_name'),
			bucketStep: whole(raw, 'image_buckets_step'),
			minSide: whole(raw, 'image_min_length'),
			maxRatio: number(raw, 'image_max_ratio'),
			repeats: whole(raw, 'image_num_multiply'),
			subImages: whole(raw, 'sub_image_num'),
			mirror: flagOf(raw['image_mirroring']),
			upscale: !flagOf(raw['image_disable_upscale'])
		},
		resolution: sizeOf(raw),
		resumeFrom: resume === '' ? null : { name: fileName(resume), path: resume },
		swap: flagOf(raw['diff_revert_original_target']),
		masking: { alpha: false, difference: flagOf(raw['diff_use_diff_mask']), renormalise: false },
		copier: {
			use: mode === 'difference' && loaded !== '' ? 'file' : 'train',
			file: mode === 'difference' && loaded !== '' ? { name: fileName(loaded), path: loaded } : null,
			only: flagOf(raw['diff_1st_pass_only'])
		},
		prediction: flagOf(raw['model_v_pred']) ? 'v' : 'epsilon',
		storage: precision(raw, 'train_model_precision')
	};
}

const pathOf = (ref: { name: string; path?: string } | null): string => ref?.path ?? ref?.name ?? '';

export function writeShared(recipe: Recipe): Record<string, JsonValue> {
	const { dataset, resolution, copier } = recipe;
	const [height, width] = [Math.min(resolution.width, resolution.height), Math.max(resolution.width, resolution.height)];
	const names = { f16: 'fp16', f32: 'fp32' } as const;
	return {
		lora_data_directory: pathOf(dataset.folder),
		diff_target_name: dataset.suffix,
		lora_trigger_word: dataset.trigger,
		'image_size(height, width)': height === width ? numberText(height) : `${height},${width}`,
		save_lora_name: recipe.name,
		network_resume: pathOf(recipe.resumeFrom),
		image_buckets_step: numberText(dataset.bucketStep),
		image_num_multiply: numberText(dataset.repeats),
		image_min_length: numberText(dataset.minSide),
		image_max_ratio: numberText(dataset.maxRatio),
		sub_image_num: numberText(dataset.subImages),
		image_mirroring: dataset.mirror,
		image_use_filename_as_tag: dataset.captions === 'names',
		image_disable_upscale: !dataset.upscale,
		save_per_steps: numberText(recipe.saving.everySteps),
		diff_alt_ratio: numberText(recipe.addift.ratio),
		diff_revert_original_target: recipe.swap,
		diff_use_diff_mask: recipe.masking.difference,
		train_model_precision: names[recipe.storage],
		save_precision: names[recipe.saving.precision],
		diff_load_1st_pass: copier.use === 'file' ? pathOf(copier.file) : '',
		diff_save_1st_pass: recipe.saving.keepCopier,
		diff_1st_pass_only: copier.only,
		model_v_pred: recipe.prediction === 'v'
	};
}
