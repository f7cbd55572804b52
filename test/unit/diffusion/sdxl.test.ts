/** A tiny model of SDXL's shape against diffusers and transformers: both text encoders, the vector, the VAE; and the same checkpoint in every number type. */
import { beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint, type Checkpoint } from '../../../src/diffusion/checkpoint';
import { channelsLast, nvNormal } from '../../../src/diffusion/noise';
import { openTextEncoder, sizeVector } from '../../../src/diffusion/text';
import { openVae } from '../../../src/diffusion/vae';
import type { Picture } from '../../../src/formats/png';
import { FormatError } from '../../../src/formats/error';
import type { SafetensorsFile } from '../../../src/formats/safetensors';
import { writeSafetensors, type TensorData } from '../../../src/formats/safetensors-writer';
import { bytesSource } from '../../../src/formats/source';
import { relativeError } from './golden';
import { GIRL, sdxlVectors, SIZES, tinySdxl, tinySdxlBytes, WEIGHTED } from './tiny-sdxl';

let checkpoint: Checkpoint;
let expected: SafetensorsFile;
beforeAll(async () => {
	[checkpoint, expected] = [await tinySdxl(), await sdxlVectors()];
});

describe('a tiny SDXL', () => {
	it('is known by its two encoders', () => {
		expect(checkpoint.config).toMatchObject({ family: 'sdxl', prediction: 'epsilon', resolution: 1024, vae: { scale: 0.13025 } });
		expect(checkpoint.config.unet).toMatchObject({ depths: [0, 1, 2], middleDepth: 2, contextDim: 128, vectorDim: 1600, linearProjection: true });
	});

	it('encodes prompts: both penultimate states side by side, the pooled vector, emphasis and chunks', async () => {
		const encoder = openTextEncoder(checkpoint);
		const { context, pooled } = await encoder.condition(['', GIRL]);
		expect(relativeError(context, await expected.readFloat32('context'))).toBeLessThan(1e-5);
		expect(relativeError(pooled, await expected.readFloat32('pooled'))).toBeLessThan(1e-5);
		const [weighted] = await encoder.weighted([WEIGHTED]);
		expect(weighted?.context).toHaveLength(2 * 77 * 128);
		expect(relativeError(weighted?.context ?? [], await expected.readFloat32('weighted.context'))).toBeLessThan(1e-5);
		expect(relativeError(weighted?.pooled ?? [], await expected.readFloat32('weighted.pooled'))).toBeLessThan(1e-5);
		await encoder.close();
	});

	it('joins the pooled vector with six sizes in pixels', async () => {
		const [vectors, pooled] = [await expected.readFloat32('vector'), await expected.readFloat32('pooled')];
		SIZES.forEach((sizes, i) => {
			const vector = sizeVector(pooled.subarray(64 * i, 64 * (i + 1)), sizes);
			// The angle of 1216 in single precision is off by up to 1216·2⁻²⁴ on either side.
			expect(relativeError(vector, vectors.subarray(1600 * i, 1600 * (i + 1)))).toBeLessThan(1e-4);
		});
	});

	it('encodes and decodes pictures', async () => {
		const vae = openVae(checkpoint);
		const rgb = await expected.readBytes('picture');
		const data = new Uint8ClampedArray(4 * 72 * 64).fill(255);
		for (let p = 0; p < 72 * 64; p++) data.set(rgb.subarray(3 * p, 3 * p + 3), 4 * p);
		const picture: Picture = { width: 64, height: 72, data };
		const posterior = await vae.encode(picture);
		expect(relativeError(posterior.mean, await expected.readFloat32('mean'))).toBeLessThan(1e-5);
		expect(relativeError(posterior.logvar, await expected.readFloat32('logvar'))).toBeLessThan(1e-5);
		const latent = channelsLast(nvNormal(7, 0, 4 * 9 * 8), { height: 9, width: 8, channels: 4 }).map((v) => v * 0.13025);
		expect(relativeError(await vae.decodePlanes(latent, 9, 8), await expected.readFloat32('decoded'))).toBeLessThan(1e-5);
		await vae.close();
	});

	it('gives the same picture in narrow strips as at once', async () => {
		const [whole, strips] = [openVae(checkpoint), openVae(checkpoint, { strip: 1, scores: 1 })];
		const latent = channelsLast(nvNormal(8, 0, 4 * 12 * 20), { height: 12, width: 20, channels: 4 });
		const progress: number[] = [];
		const [one, other] = [await whole.decodePlanes(latent, 12, 20), await strips.decodePlanes(latent, 12, 20, (fraction) => progress.push(fraction))];
		expect(progress.length).toBeGreaterThan(300);
		expect(progress.at(-1)).toBe(1);
		const picture = await whole.decode(latent, 12, 20);
		const [a, b] = [await whole.encode(picture), await strips.encode(picture)];
		await whole.close();
		await strips.close();
		// Both do the same sums; only the order in which a matrix product adds up may differ: √K roundings of 2⁻²⁴ each for K = 9·64 products, over some twenty layers.
		const rounding = 20 * Math.sqrt(9 * 64) * 2 ** -24;
		expect(relativeError(other, one)).toBeLessThan(rounding);
		expect(relativeError(b.mean, a.mean)).toBeLessThan(rounding);
		expect(relativeError(b.logvar, a.logvar)).toBeLessThan(rounding);
		// No seam: the largest difference is nowhere near a step of 8 bits.
		expect(Math.max(...other.map((v, i) => Math.abs(v - (one[i] ?? 0))))).toBeLessThan(1e-4);
	});

	it.each([
		['bf16', 2 ** -8],
		['fp8', 2 ** -4],
		['f32', 2 ** -11]
	])('is read from %s as well', async (type, rounding) => {
		const other = await tinySdxl(type);
		const name = 'model.diffusion_model.middle_block.1.proj_in.weight';
		// Both were rounded from the same numbers, each by at most half a unit in the last place.
		expect(relativeError(await other.file.readFloat32(name), await checkpoint.file.readFloat32(name))).toBeLessThan(rounding);
		const encoder = openTextEncoder(other);
		const { context } = await encoder.condition([GIRL]);
		await encoder.close();
		expect(relativeError(context, (await expected.readFloat32('context')).subarray(77 * 128))).toBeLessThan(type === 'fp8' ? 0.3 : 0.02);
	});
});

describe('a VAE in a file of its own', () => {
	const source = (tensors: TensorData[]) => bytesSource(writeSafetensors(tensors));
	/** The checkpoint's VAE under other names, with another last bias. */
	async function vaeFile(prefix: string, drop = ''): Promise<TensorData[]> {
		const tensors: TensorData[] = [];
		for (const [name, { shape }] of checkpoint.file.tensors) {
			const key = name.replace('first_stage_model.', '');
			if (key === name || (drop !== '' && key.startsWith(drop))) continue;
			const data = await checkpoint.file.readFloat32(name);
			tensors.push({ name: prefix + key, dtype: 'F32', shape, data: key === 'decoder.conv_out.bias' ? data.map((v) => v + 0.25) : data });
		}
		return tensors;
	}

	it.each(['', 'first_stage_model.', 'vae.'])('takes the place of the model’s own (keys begin with “%s”)', async (prefix) => {
		const other = await openCheckpoint(bytesSource(tinySdxlBytes()), source(await vaeFile(prefix)));
		expect(other.config).toMatchObject({ family: 'sdxl', vae: { prefix, scale: 0.13025 } });
		const [a, b] = [openVae(checkpoint), openVae(other)];
		const latent = new Float32Array(4 * 16).fill(0.1);
		const [one, two] = [await a.decodePlanes(latent, 4, 4), await b.decodePlanes(latent, 4, 4)];
		await a.close();
		await b.close();
		expect(Math.max(...two.map((v, i) => Math.abs(v - (one[i] ?? 0) - 0.25)))).toBeLessThan(1e-5);
	});

	it('is refused by what it is', async () => {
		const bytes = tinySdxlBytes();
		const problem = async (tensors: TensorData[]) =>
			openCheckpoint(bytesSource(bytes), source(tensors)).then(
				() => '',
				(error: unknown) => (error instanceof FormatError ? error.code : String(error))
			);
		const one = (name: string): TensorData => ({ name, dtype: 'F32', shape: [1], data: new Float32Array(1) });
		expect(await problem([one('hello')])).toBe('not-vae');
		expect(await problem([one('encoder.conv_in.weight'), one('encoder.down_blocks.0.resnets.0.conv1.weight')])).toBe('is-diffusers');
		expect(await problem(await vaeFile('', 'decoder.conv_in'))).toBe('incomplete-model');
		expect(await problem((await vaeFile('')).map((t) => (t.name === 'decoder.conv_in.weight' ? { ...t, shape: [64, 4, 3, 3].reverse() } : t)))).toBe(
			'unknown-model'
		);
	});
});
