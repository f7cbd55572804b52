/**
 * One run from pictures to files: check → encode (text, VAE) → give that memory back → pass 1 → pass 2 → strip of strengths × seeds.
 * Files are handed out the moment they are finished, so nothing made is lost whatever happens later.
 */
import { version } from '../../package.json';
import type { Gpu } from '../gpu/gpu';
import { Arenas } from '../kernels/arenas';
import { asStored } from '../kernels/stored';
import type { WeightStore } from '../kernels/weights';
import type { Progress } from '../diffusion/text';
import type { RunMemory, TrainedModules } from '../training/run-state';
import { withPrediction } from '../training/run-kit';
import { latentSize, trainRecipe, type TrainingInputs } from '../training/train';
import type { TrainingControl } from '../training/events';
import { frozenNetwork } from '../training/network';
import { Denoiser, sampleLatents, type Conditioning } from '../training/sample';
import type { AdaptedText } from '../training/text';
import { latentFactor } from '../diffusion/config';
import { checkModel } from './check';
import type { Conditioner, Place } from './conditioner';
import type { DecodeRoom } from '../training/observer';
import { fitGuest, type Guest } from '../training/fit';
import type { Picture, Problem, RunEvent } from './events';
import { openGivenLoras } from './given-loras';
import { checkInputs, encodeInputs, trainingSizes, type RunInput } from './inputs';
import type { OpenModel } from './model';
import { deviceName, openRunMemory, runIdentity } from './resume';
import type { SnapshotRequest } from './resume';
import { int8Told } from './int8-told';
import { warningProblem } from './problem';
import { encodePrompts, samplerFor } from './sampling';
import { Cancelled, continueUnlessStopped } from './stop';
import { adaptedText, captionsForTraining, withWords, wordsAt } from './text-encoder';
import { fitStrip, vaeGuests } from './vae-room';

export interface RunEnvironment {
	gpu: Gpu;
	model: OpenModel;
	openConditioner(): Promise<Conditioner>;
	control: TrainingControl;
	emit(event: RunEvent): void;
	/** Where the run is kept on the way; absent: nowhere. */
	snapshots?: SnapshotRequest | undefined;
	/** Bytes of the GPU the run may take; absent: see `training/fit.ts`. */
	gpuMemory?: number | undefined;
}

/** What is known to be wrong (or surprising) before anything is spent. */
export function checkRun(input: RunInput, model: OpenModel): Problem[] {
	const { config } = model.checkpoint;
	return [...checkModel(input.recipe, config), ...checkInputs(input, config)];
}

interface Encoded {
	inputs: TrainingInputs;
	/** Of the first latent. */
	size: { height: number; width: number };
	preview: { conditional: Conditioning; unconditional: Conditioning };
}

/** Where a guest was planned to be; undefined: nothing is planned here. */
const placeOf = (guest: Guest | undefined, arenas?: Arenas): Place => (guest ? { version: guest.version, ...(arenas ? { arenas } : {}) } : 'cpu');

async function encode(input: RunInput, { gpu, model, openConditioner, control, emit, gpuMemory }: RunEnvironment, weights: WeightStore): Promise<Encoded> {
	emit({ type: 'state', state: 'encoding' });
	// The text encoders' weights, where they are trained, are there from here on.
	const lookUp = await captionsForTraining(gpu, model, input.recipe);
	const opened = await openConditioner();
	const guests = vaeGuests(gpu, model, 'encode', trainingSizes(input));
	const place = guests && placeOf((await fitGuest(weights.bytes, [], guests, gpuMemory)).guest);
	const conditioner = { ...opened, encodePicture: (picture: Picture, onProgress?: Progress) => opened.encodePicture(picture, onProgress, place) };
	try {
		const { negative, prompt } = input.recipe.preview;
		const { config } = model.checkpoint;
		const between = (fraction?: number): void => {
			continueUnlessStopped(control);
			if (fraction !== undefined) emit({ type: 'state', state: 'encoding', fraction });
		};
		// Pictures are drawn in the first size that is trained.
		const size = trainingSizes(input)[0] ?? { width: config.resolution, height: config.resolution };
		const drawn = await encodePrompts(conditioner, config, { negative, prompt, ...size }, between);
		const preview = lookUp ? await withWords(model, drawn, { negative, prompt }) : drawn;
		const inputs = await encodeInputs(input, config, conditioner, between, lookUp);
		continueUnlessStopped(control);
		return { inputs, size: latentSize(inputs), preview };
	} finally {
		await opened.close();
	}
}

/** Below this size of model file the decoder may stay open between previews; a full-size one would be missing on the GPU's host. */
const SMALL_MODEL = 256 * 2 ** 20;

/** A decoder for live previews, opened when the first one is drawn. */
function previewDecoder(
	environment: RunEnvironment,
	height: number,
	width: number
): { decode(latent: Float32Array, onProgress: () => void, room: DecodeRoom | undefined): Promise<Picture>; close(): Promise<void> } {
	let open: Promise<Conditioner> | undefined;
	const close = async (): Promise<void> => {
		const closing = open;
		open = undefined;
		await (await closing)?.close();
	};
	return {
		close,
		async decode(latent, onProgress, room) {
			open ??= environment.openConditioner();
			try {
				return await (await open).decode(latent, height, width, onProgress, room ?? 'cpu');
			} finally {
				// What was planned for on the GPU may stay.
				if (!room && environment.model.blob.size > SMALL_MODEL) await close();
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
	const { height, width } = encoded.size;
	emit({ type: 'state', state: 'sampling' });
	const frozen = await frozenNetwork(gpu, 'result', network);
	let denoiser: Denoiser | undefined;
	let text: AdaptedText | undefined;
	let conditioner: Conditioner | undefined;
	let room: Arenas | undefined;
	try {
		const weights = await model.weights(gpu, recipe.storage, undefined, recipe.base);
		text = await adaptedText(gpu, model, recipe.storage, [frozen], recipe.base);
		const factor = latentFactor(config.vae);
		const guests = vaeGuests(gpu, model, 'decode', [{ height: height * factor, width: width * factor }]);
		const { batch, guest, arenas } = await fitStrip(gpu, {
			config: config.unet,
			height,
			width,
			storage: recipe.storage,
			guided: cfg !== 1,
			stored: (graph) => asStored(graph, weights),
			network: frozen,
			heldBytes: weights.bytes + frozen.store.bytes + (text?.bytes ?? 0),
			guests,
			limit: environment.gpuMemory
		});
		room = await Arenas.create(gpu, 'strip', arenas);
		const place = placeOf(guest, room);
		denoiser = await Denoiser.create(gpu, { config: config.unet, weights, networks: [frozen], height, width, batch, arenas: room, label: 'strip' });
		conditioner = await environment.openConditioner();
		let done = 0;
		const total = strengths.length * seeds.length * steps;
		for (const strength of stripOrder(strengths)) {
			const { conditional, unconditional } = await wordsAt(text, encoded.preview, [strength]);
			for (const seed of seeds) {
				const latent = await sampleLatents(denoiser, {
					...samplerFor(withPrediction(config, recipe)),
					seeds: [seed],
					sampler,
					steps,
					cfg,
					conditional: [conditional],
					unconditional,
					strengths: [strength],
					onStep() {
						continueUnlessStopped(control);
						emit({ type: 'sampleStep', step: Math.min(++done, total), steps: total });
					}
				});
				emit({ type: 'stripCell', seed, strength, picture: await conditioner.decode(latent, height, width, () => continueUnlessStopped(control), place) });
			}
		}
	} finally {
		denoiser?.destroy();
		text?.destroy();
		frozen.store.destroy();
		await conditioner?.close();
		room?.destroy();
	}
}

/** What was kept of this run before, and where it is kept from now on. */
async function runMemory(
	{ recipe, original, target, mask, pictures = [] }: RunInput,
	{ gpu, model, emit, snapshots }: RunEnvironment
): Promise<RunMemory | undefined> {
	if (!snapshots) return undefined;
	const identity = await runIdentity(recipe, [original, target, mask, ...pictures.map(({ picture }) => picture)], model.blob, model.vae);
	return openRunMemory(snapshots, { identity, device: deviceName(gpu), version, recipe, emit });
}

/**
 * Runs to the end or to a stop; the caller reports how it ended.
 * @throws GpuError, TrainingError, LoraError; what was finished before has been handed out
 */
export async function runRecipe(input: RunInput, environment: RunEnvironment): Promise<'done' | 'stopped'> {
	const { gpu, model, control, emit } = environment;
	const { recipe } = input;
	try {
		const { given, warnings } = await openGivenLoras(input, model);
		for (const { code, where, message, values } of warnings) emit({ type: 'warning', problem: warningProblem(code, where, message, { ...values }) });
		const memory = await runMemory(input, environment);
		emit({ type: 'state', state: 'preparing', detail: 'weights', fraction: 0 });
		const weights = await model.weights(
			gpu,
			recipe.storage,
			(fraction) => {
				emit({ type: 'state', state: 'preparing', detail: 'weights', fraction });
				continueUnlessStopped(control);
			},
			recipe.base
		);
		const coarse = int8Told(weights);
		if (coarse) emit({ type: 'warning', problem: coarse });
		continueUnlessStopped(control);
		const encoded = await encode(input, environment, weights);
		const decoder = previewDecoder(environment, encoded.size.height, encoded.size.width);
		const trained = await trainRecipe({
			gpu,
			weights,
			config: model.checkpoint.config,
			recipe,
			inputs: encoded.inputs,
			...given,
			preview: {
				...encoded.preview,
				guests: vaeGuests(gpu, model, 'decode', trainingSizes(input).slice(0, 1)),
				decode: (...given) => decoder.decode(...given)
			},
			control,
			emit,
			version,
			memory,
			gpuMemory: environment.gpuMemory
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
