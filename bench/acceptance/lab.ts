/** The mini model opened for judging: pictures in and out, faces with any networks, scores. Runs in Node on any adapter. */
import { openCheckpoint } from '../../src/diffusion/checkpoint';
import type { Checkpoint } from '../../src/diffusion/checkpoint';
import { openTextEncoder } from '../../src/diffusion/text';
import { openVae } from '../../src/diffusion/vae';
import { toPlanes } from '../../src/diffusion/vae-network';
import type { Vae } from '../../src/diffusion/vae-network';
import { loadUnetWeights } from '../../src/diffusion/weights';
import { fileSource } from '../../src/formats/node';
import { decodePng } from '../../src/formats/png';
import type { Picture } from '../../src/formats/png';
import type { Gpu } from '../../src/gpu/gpu';
import { WeightStore } from '../../src/kernels/weights';
import type { Network } from '../../src/training/network';
import { Denoiser, sampleLatents } from '../../src/training/sample';
import type { Conditioning, SampleOptions } from '../../src/training/sample';
import { Classifier } from './classifier';
import { effect, psnr } from './score';
import type { Effect } from './score';
import { captions, COPY_SEEDS, SEEDS } from './runs';
import type { View } from './runs';

/** Latent side of the mini model. */
const SIDE = 16;
const REFERENCE = 'test/fixtures/mini/reference';

export class Lab {
	private constructor(
		readonly gpu: Gpu,
		readonly checkpoint: Checkpoint,
		readonly weights: WeightStore,
		readonly vae: Vae,
		readonly classifier: Classifier,
		readonly empty: Conditioning
	) {}

	/** Paths are relative to the project's folder. */
	static async open(gpu: Gpu, storage: 'f16' | 'f32'): Promise<Lab> {
		const checkpoint = await openCheckpoint(await fileSource('public/models/mini.safetensors'));
		const weights = new WeightStore(gpu, storage);
		await loadUnetWeights(checkpoint, weights);
		const classifier = await Classifier.open(await fileSource(`${REFERENCE}/classifier.safetensors`));
		const [empty] = await contexts(checkpoint, ['']);
		if (!empty) throw new Error('The empty prompt was not encoded.');
		return new Lab(gpu, checkpoint, weights, openVae(checkpoint), classifier, empty);
	}

	async picture(path: string): Promise<Picture> {
		const source = await fileSource(`public/samples/${path}`);
		return decodePng(await source.read(0, source.size));
	}

	/** Scaled posterior mean `[16, 16, 4]`. */
	async latent(path: string): Promise<Float32Array> {
		return this.vae.latent(await this.picture(path));
	}

	async denoiser(networks: readonly Network[], batch: number): Promise<Denoiser> {
		return Denoiser.create(this.gpu, { config: this.checkpoint.config.unet, weights: this.weights, networks, height: SIDE, width: SIDE, batch });
	}

	/** Pictures as planes, clamped to −1..1. */
	async draw(denoiser: Denoiser, options: Pick<SampleOptions, 'seeds' | 'conditional' | 'strengths' | 'cfg'>): Promise<Float32Array[]> {
		const latents = await sampleLatents(denoiser, { ...options, noise: 'cpu', sampler: 'ddim', spacing: 'leading', steps: 30, unconditional: this.empty });
		return this.decode(latents);
	}

	async decode(latents: Float32Array): Promise<Float32Array[]> {
		const size = SIDE * SIDE * 4;
		const out: Float32Array[] = [];
		for (let i = 0; i < latents.length; i += size) {
			const planes = await this.vae.decodePlanes(latents.slice(i, i + size), SIDE, SIDE);
			out.push(planes.map((x) => Math.max(-1, Math.min(1, x))));
		}
		return out;
	}

	/** Twelve faces without and with the last network of the denoiser. */
	async faces(denoiser: Denoiser, view: View, mouth = 'a'): Promise<{ effect: Effect; before: Float32Array[]; after: Float32Array[] }> {
		const conditional = await contexts(this.checkpoint, captions(view));
		const strengths = denoiser.options.networks.map(() => 0);
		const common = { seeds: SEEDS, conditional, cfg: 5 };
		const before = await this.draw(denoiser, { ...common, strengths });
		const after = await this.draw(denoiser, { ...common, strengths: strengths.with(-1, 1) });
		const [closed, open] = await Promise.all(['closed', mouth].map(async (name) => toPlanes(await this.picture(`${view}/${name}.png`))));
		if (!closed || !open) throw new Error('The pair is missing.');
		return { effect: effect(before, after, { closed, open }, this.classifier), before, after };
	}

	/** PSNR in dB of six samples (empty prompt, no guidance) to the VAE's own copy of the picture. */
	async copyQuality(denoiser: Denoiser, strengths: readonly number[], path: string): Promise<{ mean: number; least: number }> {
		const samples = await this.draw(denoiser, { seeds: COPY_SEEDS, conditional: COPY_SEEDS.map(() => this.empty), strengths, cfg: 1 });
		const [reference] = await this.decode(await this.latent(path));
		if (!reference) throw new Error('The picture was not decoded.');
		const values = samples.map((y) => psnr(y, reference));
		return { mean: values.reduce((a, b) => a + b, 0) / values.length, least: Math.min(...values) };
	}

	async close(): Promise<void> {
		this.weights.destroy();
		await this.vae.close();
	}
}

/** Contexts of prompts, with the encoder closed again. */
async function contexts(checkpoint: Checkpoint, prompts: readonly string[]): Promise<Conditioning[]> {
	const encoder = openTextEncoder(checkpoint);
	try {
		const all = await encoder.encode(prompts);
		const size = all.length / prompts.length;
		return prompts.map((_, i) => ({ context: all.slice(i * size, (i + 1) * size) }));
	} finally {
		await encoder.close();
	}
}
