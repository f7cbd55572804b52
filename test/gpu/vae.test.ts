/** The VAE on the GPU: against diffusers' numbers, in strips as at once, and its kernels against the interpreter. */
import { afterAll, describe, expect, it } from 'vitest';
import { channelsLast, nvNormal } from '../../src/diffusion/noise';
import { openGpuVae, vaeBytes, type GpuVae } from '../../src/diffusion/vae-gpu';
import type { GraphLimits } from '../../src/diffusion/vae-graph';
import type { Picture } from '../../src/formats/png';
import type { OpenOptions } from '../../src/gpu/gpu';
import { momentsOf, patchesOf, windowOf, type StripPlane } from '../../src/graph/strips';
import type { Value } from '../../src/graph/ir';
import { Arenas } from '../../src/kernels/arenas';
import { lowerStrips } from '../../src/kernels/strips';
import { relativeError } from '../unit/diffusion/golden';
import { sdxlVectors, tinySdxl } from '../unit/diffusion/tiny-sdxl';
import { Case } from './compare';
import { openTestGpu, prepareGraph } from './harness';
import { interpret } from '../../src/graph/interpret';

const vaes: GpuVae[] = [];
afterAll(() => Promise.all(vaes.map((vae) => vae.close())));

async function openTiny(limits?: GraphLimits, options: OpenOptions = {}): Promise<GpuVae> {
	const vae = openGpuVae(await openTestGpu(options), await tinySdxl(), limits);
	vaes.push(vae);
	return vae;
}

async function fixturePicture(): Promise<Picture> {
	const rgb = await (await sdxlVectors()).readBytes('picture');
	const data = new Uint8ClampedArray(4 * 72 * 64).fill(255);
	for (let p = 0; p < 72 * 64; p++) data.set(rgb.subarray(3 * p, 3 * p + 3), 4 * p);
	return { width: 64, height: 72, data };
}

const latentOf = (seed: number, height: number, width: number): Float32Array =>
	channelsLast(nvNormal(seed, 0, 4 * height * width), { height, width, channels: 4 });

describe.each([
	{ name: 'at once', limits: undefined },
	{ name: 'in narrow strips', limits: { strip: 60000, scores: 60000 } }
])('the VAE of the tiny SDXL model, $name', ({ limits }) => {
	it('encodes and decodes as diffusers does', async () => {
		const [vae, expected] = [await openTiny(limits), await sdxlVectors()];
		const posterior = await vae.encode(await fixturePicture());
		expect(relativeError(posterior.mean, await expected.readFloat32('mean'))).toBeLessThan(1e-5);
		expect(relativeError(posterior.logvar, await expected.readFloat32('logvar'))).toBeLessThan(1e-5);
		const scaled = latentOf(7, 9, 8).map((v) => v * 0.13025);
		const progress: number[] = [];
		const planes = await vae.decodePlanes(scaled, 9, 8, (fraction) => progress.push(fraction));
		expect(relativeError(planes, await expected.readFloat32('decoded'))).toBeLessThan(1e-5);
		expect(progress.every((fraction, i) => fraction >= (progress[i - 1] ?? 0) && fraction < 1)).toBe(true);
		expect(await vae.decodePlanes(scaled, 9, 8)).toEqual(planes);
	});
});
