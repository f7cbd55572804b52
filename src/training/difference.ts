/**
 * The two-pass difference method ("copier"): pass 1 trains a network on the original until it reproduces that picture; pass 2 freezes and applies it and trains a second
 * network on the target. As the first already knows the original, the second learns only what differs; it alone is the result.
 *
 * Rules
 * - Both passes see the context of the *original* prompt; with SDXL the pooled vector is the *target* prompt's (TrainTrain).
 * - Pass 2 starts afresh: own settings, own seed, own optimizer. Seeds of -1 are drawn here and written into the files.
 * - Training latents are the mean of the VAE's posterior, not a draw from it (TrainTrain draws once): a run then depends on its pictures and seeds alone, and the
 *   posterior's spread is far below the noise of the smallest timestep that matters.
 */
import { latentFactor } from '../diffusion/config';
import type { ModelConfig } from '../diffusion/config';
import { unetModules } from '../diffusion/unet-layout';
import type { Gpu } from '../gpu/gpu';
import type { WeightStore } from '../kernels/weights';
import { saveLora } from '../lora/file';
import { loraMetadata } from '../lora/metadata';
import { selectModules } from '../lora/modules';
import type { Recipe } from '../recipe/recipe';
import { denoisingObjective } from './denoising';
import type { PassName, TrainingControl, TrainingEvent } from './events';
import { frozenNetwork, readNetwork } from './network';
import type { NetworkPlan } from './network';
import type { PreviewOptions } from './observer';
import { trainPass } from './pass';
import type { PassOptions, PassResult } from './pass';
import { RunKeeper } from './run-state';
import type { RunMemory, TrainedModules } from './run-state';
import type { Conditioning } from './sample';

export interface DifferenceOptions {
	readonly gpu: Gpu;
	/** The UNet's weights; its storage is the run's. */
	readonly weights: WeightStore;
	readonly config: ModelConfig;
	readonly recipe: Recipe;
	/** Scaled latents `[h, w, 4]` (posterior means). */
	readonly latents: { readonly original: Float32Array; readonly target: Float32Array; readonly height: number; readonly width: number };
	/** Context of the original prompt; SDXL: the vector with the target prompt's pooled features. */
	readonly conditioning: Conditioning;
	/** Absent: no live previews. `settings` are the recipe's. */
	readonly preview?: Omit<PreviewOptions, 'settings' | 'spacing'> | undefined;
	readonly control: TrainingControl;
	readonly emit: (event: TrainingEvent) => void;
	/** Of Utsushi, for the files. */
	readonly version: string;
	/** Where the run is kept on the way and where it goes on; absent: nowhere. */
	readonly memory?: RunMemory | undefined;
}

export interface DifferenceResult {
	readonly outcome: 'done' | 'stopped';
	/** The second network, when there is one to keep. */
	readonly network: TrainedModules | undefined;
	readonly copier: TrainedModules | undefined;
	/** The seeds used. */
	readonly seeds: Record<PassName, number>;
	readonly skipped: Record<PassName, number>;
}

/** What the passes train, by name. Shared with the memory estimate. */
export function networkPlan(config: ModelConfig, recipe: Recipe, pass: PassName): NetworkPlan {
	const settings = recipe.passes[pass];
	return { label: pass, modules: selectModules(unetModules(config.unet), settings) };
}

/** DDIM as the family's pictures are usually made: the mini model's reference has its own spacing. */
export function ddimSpacing(family: Recipe['model']['family']): 'leading' | 'webui' {
	return family === 'mini' ? 'leading' : 'webui';
}

export function drawSeed(seed: number): number {
	return seed >= 0 ? seed : (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0);
}

/**
 * Trains both passes; finished and intermediate networks come as `file` events.
 * A plain stop keeps nothing; stop-and-save in pass 1 saves the copier, in pass 2 the network as it is.
 * @throws GpuError (memory, lost device), TrainingError (diverged), LoraError (nothing finite to save)
 */
export async function trainDifference(options: DifferenceOptions): Promise<DifferenceResult> {
	const { recipe, latents, emit, gpu } = options;
	const keeper = new RunKeeper(options.memory, { copier: recipe.passes.copier.seed, difference: recipe.passes.difference.seed }, drawSeed);
	const { seeds, startedAt } = keeper;
	const skipped = { copier: 0, difference: 0 };

	const saver = (pass: PassName) => async (modules: TrainedModules, steps: number, role: 'copier' | 'intermediate' | 'result') => {
		const whole = steps === recipe.passes[pass].iterations;
		const name = recipe.name + (pass === 'copier' ? '_copy' : '') + (whole ? '' : `_${steps}steps`);
		const metadata = loraMetadata({
			outputName: name,
			recipe,
			pass,
			steps,
			seed: seeds[pass],
			startedAt,
			savedAt: new Date(),
			width: latents.width * latentFactor(options.config.vae),
			height: latents.height * latentFactor(options.config.vae),
			version: options.version
		});
		const bytes = await saveLora(modules, { family: options.config.family, precision: recipe.saving.precision, metadata });
		emit({ type: 'file', role, name: `${name}.safetensors`, step: steps, bytes: bytes.slice().buffer });
	};
	const run = async (pass: PassName, rest: Pick<PassOptions, 'frozen' | 'later' | 'saveEvery'> & { latent: Float32Array }): Promise<PassResult> => {
		const save = saver(pass);
		const plan = networkPlan(options.config, recipe, pass);
		const settings = recipe.passes[pass];
		const seed = seeds[pass];
		const { latent, frozen, later, saveEvery } = rest;
		const objective = denoisingObjective({
			config: options.config,
			storage: options.weights.storage,
			settings,
			seed,
			latent,
			height: latents.height,
			width: latents.width,
			conditioning: options.conditioning,
			frozen,
			trained: plan
		});
		const result = await trainPass({
			frozen,
			later,
			saveEvery,
			objective,
			gpu,
			weights: options.weights,
			config: options.config.unet,
			pass,
			settings,
			seed,
			plan,
			probeEvery: recipe.probe.every,
			preview: options.preview && { ...options.preview, settings: recipe.preview, spacing: ddimSpacing(options.config.family) },
			save: (modules, step) => save(modules, step, 'intermediate'),
			...keeper.options(pass),
			control: options.control,
			emit
		});
		skipped[pass] = result.skipped;
		return result;
	};

	let copier: TrainedModules;
	const before = keeper.finishedCopier;
	if (before) {
		copier = before.modules;
		skipped.copier = before.pass.skipped;
	} else {
		const first = await run('copier', { latent: latents.original, frozen: [], later: [recipe.passes.difference], saveEvery: 0 });
		try {
			copier = await readNetwork(first.network);
		} finally {
			first.network.store.destroy();
		}
		if (first.ended !== 'done') {
			const keep = first.ended === 'stopAndSave' && first.steps > 0;
			if (keep) await saver('copier')(copier, first.steps, 'copier');
			return { outcome: 'stopped', network: undefined, copier: keep ? copier : undefined, seeds, skipped };
		}
		if (recipe.saving.keepCopier) await saver('copier')(copier, first.steps, 'copier');
		await keeper.copierDone(copier, first);
	}

	const frozen = await frozenNetwork(gpu, 'copier', copier);
	try {
		const second = await run('difference', { latent: latents.target, frozen: [frozen], later: [], saveEvery: recipe.saving.everySteps });
		try {
			const keep = second.ended === 'done' || (second.ended === 'stopAndSave' && second.steps > 0);
			const network = keep ? await readNetwork(second.network) : undefined;
			if (network) {
				emit({ type: 'state', state: 'saving', pass: 'difference' });
				await saver('difference')(network, second.steps, 'result');
			}
			return { outcome: second.ended === 'done' ? 'done' : 'stopped', network, copier, seeds, skipped };
		} finally {
			second.network.store.destroy();
		}
	} finally {
		frozen.store.destroy();
	}
}
