/**
 * Drawing pictures: prompts through the text encoder, noise through the UNet with LoRAs at their strengths, latents through the VAE.
 * Used by `sample` and by the strip at the end of a run. DDIM takes the steps of the model's own family: the mini model's reference
 * spacing, WebUI's otherwise; noise is WebUI's "NV".
 */
import { latentFactor, predicting, type ModelConfig } from '../diffusion/config';
import { predictionOf } from '../formats/lora-prediction';
import type { Gpu } from '../gpu/gpu';
import { loadLora } from '../lora/load';
import { Denoiser, sampleLatents, type Conditioning, type SampleOptions } from '../training/sample';
import { frozenNetwork, type Network } from '../training/network';
import { sizeMultiple } from './check';
import type { Conditioner } from './conditioner';
import { conditioningOf, negativeText, wholePicture } from './conditioning';
import type { Picture, Problem, RunEvent } from './events';
import type { OpenModel, Storage } from './model';
import { errorProblem, ProblemError, warningProblem } from './problem';
import type { SamplerKind } from '../recipe/recipe';
import type { TrainingControl } from '../training/events';
import { continueUnlessStopped } from './stop';
import { adaptedText, loadableModules, withWords, wordsAt } from './text-encoder';
import type { AdaptedText } from '../training/text';

export interface SampleSettings {
	prompt: string;
	negative: string;
	seed: number;
	steps: number;
	cfg: number;
	sampler: SamplerKind;
	width: number;
	height: number;
	loras: { bytes: ArrayBuffer; strength: number }[];
}

export interface SampleEnvironment {
	gpu: Gpu;
	model: OpenModel;
	storage: Storage;
	openConditioner(): Promise<Conditioner>;
	control: TrainingControl;
	emit(event: RunEvent): void;
}

/** Noise and step spacing by family, and what the model predicts, for every picture drawn here. */
export function samplerFor(config: ModelConfig): Pick<SampleOptions, 'noise' | 'spacing' | 'prediction'> {
	return { noise: 'nv', prediction: config.prediction, spacing: config.family === 'mini' ? 'leading' : 'webui' };
}

/** What a picture of this size is drawn from. */
export interface DrawnText {
	readonly negative: string;
	readonly prompt: string;
	/** Pixels. */
	readonly width: number;
	readonly height: number;
}

/** The negative prompt's and the prompt's conditioning. */
export async function encodePrompts(
	conditioner: Conditioner,
	config: ModelConfig,
	{ negative, prompt, ...size }: DrawnText,
	onProgress?: (fraction: number) => void
): Promise<{ unconditional: Conditioning; conditional: Conditioning }> {
	const [unconditional, conditional] = await conditioner.encodePrompts([negative, prompt], onProgress);
	if (!unconditional || !conditional) throw new Error('The text encoder left a prompt out.');
	const sizes = wholePicture(size);
	return {
		unconditional: conditioningOf(config, negativeText(config, negative, unconditional), sizes),
		conditional: conditioningOf(config, conditional, sizes)
	};
}

export function checkSample({ width, height, steps, cfg }: SampleSettings, config: ModelConfig): Problem | null {
	const multiple = sizeMultiple(config);
	const good = (side: number): boolean => Number.isInteger(side) && side >= multiple && side <= 4096 && side % multiple === 0;
	if (!good(width) || !good(height)) {
		const message = `A picture of ${width} × ${height} cannot be drawn: both sides must be multiples of ${multiple}, at most 4096. The model was made for ${config.resolution} × ${config.resolution}.`;
		return errorProblem('sample.size', 'size', message, { width, height, multiple, resolution: config.resolution });
	}
	if (!Number.isInteger(steps) || steps < 1 || steps > 1000)
		return errorProblem('sample.steps', 'steps', `${steps} steps are not possible; choose 1 to 1000.`, { steps });
	if (!Number.isFinite(cfg) || cfg < 0) return errorProblem('sample.cfg', 'cfg', `A guidance of ${cfg} is not possible; choose 0 or more.`, { cfg });
	return null;
}

async function openLoras(
	environment: SampleEnvironment,
	settings: SampleSettings
): Promise<{ networks: Network[]; strengths: number[]; prediction: 'v' | undefined }> {
	const loaded = [];
	for (const { bytes } of settings.loras) loaded.push(await loadLora(new Uint8Array(bytes), loadableModules(environment.model)));
	for (const { warnings } of loaded)
		for (const { code, where, message, values } of warnings)
			environment.emit({ type: 'warning', problem: warningProblem(code, where, message, { ...values }) });
	const networks: Network[] = [];
	try {
		for (const [i, { modules }] of loaded.entries()) networks.push(await frozenNetwork(environment.gpu, `lora${i}`, modules));
	} catch (error) {
		for (const { store } of networks) store.destroy();
		throw error;
	}
	const prediction = loaded.some(({ metadata }) => predictionOf(metadata)) ? 'v' : undefined;
	return { networks, strengths: settings.loras.map(({ strength }) => strength), prediction };
}

/** Errors: `ProblemError`, `LoraError`, `GpuError`, `Cancelled`. */
export async function drawSample(environment: SampleEnvironment, settings: SampleSettings): Promise<Picture> {
	const { gpu, model, storage, control } = environment;
	const { config } = model.checkpoint;
	const problem = checkSample(settings, config);
	if (problem) throw new ProblemError(problem);
	const { networks, strengths, prediction } = await openLoras(environment, settings);
	let conditioner: Conditioner | undefined;
	let denoiser: Denoiser | undefined;
	let text: AdaptedText | undefined;
	try {
		environment.emit({ type: 'state', state: 'encoding' });
		conditioner = await environment.openConditioner();
		const contexts = await encodePrompts(conditioner, config, settings, (fraction) => environment.emit({ type: 'state', state: 'encoding', fraction }));
		continueUnlessStopped(control);
		environment.emit({ type: 'state', state: 'compiling' });
		const weights = await model.weights(gpu, storage, () => continueUnlessStopped(control));
		text = await adaptedText(gpu, model, storage, networks);
		const drawn = text ? await wordsAt(text, await withWords(model, contexts, settings), strengths) : contexts;
		const factor = latentFactor(config.vae);
		const [height, width] = [settings.height / factor, settings.width / factor];
		denoiser = await Denoiser.create(gpu, { config: config.unet, weights, networks, height, width, batch: settings.cfg === 1 ? 1 : 2 });
		environment.emit({ type: 'state', state: 'sampling' });
		const latent = await sampleLatents(denoiser, {
			// A LoRA that was trained for velocity says so, even where its model's file does not.
			...samplerFor(predicting(config, prediction)),
			seeds: [settings.seed],
			sampler: settings.sampler,
			steps: settings.steps,
			cfg: settings.cfg,
			conditional: [drawn.conditional],
			unconditional: drawn.unconditional,
			strengths,
			onStep(done, steps) {
				continueUnlessStopped(control);
				environment.emit({ type: 'sampleStep', step: done, steps });
			}
		});
		// Its room is for the VAE now.
		denoiser.destroy();
		denoiser = undefined;
		return await conditioner.decode(latent, height, width, (fraction) => {
			continueUnlessStopped(control);
			environment.emit({ type: 'state', state: 'sampling', detail: 'decode', fraction });
		});
	} finally {
		denoiser?.destroy();
		text?.destroy();
		for (const { store } of networks) store.destroy();
		await conditioner?.close();
	}
}
