/** The whole mini model on the GPU against PyTorch: one prediction, and a picture from noise in 30 steps. */
import { afterAll, describe, expect, it } from 'vitest';
import { channelsFirst, channelsLast } from '../../src/diffusion/noise';
import { openTextEncoder } from '../../src/diffusion/text';
import { openVae } from '../../src/diffusion/vae';
import { loadUnetWeights } from '../../src/diffusion/weights';
import { WeightStore } from '../../src/kernels/weights';
import { Denoiser, sampleLatents, type Conditioning } from '../../src/training/sample';
import { goldenVectors, miniCheckpoint, relativeError } from '../unit/diffusion/golden';
import { openTestGpu } from './harness';

const shape = { height: 16, width: 16, channels: 4 };
const opened: { destroy(): void }[] = [];
afterAll(() => {
	for (const each of opened) each.destroy();
});

const denoisers = new Map<string, Promise<Denoiser>>();

/** Opened once for all tests: compiling for a software adapter takes longer than running. */
function openDenoiser(storage: 'f32' | 'f16'): Promise<Denoiser> {
	const open = denoisers.get(storage) ?? createDenoiser(storage);
	denoisers.set(storage, open);
	return open;
}

async function createDenoiser(storage: 'f32' | 'f16'): Promise<Denoiser> {
	const gpu = await openTestGpu();
	const checkpoint = await miniCheckpoint();
	const weights = new WeightStore(gpu, storage);
	await loadUnetWeights(checkpoint, weights);
	const denoiser = await Denoiser.create(gpu, { config: checkpoint.config.unet, weights, networks: [], height: 16, width: 16, batch: 2 });
	opened.push(denoiser, weights);
	return denoiser;
}

/** Both items of the golden vectors; `[C, H, W]` latents become channels-last. */
async function predictGolden(denoiser: Denoiser): Promise<number> {
	const golden = await goldenVectors();
	const sample = await golden.readFloat32('unet.sample');
	const context = await golden.readFloat32('unet.context');
	const expected = await golden.readFloat32('unet.eps');
	const latents = new Float32Array(2048);
	for (const i of [0, 1]) latents.set(channelsLast(sample.subarray(1024 * i, 1024 * (i + 1)), shape), 1024 * i);
	const conditioning: Conditioning[] = [0, 1].map((i) => ({ context: context.slice(77 * 64 * i, 77 * 64 * (i + 1)) }));
	const eps = await denoiser.predict(latents, Array.from(await golden.readFloat32('unet.timestep')), conditioning, []);
	const errors = [0, 1].map((i) => relativeError(channelsFirst(eps.subarray(1024 * i, 1024 * (i + 1)), shape), expected.subarray(1024 * i, 1024 * (i + 1))));
	return Math.max(...errors);
}

describe('mini model', () => {
	it('predicts the noise of PyTorch, stored in f32', async () => {
		const error = await predictGolden(await openDenoiser('f32'));
		expect(error).toBeLessThan(1e-4);
	});

	it('predicts the noise of PyTorch, stored in halves', async () => {
		const error = await predictGolden(await openDenoiser('f16'));
		expect(error).toBeLessThan(2e-2);
	});

	it('draws the picture of PyTorch: prompt, seed 7, 30 steps of DDIM, guidance 5', async () => {
		const [checkpoint, golden] = [await miniCheckpoint(), await goldenVectors()];
		const encoder = openTextEncoder(checkpoint);
		const contexts = await encoder.encode(['', golden.metadata['caption'] ?? '']);
		await encoder.close();
		const denoiser = await openDenoiser('f32');
		const latent = await sampleLatents(denoiser, {
			seeds: [7],
			noise: 'cpu',
			sampler: 'ddim',
			spacing: 'leading',
			steps: 30,
			cfg: 5,
			unconditional: { context: contexts.slice(0, 77 * 64) },
			conditional: [{ context: contexts.slice(77 * 64) }],
			strengths: []
		});
		expect(relativeError(channelsFirst(latent, shape), await golden.readFloat32('ddim.latent'))).toBeLessThan(1e-3);
		const vae = openVae(checkpoint);
		const planes = await vae.decodePlanes(latent, 16, 16);
		await vae.close();
		const expected = await golden.readFloat32('ddim.image');
		const mse = planes.reduce((sum, v, i) => sum + (v - (expected[i] ?? NaN)) ** 2, 0) / planes.length;
		expect(10 * Math.log10(4 / mse)).toBeGreaterThan(60);
	});
});
