/**
 * One run from pictures to files: check → encode (text, VAE) → give that memory back → pass 1 → pass 2 → strip of strengths × seeds.
 * Files are handed out the moment they are finished, so nothing made is lost whatever happens later.
 */
import { version } from '../../package.json';
import { latentFactor } from '../diffusion/config';
import type { Gpu } from '../gpu/gpu';
import type { Recipe } from '../recipe/recipe';
import type { RunMemory, TrainedModules } from '../training/run-state';
import { trainRecipe } from '../training/train';
import type { TrainingControl } from '../training/events';
import { frozenNetwork } from '../training/network';
import { Denoiser, sampleLatents, type Conditioning } from '../training/sample';
import { checkModel, checkPair, checkTrainable } from './check';
import type { Conditioner } from './conditioner';
import type { Picture, Problem, RunEvent } from './events';
import type { OpenModel } from './model';
import { deviceName, openRunMemory, runIdentity } from './resume';
import type { SnapshotRequest } from './resume';
import { encodePrompts, samplerFor } from './sampling';
import { Cancelled, continueUnlessStopped } from './stop';

export interface RunInput {
	recipe: Recipe;
	original: Picture;
	target: Picture;
}

export interface RunEnvironment {
	gpu: Gpu;
	model: OpenModel;
	openConditioner(): Promise<Conditioner>;
	control: TrainingControl;
	emit(event: RunEvent): void;
	/** Where the run is kept on the way; absent: nowhere. */
	snapshots?: SnapshotRequest | undefined;
}

/** What is known to be wrong (or surprising) before anything is spent. */
export function checkRun({ recipe, original, target }: RunInput, model: OpenModel): Problem[] {
	const { config } = model.checkpoint;
	return [...checkTrainable(config), ...checkModel(recipe, config), ...checkPair(original, target, config)];
}

interface Encoded {
	latents: { original: Float32Array; target: Float32Array; height: number; width: number };
	conditioning: Conditioning;
	preview: { conditional: Conditioning; unconditional: Conditioning };
}

async function encode({ recipe, original, target }: RunInput, { model, openConditioner, control, emit }: RunEnvironment): Promise<Encoded> {
	emit({ type: 'state', state: 'encoding' });
	const factor = latentFactor(model.checkpoint.config.vae);
	const conditioner = await openConditioner();
	try {
		const conditioning = { context: await conditioner.encodeText([recipe.prompts.original]) };
		const preview = await encodePrompts(conditioner, recipe.preview.negative, recipe.preview.prompt);
		continueUnlessStopped(control);
		const latents = {
			original: await conditioner.encodePicture(original),
			target: await conditioner.encodePicture(target),
			height: original.height / factor,
			width: original.width / factor
		};
		continueUnlessStopped(control);
		return { latents, conditioning, preview };
	} finally {
		await conditioner.close();
	}
}

/** Below this size of model file the decoder may stay open between previews; a full-size one would be missing on the GPU's host. */
const SMALL_MODEL = 256 * 2 ** 20;

/** A decoder for live previews, opened when the first one is drawn. */
function previewDecoder(
	environment: RunEnvironment,
	height: number,
	width: number
): { decode(latent: Float32Array): Promise<Picture>; close(): Promise<void> } {
	let open: Promise<Conditioner> | undefined;
	const close = async (): Promise<void> => {
		const closing = open;
		open = undefined;
		await (await closing)?.close();
	};
	return {
		close,
		async decode(latent) {
			open ??= environment.openConditioner();
			try {
				return await (await open).decode(latent, height, width);
			} finally {
				if (environment.model.blob.size > SMALL_MODEL) await close();
			}
		}
	};
}

/** 1 and 0 first: they show whether it worked. */
export function stripOrder(strengths: readonly number[]): number[] {
	const first = [1, 0].filter((strength) => strengths.includes(strength));
	return [...first, ...strengths.filter((strength) => !first.includes(strength))];
}

async function drawStrip(network: TrainedModules, encoded: Encoded, { recipe }: RunInput, environment: RunEnvironment): Promise<void> {
	const { gpu, model, control, emit } = environment;
	const { config } = model.checkpoint;
	const { seeds, strengths, steps, cfg, sampler } = recipe.preview;
	const { height, width } = encoded.latents;
	emit({ type: 'state', state: 'sampling' });
	const frozen = await frozenNetwork(gpu, 'result', network);
	let denoiser: Denoiser | undefined;
	let conditioner: Conditioner | undefined;
	try {
		const weights = await model.weights(gpu, recipe.storage);
		denoiser = await Denoiser.create(gpu, { config: config.unet, weights, networks: [frozen], height, width, batch: cfg === 1 ? 1 : 2, label: 'strip' });
		conditioner = await environment.openConditioner();
		let done = 0;
		const total = strengths.length * seeds.length * steps;
		for (const strength of stripOrder(strengths)) {
			for (const seed of seeds) {
				const latent = await sampleLatents(denoiser, {
					...samplerFor(config),
					seeds: [seed],
					sampler,
					steps,
					cfg,
					conditional: [encoded.preview.conditional],
					unconditional: encoded.preview.unconditional,
					strengths: [strength],
					onStep() {
						continueUnlessStopped(control);
						emit({ type: 'sampleStep', step: Math.min(++done, total), steps: total });
					}
				});
				emit({ type: 'stripCell', seed, strength, picture: await conditioner.decode(latent, height, width) });
			}
		}
	} finally {
		denoiser?.destroy();
		frozen.store.destroy();
		await conditioner?.close();
	}
}

/** What was kept of this run before, and where it is kept from now on. */
async function runMemory({ recipe, original, target }: RunInput, { gpu, model, emit, snapshots }: RunEnvironment): Promise<RunMemory | undefined> {
	if (!snapshots) return undefined;
	const identity = await runIdentity(recipe, [original, target], model.blob);
	return openRunMemory(snapshots, { identity, device: deviceName(gpu), version, recipe, emit });
}

/**
 * Runs to the end or to a stop; the caller reports how it ended.
 * @throws GpuError, TrainingError, LoraError; what was finished before has been handed out
 */
export async function runDifference(input: RunInput, environment: RunEnvironment): Promise<'done' | 'stopped'> {
	const { gpu, model, control, emit } = environment;
	const { recipe } = input;
	try {
		const memory = await runMemory(input, environment);
		emit({ type: 'state', state: 'preparing', detail: 'weights', fraction: 0 });
		const weights = await model.weights(gpu, recipe.storage, (fraction) => emit({ type: 'state', state: 'preparing', detail: 'weights', fraction }));
		continueUnlessStopped(control);
		const encoded = await encode(input, environment);
		const decoder = previewDecoder(environment, encoded.latents.height, encoded.latents.width);
		const { original, target, height, width } = encoded.latents;
		const trained = await trainRecipe({
			gpu,
			weights,
			config: model.checkpoint.config,
			recipe,
			inputs: {
				kind: 'pairs',
				buckets: [{ height, width, pairs: [{ original, target }] }],
				conditioning: { original: encoded.conditioning, target: encoded.conditioning }
			},
			preview: { ...encoded.preview, decode: (latent) => decoder.decode(latent) },
			control,
			emit,
			version,
			memory
		}).finally(() => decoder.close());
		// A stop wants an end, not a strip; what is there has been saved.
		if (trained.network && control.request === null && recipe.preview.seeds.length > 0) {
			await drawStrip(trained.network, encoded, input, environment).catch((error: unknown) => {
				if (!(error instanceof Cancelled)) throw error;
			});
		}
		return trained.outcome;
	} catch (error) {
		if (error instanceof Cancelled) return 'stopped';
		throw error;
	}
}
