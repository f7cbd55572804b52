/** Text encoder and VAE against PyTorch, in onnxruntime's WebAssembly. */
import { describe, expect, it } from 'vitest';
import { ClipEncoder } from '../../../src/diffusion/clip';
import type { TextConfig } from '../../../src/diffusion/config';
import { openTextEncoder, sizeVector } from '../../../src/diffusion/text';
import { clipTokenizer } from '../../../src/diffusion/tokenizer';
import { openVae } from '../../../src/diffusion/vae';
import { fromPlanes, toPlanes } from '../../../src/diffusion/vae-network';
import { channelsLast, nvNormal } from '../../../src/diffusion/noise';
import { decodePng } from '../../../src/formats/png';
import { openSafetensors } from '../../../src/formats/safetensors';
import { writeSafetensors, type TensorData } from '../../../src/formats/safetensors-writer';
import { bytesSource } from '../../../src/formats/source';
import { bytesOf, goldenVectors, miniCheckpoint, relativeError } from './golden';

describe('text encoder', () => {
	it('gives the contexts of PyTorch', async () => {
		const [checkpoint, golden] = [await miniCheckpoint(), await goldenVectors()];
		const encoder = openTextEncoder(checkpoint);
		const prompts = ['', golden.metadata['caption'] ?? ''];
		const tokenizer = await clipTokenizer();
		expect(prompts.flatMap((prompt) => tokenizer.encode(prompt))).toEqual(Array.from(await golden.readFloat32('text.ids')));
		const { context, pooled } = await encoder.condition(prompts);
		await encoder.close();
		expect(encoder.width).toBe(64);
		expect(pooled).toHaveLength(0);
		expect(relativeError(context, await golden.readFloat32('text.context'))).toBeLessThan(1e-5);
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

describe('encoder in the OpenCLIP layout', () => {
	it('gives the last but one layer and the pooled vector of transformers', async () => {
		const file = await openSafetensors(bytesSource(bytesOf('test/fixtures/diffusion/open-clip.safetensors')));
		const config: TextConfig = {
			prefix: 'conditioner.embedders.1.model.',
			layout: 'openclip',
			width: 32,
			layers: 3,
			heads: 4,
			intermediate: 64,
			vocabulary: 100,
			length: 77,
			activation: 'gelu',
			padToken: 0
		};
		const encoder = new ClipEncoder(file, config);
		const flat = Array.from(await file.readFloat32('ids'));
		const progress: number[] = [];
		const ids = [flat.slice(0, 77), flat.slice(77)];
		const { context, pooled } = await encoder.run(ids, [4, 1], { skip: 2, finalNorm: false, pooled: true }, (fraction) => progress.push(fraction));
		await encoder.close();
		expect(progress).toEqual([1 / 3, 2 / 3, 1]);
		expect(relativeError(context, await file.readFloat32('penultimate'))).toBeLessThan(1e-5);
		expect(relativeError(pooled, await file.readFloat32('pooled'))).toBeLessThan(1e-5);
	});

	it('joins the pooled vector with the sizes as diffusers does', async () => {
		const file = await openSafetensors(bytesSource(bytesOf('test/fixtures/diffusion/open-clip.safetensors')));
		const pooled = Float32Array.of(1, 2);
		const vector = sizeVector(pooled, { original: [1216, 832], crop: [16, 0], target: [1024, 1000] });
		expect(Array.from(vector.subarray(0, 2))).toEqual([1, 2]);
		expect(relativeError(vector.subarray(2), await file.readFloat32('sizes'))).toBeLessThan(1e-4);
	});
});

describe('SDXL', () => {
	/** A file with two tiny encoders under SDXL's names, all weights drawn from one stream. */
	function twoEncoders(): { tensors: TensorData[]; text: TextConfig[] } {
		const tensors: TensorData[] = [];
		const add = (name: string, ...shape: number[]): void => {
			const size = shape.reduce((a, b) => a * b, 1);
			tensors.push({ name, dtype: 'F32', shape, data: nvNormal(9, tensors.length, size).map((v) => 0.2 * v) });
		};
		const linear = (name: string, out: number, inputs: number): void => {
			add(`${name}.weight`, out, inputs);
			add(`${name}.bias`, out);
		};
		const [first, second] = ['conditioner.embedders.0.transformer.text_model.', 'conditioner.embedders.1.model.'];
		add(`${first}embeddings.token_embedding.weight`, 49408, 8);
		add(`${first}embeddings.position_embedding.weight`, 77, 8);
		for (const i of [0, 1]) {
			const layer = `${first}encoder.layers.${i}`;
			for (const name of ['q', 'k', 'v', 'out']) linear(`${layer}.self_attn.${name}_proj`, 8, 8);
			linear(`${layer}.mlp.fc1`, 16, 8);
			linear(`${layer}.mlp.fc2`, 8, 16);
			for (const n of [1, 2]) for (const w of ['weight', 'bias']) add(`${layer}.layer_norm${n}.${w}`, 8);
		}
		add(`${second}token_embedding.weight`, 49408, 4);
		add(`${second}positional_embedding`, 77, 4);
		add(`${second}text_projection`, 4, 6);
		for (const i of [0, 1]) {
			const layer = `${second}transformer.resblocks.${i}`;
			add(`${layer}.attn.in_proj_weight`, 12, 4);
			add(`${layer}.attn.in_proj_bias`, 12);
			linear(`${layer}.attn.out_proj`, 4, 4);
			linear(`${layer}.mlp.c_fc`, 8, 4);
			linear(`${layer}.mlp.c_proj`, 4, 8);
			for (const n of [1, 2]) for (const w of ['weight', 'bias']) add(`${layer}.ln_${n}.${w}`, 4);
		}
		for (const w of ['weight', 'bias']) add(`${second}ln_final.${w}`, 4);
		const common = { layers: 2, vocabulary: 49408, length: 77 };
		const text: TextConfig[] = [
			{ ...common, prefix: first, layout: 'hf', width: 8, heads: 2, intermediate: 16, activation: 'quick_gelu', padToken: 49407 },
			{ ...common, prefix: second, layout: 'openclip', width: 4, heads: 2, intermediate: 8, activation: 'gelu', padToken: 0 }
		];
		return { tensors, text };
	}

	it('puts both contexts side by side', async () => {
		const { tensors, text } = twoEncoders();
		const file = await openSafetensors(bytesSource(writeSafetensors(tensors)));
		const { config } = await miniCheckpoint();
		const both = openTextEncoder({ file, config: { ...config, text } });
		const alone = openTextEncoder({ file, config: { ...config, text: text.slice(0, 1) } }, { skip: 2, finalNorm: false });
		expect([both.width, alone.width]).toEqual([12, 8]);
		const { context, pooled } = await both.condition(['cat', 'a dog']);
		const single = await alone.encode(['cat', 'a dog']);
		expect([context.length, pooled.length]).toEqual([2 * 77 * 12, 2 * 6]);
		for (const row of [0, 5, 77, 153]) expect(context.subarray(12 * row, 12 * row + 8)).toEqual(single.subarray(8 * row, 8 * row + 8));
		// The second item's pooled vector is that of its own end token.
		const { pooled: other } = await both.condition(['a dog']);
		expect(relativeError(pooled.subarray(6), other)).toBeLessThan(1e-5);
		await both.close();
		await alone.close();
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
