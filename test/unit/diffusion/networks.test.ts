/** Text encoder and VAE against PyTorch, in onnxruntime's WebAssembly. */
import { describe, expect, it } from 'vitest';
import { openTextEncoder } from '../../../src/diffusion/text';
import { fromPlanes, openVae, toPlanes } from '../../../src/diffusion/vae';
import { channelsLast } from '../../../src/diffusion/noise';
import { decodePng } from '../../../src/formats/png';
import { bytesOf, goldenVectors, miniCheckpoint, relativeError } from './golden';

describe('text encoder', () => {
	it('gives the contexts of PyTorch, from ids and from prompts', async () => {
		const [checkpoint, golden] = [await miniCheckpoint(), await goldenVectors()];
		const encoder = openTextEncoder(checkpoint);
		const ids = Array.from(await golden.readFloat32('text.ids'));
		const expected = await golden.readFloat32('text.context');
		const fromIds = await encoder.encodeIds([ids.slice(0, 77), ids.slice(77)]);
		const fromPrompts = await encoder.encode(['', golden.metadata['caption'] ?? '']);
		await encoder.close();
		expect(encoder.width).toBe(64);
		expect(relativeError(fromIds, expected)).toBeLessThan(1e-5);
		expect(Array.from(fromPrompts)).toEqual(Array.from(fromIds));
	});

	it('skips layers and leaves out the final norm when asked, and opens again after closing', async () => {
		const checkpoint = await miniCheckpoint();
		const normal = openTextEncoder(checkpoint);
		const skipping = openTextEncoder(checkpoint, { skip: 2 });
		const bare = openTextEncoder(checkpoint, { finalNorm: false });
		const [a, b, c] = [await normal.encode(['smile']), await skipping.encode(['smile']), await bare.encode(['smile'])];
		expect(relativeError(b, a)).toBeGreaterThan(0.01);
		expect(relativeError(c, a)).toBeGreaterThan(0.01);
		await normal.close();
		expect(Array.from(await normal.encode(['smile']))).toEqual(Array.from(a));
		for (const encoder of [normal, skipping, bare]) await encoder.close();
	});
});

describe('VAE', () => {
	it('encodes and decodes as PyTorch does', async () => {
		const [checkpoint, golden] = [await miniCheckpoint(), await goldenVectors()];
		const picture = decodePng(bytesOf('public/samples/front/closed.png'));
		expect(relativeError(toPlanes(picture), await golden.readFloat32('vae.image'))).toBeLessThan(1e-6);
		const vae = openVae(checkpoint);
		const posterior = await vae.encode(picture);
		const mean = await golden.readFloat32('vae.mean');
		expect(relativeError(posterior.mean, mean)).toBeLessThan(5e-5);
		expect(relativeError(posterior.logvar, await golden.readFloat32('vae.logvar'))).toBeLessThan(1e-5);
		const shape = { height: 16, width: 16, channels: 4 };
		const scaled = channelsLast(mean, shape).map((v) => v * 0.18215);
		expect(relativeError(await vae.latent(picture), scaled)).toBeLessThan(5e-5);
		const noisy = await vae.latent(picture, new Float32Array(1024).fill(1));
		expect(relativeError(noisy, scaled)).toBeGreaterThan(1e-3);
		const planes = await vae.decodePlanes(scaled, 16, 16);
		expect(relativeError(planes, await golden.readFloat32('vae.decoded'))).toBeLessThan(1e-5);
		const decoded = await vae.decode(scaled, 16, 16);
		expect(Array.from(decoded.data)).toEqual(Array.from(fromPlanes(planes, 128, 128).data));
		await vae.close();
	});

	it('takes any size in steps of 8, and says so otherwise', async () => {
		const vae = openVae(await miniCheckpoint());
		const picture = (width: number, height: number) => ({ width, height, data: new Uint8ClampedArray(4 * width * height).fill(200) });
		expect(await vae.encode(picture(48, 40))).toMatchObject({ width: 6, height: 5, channels: 4 });
		expect(await vae.decode(new Float32Array(3 * 5 * 4), 3, 5)).toMatchObject({ width: 40, height: 24 });
		await expect(vae.encode(picture(60, 64))).rejects.toThrow('multiples of 8');
		await vae.close();
	});
});
