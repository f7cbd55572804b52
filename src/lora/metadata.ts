/**
 * What a saved LoRA says about itself: kohya's `ss_*` (A1111, Civitai and trainers read them), Stability's `modelspec.*`, and the whole recipe under
 * `utsushi.recipe`, so that no result is ever without its settings.
 *
 * Rules: all values are strings, nested ones JSON text; `ss_output_name` is the file's stem, unique per file, because it is the name typed in prompts;
 * `ss_base_model_version` is always there, without it A1111 takes the file for SD1. Machine paths are never written.
 * Sources: kohya's metadata list, Stability ModelSpec 1.0.1.
 */
import { withoutPaths } from '../recipe/public';
import { trainsTextEncoder } from '../recipe/text-encoder';
import type { ModelFamily, OptimizerKind, OptimizerSettings, PassSettings, Recipe, ScheduleKind } from '../recipe/recipe';

export interface RunFacts {
	/** File stem. */
	readonly outputName: string;
	readonly recipe: Recipe;
	readonly pass: 'copier' | 'difference';
	/** Optimizer steps this file has seen. */
	readonly steps: number;
	/** The seed used, also when the recipe said -1. */
	readonly seed: number;
	readonly startedAt: Date;
	readonly savedAt: Date;
	/** Pixels of the training pictures. */
	readonly width: number;
	readonly height: number;
	/** What the model predicted, whether its file or the recipe said so. */
	readonly prediction: Recipe['prediction'];
	readonly version: string;
}

interface FamilyFacts {
	readonly base: string;
	readonly architecture: string;
	readonly implementation: string;
}
const FAMILY: Readonly<Record<ModelFamily, FamilyFacts>> = {
	mini: { base: 'sd_v1', architecture: 'stable-diffusion-v1/lora', implementation: 'diffusers' },
	sd15: { base: 'sd_v1', architecture: 'stable-diffusion-v1/lora', implementation: 'diffusers' },
	sdxl: { base: 'sdxl_base_v1-0', architecture: 'stable-diffusion-xl-v1-base/lora', implementation: 'https://github.com/Stability-AI/generative-models' }
};

/** Names of the optimizers' classes in their libraries, as kohya's `ss_optimizer` has them. */
const OPTIMIZER_CLASS: Readonly<Record<OptimizerKind, string>> = {
	lion: 'Lion',
	adamw: 'AdamW',
	adam: 'Adam',
	sgdNesterov: 'SGDNesterov',
	adafactor: 'Adafactor',
	came: 'CAME',
	prodigy: 'Prodigy',
	dAdaptAdam: 'DAdaptAdam',
	dAdaptLion: 'DAdaptLion',
	scheduleFreeAdamW: 'AdamWScheduleFree',
	tiger: 'Tiger'
};

/** Names of the schedules in diffusers and TrainTrain, as `ss_lr_scheduler` has them. */
const SCHEDULE_NAME: Readonly<Record<ScheduleKind, string>> = {
	constant: 'constant',
	linear: 'linear',
	cosine: 'cosine',
	cosineRestarts: 'cosine_with_restarts',
	polynomial: 'polynomial',
	piecewise: 'piecewise_constant',
	cosineAnnealing: 'cosine_annealing',
	cosineWarmRestarts: 'cosine_annealing_with_restarts',
	exponential: 'exponential',
	step: 'step',
	multiStep: 'multi_step',
	plateau: 'reduce_on_plateau',
	cyclic: 'cyclic',
	oneCycle: 'one_cycle'
};

function optimizerText(optimizer: OptimizerSettings): string {
	const { kind, ...rest } = optimizer;
	const name = OPTIMIZER_CLASS[kind];
	const args = Object.entries(rest).map(([key, value]) => `${key}=${String(value)}`);
	return `${name}(${args.join(',')})`;
}

/** ISO 8601 without fractions, as kohya writes it. */
function isoDate(date: Date): string {
	return date.toISOString().replace(/\.\d+Z$/, 'Z');
}

/** As kohya and LyCORIS have them. */
function networkArgs(settings: PassSettings): Record<string, string> {
	const algo = settings.network === 'loha' ? { algo: 'loha' } : {};
	return { ...algo, ...convArgs(settings) };
}

function convArgs(settings: PassSettings): Record<string, string> {
	return settings.convRank > 0 ? { conv_dim: String(settings.convRank), conv_alpha: String(settings.convAlpha) } : {};
}

/** All metadata but the hashes, in the order in which it is written. */
export function loraMetadata(facts: RunFacts): Record<string, string> {
	const { recipe, pass } = facts;
	const settings = recipe.passes[pass];
	const family = FAMILY[recipe.model.family];
	const size = `${facts.width}x${facts.height}`;
	const { min, max } = settings.timesteps;
	return {
		ss_session_id: String(Math.floor(facts.startedAt.getTime() / 1000)),
		ss_training_started_at: String(facts.startedAt.getTime() / 1000),
		ss_training_finished_at: String(facts.savedAt.getTime() / 1000),
		ss_output_name: facts.outputName,
		ss_network_module: settings.network === 'loha' ? 'lycoris.kohya' : 'networks.lora',
		ss_network_dim: String(settings.rank),
		ss_network_alpha: String(settings.alpha),
		ss_network_args: JSON.stringify(networkArgs(settings)),
		ss_base_model_version: family.base,
		ss_v2: 'False',
		ss_learning_rate: String(settings.learningRate),
		ss_unet_lr: String(settings.learningRate),
		...(trainsTextEncoder(recipe) ? { ss_text_encoder_lr: String(settings.textEncoderRate || settings.learningRate) } : {}),
		ss_optimizer: optimizerText(settings.optimizer),
		ss_lr_scheduler: settings.schedule.warmup > 0 && settings.schedule.kind === 'constant' ? 'constant_with_warmup' : SCHEDULE_NAME[settings.schedule.kind],
		ss_lr_warmup_steps: String(settings.schedule.warmup),
		ss_max_train_steps: String(settings.iterations),
		ss_steps: String(facts.steps),
		ss_seed: String(facts.seed),
		ss_batch_size_per_device: String(settings.batch),
		ss_total_batch_size: String(settings.batch),
		ss_min_snr_gamma: settings.minSnrGamma > 0 ? String(settings.minSnrGamma) : 'None',
		ss_loss_type: settings.loss === 'mse' ? 'l2' : settings.loss === 'l1' ? 'l1' : 'smooth_l1',
		ss_gradient_accumulation_steps: '1',
		ss_max_grad_norm: '0.0',
		ss_mixed_precision: recipe.storage === 'f16' ? 'fp16' : 'no',
		ss_num_train_images: '1',
		ss_resolution: `(${facts.width}, ${facts.height})`,
		ss_sd_model_name: recipe.model.name,
		...(recipe.model.sha256 === undefined ? {} : { ss_new_sd_model_hash: recipe.model.sha256 }),
		ss_training_comment: `${recipe.mode} LoRA, ${pass} pass`,
		'modelspec.sai_model_spec': '1.0.1',
		'modelspec.architecture': family.architecture,
		'modelspec.implementation': family.implementation,
		'modelspec.title': facts.outputName,
		'modelspec.resolution': size,
		'modelspec.date': isoDate(facts.savedAt),
		'modelspec.prediction_type': facts.prediction,
		...(min > 0 || max < 1000 ? { 'modelspec.timestep_range': `${min},${max}` } : {}),
		'utsushi.version': facts.version,
		'utsushi.pass': pass,
		'utsushi.recipe': JSON.stringify(withoutPaths(recipe))
	};
}
