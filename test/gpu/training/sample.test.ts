/** The reference LoRA loaded and sampled gives the reference's pictures (two faces, DDIM 10, guidance 5, made with PyTorch). */
import { expect, it } from 'vitest';
import { openCheckpoint } from '../../../src/diffusion/checkpoint';
import { unetModules } from '../../../src/diffusion/unet-layout';
import { openVae } from '../../../src/diffusion/vae';
import { fromPlanes } from '../../../src/diffusion/vae-network';
import { loadUnetWeights } from '../../../src/diffusion/weights';
import { fileSource } from '../../../src/formats/node';
import { decodePng } from '../../../src/formats/png';
import { openSafetensors } from '../../../src/formats/safetensors';
import { WeightStore } from '../../../src/kernels/weights';
import { loadLora } from '../../../src/lora/load';
import { frozenNetwork } from '../../../src/training/network';
import { Denoiser, sampleLatents } from '../../../src/training/sample';
import { openTestGpu } from '../harness';
import { relativeError } from './fixture';

const SIZE = 16 * 16 * 4;

it('difference-adamw draws the faces of the reference', { timeout: 900_000 }, async () => {
	const gpu = await openTestGpu();
	const checkpoint = await openCheckpoint(await fileSource('public/models/mini.safetensors'));
	const weights = new WeightStore(gpu, 'f16');
	await loadUnetWeights(checkpoint, weights);
	const lora = await loadLora(await fileSource('test/fixtures/mini/reference/difference-adamw.safetensors'), unetModules(checkpoint.config.unet));
	const network = await frozenNetwork(gpu, 'reference', lora.modules);
	const denoiser = await Denoiser.create(gpu, { config: checkpoint.config.unet, weights, networks: [network], height: 16, width: 16, batch: 4 });
	const fixture = await openSafetensors(await fileSource('test/fixtures/training/picture.safetensors'));
	const contexts = await fixture.readFloat32('contexts');
	const context = (i: number) => ({ context: contexts.slice(i * 77 * 64, (i + 1) * 77 * 64) });
	const latents = await sampleLatents(denoiser, {
		seeds: [200, 201],
		noise: 'cpu',
		sampler: 'ddim',
		spacing: 'leading',
		steps: 10,
		cfg: 5,
		conditional: [context(1), context(2)],
		unconditional: context(0),
		strengths: [1]
	});
	// Attention over everything twice is attention over it once, so a context of two equal chunks predicts the same, through its own program.
	const twice = (i: number) => ({ context: Float32Array.from([...context(i).context, ...context(i).context]) });
	const noise = latents.subarray(0, 2 * SIZE);
	const short = await denoiser.predict(noise, [500, 500], [context(0), context(1)], [1]);
	const mixed = await denoiser.predict(noise, [500, 500], [context(0), twice(1)], [1]);
	expect(Array.from(mixed.subarray(0, SIZE))).toEqual(Array.from(short.subarray(0, SIZE)));
	expect(relativeError(mixed.subarray(SIZE), short.subarray(SIZE))).toBeLessThan(2e-3);
	expect(relativeError(mixed.subarray(SIZE), mixed.subarray(0, SIZE))).toBeGreaterThan(2e-3);
	expect(relativeError(latents, await fixture.readFloat32('latents'))).toBeLessThan(0.05);

	const source = await fileSource('test/fixtures/training/picture.png');
	const expected = decodePng(await source.read(0, source.size));
	const vae = openVae(checkpoint);
	for (const i of [0, 1]) {
		const { data } = fromPlanes(await vae.decodePlanes(latents.slice(i * SIZE, (i + 1) * SIZE), 16, 16), 128, 128);
		let sum = 0;
		for (let y = 0; y < 128; y++)
			for (let x = 0; x < 128; x++)
				for (let c = 0; c < 3; c++) sum += ((data[4 * (y * 128 + x) + c] ?? 0) - (expected.data[4 * (y * 256 + i * 128 + x) + c] ?? 0)) ** 2;
		const psnr = 10 * Math.log10(255 ** 2 / (sum / (3 * 128 * 128)));
		console.log(`face ${i}: ${psnr.toFixed(1)} dB`);
		expect(psnr).toBeGreaterThan(35);
	}
	await vae.close();
	denoiser.destroy();
	network.store.destroy();
	weights.destroy();
});
