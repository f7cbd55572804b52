import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { dpmpp2m } from '../../../src/diffusion/dpmpp';
import { channelsFirst, channelsLast, noiseSource, nvNormal } from '../../../src/diffusion/noise';
import { ddim, eulerAncestral, guide } from '../../../src/diffusion/samplers';
import { alphaBar, alphasCumprod, karrasSigmas, minSnrWeight, sigmaAt, stepOfSigma, uniformSigmas } from '../../../src/diffusion/schedule';
import { TorchGenerator } from '../../../src/diffusion/torch-random';
import { openSafetensors } from '../../../src/formats/safetensors';
import { bytesSource } from '../../../src/formats/source';
import { philoxNormal } from '../../../src/graph/interpret/philox';

interface Fixture {
	randn: { seed: number; n: number; head: number[]; tail: number[]; next: number[]; third: number[] }[];
	ddim: Record<string, number[]>;
	ddimWebui: Record<string, { latent: number[]; calls: number }>;
	eulerUniform: Record<string, number[]>;
	eulerKarras: Record<string, number[]>;
	dpmpp2m: Record<string, number[]>;
	uniform20: number[];
	karras20: number[];
}
const root = new URL('../../../', import.meta.url);
const fixture = JSON.parse(readFileSync(new URL('test/fixtures/diffusion/sampling.json', root), 'utf8')) as Fixture;
const shape = { height: 2, width: 2, channels: 4 };

/** The fixture's analytic denoiser. */
const eps = (x: Float32Array, t: number): Float32Array => x.map((v) => 0.6 * Math.sin(1.3 * v + 0.004 * t) + 0.3 * v);

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
	expect(actual.length).toBe(expected.length);
	let worst = 0;
	for (let i = 0; i < expected.length; i++) worst = Math.max(worst, Math.abs((actual[i] ?? NaN) - (expected[i] ?? NaN)) || 0);
	expect(Array.from(actual).every(Number.isFinite)).toBe(true);
	expect(worst).toBeLessThan(tolerance);
}

describe('schedule', () => {
	it('equals the alphas of PyTorch', async () => {
		const file = await openSafetensors(bytesSource(readFileSync(new URL('test/fixtures/mini/reference/vectors.safetensors', root))));
		expectClose(alphasCumprod(), await file.readFloat32('schedule.alphas_cumprod'), 1e-7);
		expect(alphaBar(999)).toBeCloseTo(0.0046600985, 10);
		expect(sigmaAt(0)).toBeCloseTo(0.02916716, 7);
		expect(sigmaAt(999)).toBeCloseTo(14.61464, 4);
	});

	it('weighs losses by min-SNR', () => {
		expect(minSnrWeight(0, 5)).toBeCloseTo(0.004254, 6);
		expect(minSnrWeight(100, 5)).toBeCloseTo(0.591443, 6);
		expect(minSnrWeight(147, 5)).toBe(1);
		expect(minSnrWeight(0, 0)).toBe(1);
	});

	it('spaces sigmas as WebUI does, and inverts them', () => {
		expectClose(uniformSigmas(20), fixture.uniform20, 1e-9);
		expectClose(karrasSigmas(20), fixture.karras20, 1e-9);
		for (const t of [0, 0.25, 17, 500.5, 998.75, 999]) expect(stepOfSigma(sigmaAt(t))).toBeCloseTo(t, 8);
		expect(stepOfSigma(1e-9)).toBe(0);
		expect(stepOfSigma(1e9)).toBe(999);
		expect(() => alphaBar(1000)).toThrow(RangeError);
	});
});

describe('noise', () => {
	it('draws what torch.randn draws on the CPU, for any size, call after call', () => {
		for (const { seed, n, head, tail, next, third } of fixture.randn) {
			const generator = new TorchGenerator(seed);
			const first = generator.normal(n);
			expectClose(first.subarray(0, 20), head, 2e-6);
			expectClose(first.subarray(-20), tail, 2e-6);
			expectClose(generator.normal(3), next, 2e-6);
			expectClose(generator.normal(20), third, 2e-6);
		}
	});

	it('draws the NV vectors', () => {
		expectClose(nvNormal(0, 0, 6), [-0.924663, -0.425344, -2.643846, 0.145184, -0.120866, -0.579726], 2e-6);
		expectClose(nvNormal(0, 1, 4), [0.180826, -0.552263, 0.923813, -0.734971], 2e-6);
		expectClose(nvNormal(1234, 0, 4), [-1.616491, 0.568455, -0.510225, -0.911339], 2e-6);
	});

	it('agrees with the slow Philox of the interpreter, also for seeds beyond 32 bits', () => {
		const seed = 2 ** 40 + 0xdeadbeef;
		const slow = Array.from({ length: 64 }, (_, i) => philoxNormal(3, i, [seed >>> 0, 256]));
		expectClose(nvNormal(seed, 3, 64), slow, 1e-6);
	});

	it('gives every picture of a batch its own stream, channels last', () => {
		const both = noiseSource('nv', [5, 6], shape);
		const alone = noiseSource('nv', [6], shape);
		both.next();
		alone.next();
		expect(Array.from(both.next().subarray(16))).toEqual(Array.from(alone.next()));
		const data = nvNormal(6, 0, 16);
		expect(Array.from(channelsFirst(channelsLast(data, shape), shape))).toEqual(Array.from(data));
		expect(channelsLast(data, shape)[1]).toBe(data[4]);
	});
});

describe('samplers', () => {
	const noise = () => noiseSource('cpu', [3], shape);

	it("runs DDIM in the model's spacing", async () => {
		for (const [steps, expected] of Object.entries(fixture.ddim)) {
			expectClose(await ddim(eps, noise(), { steps: Number(steps), spacing: 'leading' }), expected, 1e-5);
		}
	});

	it("runs DDIM in WebUI's spacing, with as many calls", async () => {
		for (const [steps, expected] of Object.entries(fixture.ddimWebui)) {
			let calls = 0;
			const counted = (x: Float32Array, t: number): Float32Array => (calls++, eps(x, t));
			expectClose(await ddim(counted, noise(), { steps: Number(steps), spacing: 'webui' }), expected.latent, 1e-5);
			expect(calls).toBe(expected.calls);
		}
	});

	it('runs ancestral Euler with both kinds of sigmas', async () => {
		for (const [steps, expected] of Object.entries(fixture.eulerUniform)) {
			expectClose(await eulerAncestral(eps, noise(), { steps: Number(steps) }), expected, 5e-5);
		}
		for (const [steps, expected] of Object.entries(fixture.eulerKarras)) {
			expectClose(await eulerAncestral(eps, noise(), { steps: Number(steps), sigmas: 'karras' }), expected, 5e-5);
		}
	});

	it('runs DPM++ 2M with Karras sigmas, and in one step gives the denoised latent', async () => {
		for (const [steps, expected] of Object.entries(fixture.dpmpp2m)) {
			expectClose(await dpmpp2m(eps, noise(), { steps: Number(steps) }), expected, 5e-5);
		}
		const sigma = sigmaAt(999);
		const start = noise().next();
		const once = eps(
			start.map((n) => (n * sigma) / Math.sqrt(sigma * sigma + 1)),
			999
		);
		expectClose(
			await dpmpp2m(eps, noise(), { steps: 1 }),
			start.map((n, i) => sigma * (n - (once[i] ?? 0))),
			5e-5
		);
	});

	it('starts from a picture at a step', async () => {
		const latent = new Float32Array(16).fill(0.5);
		const times: number[] = [];
		const x0: Float32Array[] = [];
		const oracle = (x: Float32Array, t: number): Float32Array => {
			times.push(t);
			const a = alphaBar(t);
			x0.push(x);
			return x.map((v) => (v - Math.sqrt(a) * 0.5) / Math.sqrt(1 - a));
		};
		const result = await ddim(oracle, noise(), { steps: 30, spacing: 'leading', from: { latent, step: 700 } });
		expect(times[0]).toBe(694);
		expect(times.at(-1)).toBe(1);
		// With the true noise predicted, the picture stays what it was, up to the noise of step 0.
		const rest = Math.sqrt(1 - alphaBar(0));
		expectClose(
			result.map((v, i) => v - rest * (noise().next()[i] ?? 0)),
			new Float32Array(16).fill(0.5 * Math.sqrt(alphaBar(0))),
			1e-5
		);
	});

	it('guides, reports steps and refuses nonsense', async () => {
		expect(Array.from(guide(Float32Array.of(1, 2), Float32Array.of(2, 0), 5))).toEqual([6, -8]);
		const seen: string[] = [];
		await ddim(eps, noise(), { steps: 3, spacing: 'leading', onStep: (done, steps) => void seen.push(`${done}/${steps}`) });
		expect(seen).toEqual(['1/3', '2/3', '3/3']);
		await expect(ddim(eps, noise(), { steps: 0, spacing: 'leading' })).rejects.toThrow(RangeError);
		await expect(ddim(eps, noise(), { steps: 1, spacing: 'webui' })).rejects.toThrow(RangeError);
		await expect(eulerAncestral(eps, noise(), { steps: 1.5 })).rejects.toThrow(RangeError);
		await expect(dpmpp2m(eps, noise(), { steps: 0 })).rejects.toThrow(RangeError);
	});
});
