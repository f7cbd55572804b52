/**
 * The two-pass difference method ("copier"): pass 1 trains a network on the original until it reproduces that picture; pass 2 freezes and applies it and trains a second
 * network on the target. As the first already knows the original, the second learns only what differs; it alone is the result.
 *
 * Rules
 * - Both passes see the context of the *original* prompt; with SDXL the pooled vector is the *target* prompt's (TrainTrain).
 * - Pass 2 starts afresh: own settings, own seed, own optimizer. Seeds of -1 are drawn here and written into the files.
 * - A copier from a file takes the place of pass 1. (In TrainTrain that option leaves the copier empty, and pass 2 learns the whole picture.)
 * - With `copier.only` the copier is the result. (In TrainTrain nothing is saved then, unless saving it was asked for as well.)
 * - Training latents are the mean of the VAE's posterior, not a draw from it (TrainTrain draws once): a run then depends on its pictures and seeds alone, and the
 *   posterior's spread is far below the noise of the smallest timestep that matters.
 */
import { denoisingObjective } from './denoising';
import type { PassName } from './events';
import { frozenNetwork, readNetwork } from './network';
import type { NetworkPlan } from './network';
import type { Objective } from './objective';
import { RunKit } from './run-kit';
import type { RunOptions, TrainingResult } from './run-kit';
import type { TrainedModules } from './run-state';
import type { Conditioning } from './sample';

export interface DifferenceOptions extends RunOptions {
	/** Scaled latents `[h, w, 4]` (posterior means). The mask `[h, w]` says where the second pass learns. */
	readonly latents: {
		readonly original: Float32Array;
		readonly target: Float32Array;
		readonly height: number;
		readonly width: number;
		readonly mask?: Float32Array | undefined;
	};
	/** Context of the original prompt; SDXL: the vector with the target prompt's pooled features. */
	readonly conditioning: Conditioning;
	/** A finished copier, when the recipe takes it from a file. */
	readonly copier?: TrainedModules | undefined;
}

/**
 * Trains both passes; finished and intermediate networks come as `file` events.
 * A plain stop keeps nothing; stop-and-save in pass 1 saves the copier, in pass 2 the network as it is.
 * @throws GpuError (memory, lost device), TrainingError (diverged), LoraError (nothing finite to save)
 */
export async function trainDifference(options: DifferenceOptions): Promise<TrainingResult> {
	const { recipe, latents, gpu } = options;
	const kit = new RunKit(options, latents);
	const objective = (pass: PassName, latent: Float32Array, frozen: readonly NetworkPlan[], mask?: Float32Array): Objective =>
		denoisingObjective({
			config: options.config,
			storage: options.weights.storage,
			settings: recipe.passes[pass],
			seed: kit.seeds[pass],
			latent,
			height: latents.height,
			width: latents.width,
			conditioning: options.conditioning,
			mask,
			frozen,
			trained: kit.plan(pass)
		});

	const only = recipe.copier.only;
	let copier: TrainedModules;
	const before = kit.keeper.finishedCopier;
	if (options.copier) copier = options.copier;
	else if (before) {
		copier = before.modules;
		kit.skipped.copier = before.pass.skipped;
	} else {
		const first = await kit.run('copier', objective('copier', latents.original, []), {
			frozen: [],
			later: only ? [] : [recipe.passes.difference],
			saveEvery: 0
		});
		try {
			copier = await readNetwork(first.network);
		} finally {
			first.network.store.destroy();
		}
		const { seeds, skipped } = kit;
		if (first.ended !== 'done') {
			const keep = first.ended === 'stopAndSave' && first.steps > 0;
			if (keep) await kit.save('copier', copier, first.steps, 'copier');
			return { outcome: 'stopped', network: undefined, copier: keep ? copier : undefined, seeds, skipped };
		}
		if (recipe.saving.keepCopier || only) await kit.save('copier', copier, first.steps, 'copier');
		if (only) return { outcome: 'done', network: undefined, copier, seeds, skipped };
		await kit.keeper.copierDone(copier, first);
	}

	const frozen = await frozenNetwork(gpu, 'copier', copier);
	try {
		return await kit.finish(objective('difference', latents.target, [frozen], latents.mask), [frozen], copier);
	} finally {
		frozen.store.destroy();
	}
}
