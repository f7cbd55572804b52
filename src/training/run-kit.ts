/**
 * What every mode needs around its passes: seeds that are drawn once, passes started with the recipe's settings, files saved with everything they say of themselves.
 *
 * Rule: the pass that makes the result is `difference` in every mode; `copier` exists in the difference method only.
 */
import { textModules } from '../diffusion/clip-graph';
import { latentFactor, predicting } from '../diffusion/config';
import type { ModelConfig } from '../diffusion/config';
import { unetModules } from '../diffusion/unet-layout';
import type { Gpu } from '../gpu/gpu';
import { takesRateFactors } from '../kernels/optimizer-params';
import type { WeightStore } from '../kernels/weights';
import { saveLora } from '../lora/file';
import { loraMetadata } from '../lora/metadata';
import { selectModules, selectTextModules } from '../lora/modules';
import type { NetworkModule } from '../lora/modules';
import { bakeStrength } from '../lora/strength';
import type { PassSettings, Recipe } from '../recipe/recipe';
import { trainsTextEncoder } from '../recipe/text-encoder';
import type { PassName, TrainingControl, TrainingEvent } from './events';
import { readNetwork } from './network';
import type { NetworkPlan } from './network';
import type { Objective } from './objective';
import type { PreviewOptions } from './observer';
import { trainPass } from './pass';
import type { PassOptions, PassResult } from './pass';
import { RunKeeper } from './run-state';
import type { RunMemory, TrainedModules } from './run-state';
import { changesText } from './text';

/** The run, whatever its mode. */
export interface RunOptions {
	readonly gpu: Gpu;
	/** The UNet's weights; its storage is the run's. */
	readonly weights: WeightStore;
	readonly config: ModelConfig;
	readonly recipe: Recipe;
	/** Absent: no live previews. `settings` are the recipe's. */
	readonly preview?: Omit<PreviewOptions, 'settings' | 'spacing' | 'prediction'> | undefined;
	/** Bytes of the GPU the run may take; absent: see `fit.ts`. */
	readonly gpuMemory?: number | undefined;
	readonly control: TrainingControl;
	readonly emit: (event: TrainingEvent) => void;
	/** Of Utsushi, for the files. */
	readonly version: string;
	/** Where the run is kept on the way and where it goes on; absent: nowhere. */
	readonly memory?: RunMemory | undefined;
	/** A LoRA the result's pass starts from, with ranks of its own; absent: a fresh network. */
	readonly start?: TrainedModules | undefined;
}

export interface TrainingResult {
	readonly outcome: 'done' | 'stopped';
	/** The result, when there is one to keep. */
	readonly network: TrainedModules | undefined;
	readonly copier: TrainedModules | undefined;
	/** The seeds used. */
	readonly seeds: Record<PassName, number>;
	readonly skipped: Record<PassName, number>;
}

/** The text encoder's modules with a rate of their own, where the recipe gives one and the optimizer takes it. */
function withTextRate<T extends NetworkModule>(modules: readonly T[], { textEncoderRate, learningRate, optimizer }: PassSettings): readonly T[] {
	if (textEncoderRate === 0 || textEncoderRate === learningRate || learningRate === 0 || !takesRateFactors(optimizer)) return modules;
	return modules.map((m) => (m.block === 'BASE' ? { ...m, rateFactor: textEncoderRate / learningRate } : m));
}

/** What a pass trains: the recipe's network, or that of the LoRA it starts from; a copier from a file is what it is. Shared with the memory estimate. */
export function networkPlan(
	config: ModelConfig,
	recipe: Recipe,
	pass: PassName,
	given: { readonly copier?: TrainedModules | undefined; readonly start?: TrainedModules | undefined } = {}
): NetworkPlan {
	const settings = recipe.passes[pass];
	if (pass === 'copier' && given.copier) return { label: pass, modules: given.copier };
	if (pass === 'difference' && given.start) return { label: pass, modules: withTextRate(given.start, settings), start: given.start };
	const text = trainsTextEncoder(recipe) ? selectTextModules(textModules(config.text), settings) : [];
	return { label: pass, modules: [...selectModules(unetModules(config.unet), settings), ...withTextRate(text, settings)] };
}

/** DDIM as the family's pictures are usually made: the mini model's reference has its own spacing. */
export function ddimSpacing(family: Recipe['model']['family']): 'leading' | 'webui' {
	return family === 'mini' ? 'leading' : 'webui';
}

export function drawSeed(seed: number): number {
	return seed >= 0 ? seed : (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0);
}

/** SDXL models in files say what they predict; the few SD 1.5 ones that predict velocity do not, there the recipe does. */
export function withPrediction(config: ModelConfig, recipe: Pick<Recipe, 'prediction'>): ModelConfig {
	return predicting(config, recipe.prediction);
}

export class RunKit {
	readonly keeper: RunKeeper;
	readonly seeds: Record<PassName, number>;
	readonly skipped: Record<PassName, number> = { copier: 0, difference: 0 };
	/** Passes that went to their end, which may have come early. */
	readonly #done = new Set<PassName>();

	/** @param size of the (first) latent */
	constructor(
		private readonly options: RunOptions,
		private readonly size: { readonly height: number; readonly width: number }
	) {
		const { passes } = options.recipe;
		this.keeper = new RunKeeper(options.memory, { copier: passes.copier.seed, difference: passes.difference.seed }, drawSeed);
		this.seeds = this.keeper.seeds;
	}

	/** The network a pass trains: the recipe's, or the LoRA it starts from. */
	plan(pass: PassName): NetworkPlan {
		const { config, recipe, start } = this.options;
		return networkPlan(config, recipe, pass, { start });
	}

	/** Hands a file out. */
	async save(pass: PassName, modules: TrainedModules, steps: number, role: 'copier' | 'intermediate' | 'result'): Promise<void> {
		const { recipe, config, emit, version } = this.options;
		const whole = steps === recipe.passes[pass].iterations || (role !== 'intermediate' && this.#done.has(pass));
		const name = recipe.name + (pass === 'copier' ? '_copy' : '') + (whole ? '' : `_${steps}steps`);
		const factor = latentFactor(config.vae);
		const metadata = loraMetadata({
			outputName: name,
			recipe,
			pass,
			steps,
			seed: this.seeds[pass],
			startedAt: this.keeper.startedAt,
			savedAt: new Date(),
			width: this.size.width * factor,
			height: this.size.height * factor,
			prediction: config.prediction,
			version
		});
		const bytes = await saveLora(bakeStrength(modules, recipe.passes[pass].strength), { family: config.family, precision: recipe.saving.precision, metadata });
		emit({ type: 'file', role, name: `${name}.safetensors`, step: steps, bytes: bytes.slice().buffer });
	}

	async run(pass: PassName, objective: Objective, rest: Pick<PassOptions, 'frozen' | 'later' | 'saveEvery'>): Promise<PassResult> {
		const { gpu, weights, config, recipe, preview, control, emit } = this.options;
		const plan = this.plan(pass);
		const result = await trainPass({
			...rest,
			objective,
			gpu,
			weights,
			config: config.unet,
			text: changesText(plan) ? config.text : undefined,
			pass,
			settings: recipe.passes[pass],
			seed: this.seeds[pass],
			gpuMemory: this.options.gpuMemory,
			plan,
			probeEvery: recipe.probe.every,
			guard: recipe.guard,
			stopWhenConverged: recipe.stopWhenConverged,
			preview: preview && { ...preview, settings: recipe.preview, spacing: ddimSpacing(config.family), prediction: config.prediction },
			save: (modules, step) => this.save(pass, modules, step, 'intermediate'),
			...this.keeper.options(pass),
			control,
			emit
		});
		this.skipped[pass] = result.skipped;
		if (result.ended === 'done') this.#done.add(pass);
		return result;
	}

	/** The pass that makes the result, and its file. A plain stop keeps nothing, stop-and-save what there is. */
	async finish(objective: Objective, frozen: PassOptions['frozen'], copier?: TrainedModules): Promise<TrainingResult> {
		const { recipe, emit } = this.options;
		const last = await this.run('difference', objective, { frozen, later: [], saveEvery: recipe.saving.everySteps });
		try {
			const keep = last.ended === 'done' || (last.ended === 'stopAndSave' && last.steps > 0);
			const network = keep ? await readNetwork(last.network) : undefined;
			if (network) {
				emit({ type: 'state', state: 'saving', pass: 'difference' });
				await this.save('difference', network, last.steps, 'result');
			}
			return {
				outcome: last.ended === 'done' ? 'done' : 'stopped',
				network: network && [...bakeStrength(network, recipe.passes.difference.strength)],
				copier,
				seeds: this.seeds,
				skipped: this.skipped
			};
		} finally {
			last.network.store.destroy();
		}
	}
}
