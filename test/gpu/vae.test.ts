/** The VAE on the GPU: against diffusers' numbers, in strips as at once, in borrowed memory, stopped; and its kernels against the interpreter. */
import { afterAll, describe, expect, it } from 'vitest';
import { channelsLast, nvNormal } from '../../src/diffusion/noise';
import { openGpuVae, vaeBytes, type GpuVae } from '../../src/diffusion/vae-gpu';
import type { GraphLimits } from '../../src/diffusion/vae-graph';
import type { Picture } from '../../src/formats/png';
import type { Gpu } from '../../src/gpu/gpu';
import { interpret } from '../../src/graph/interpret';
import type { Value } from '../../src/graph/ir';
import { momentsOf, patchesOf, windowOf, type StripPlane } from '../../src/graph/strips';
import { conditionerOf, type Conditioner } from '../../src/jobs/conditioner';
import { gpuConditioner } from '../../src/jobs/gpu-conditioner';
import { OpenModel } from '../../src/jobs/model';
import { Arenas } from '../../src/kernels/arenas';
import { lowerStrips } from '../../src/kernels/strips';
import { sdxlVectors, tinySdxl } from '../unit/diffusion/tiny-sdxl';
import { Case } from './compare';
import { openTestGpu, prepareGraph, relativeError } from './harness';

const vaes: GpuVae[] = [];
afterAll(() => Promise.all(vaes.map((vae) => vae.close())));

async function openTiny(limits?: GraphLimits): Promise<GpuVae> {
	const vae = openGpuVae(await openTestGpu(), await tinySdxl(), limits);
	vaes.push(vae);
	return vae;
}

/** Many strips of a few rows each, and attention in slices. */
const NARROW: GraphLimits = { strip: 60000, scores: 2000 };

const latentOf = (seed: number, height: number, width: number): Float32Array =>
	channelsLast(nvNormal(seed, 0, 4 * height * width), { height, width, channels: 4 });

async function fixturePicture(): Promise<Picture> {
	const rgb = await (await sdxlVectors()).readBytes('picture');
	const data = new Uint8ClampedArray(4 * 72 * 64).fill(255);
	for (let p = 0; p < 72 * 64; p++) data.set(rgb.subarray(3 * p, 3 * p + 3), 4 * p);
	return { width: 64, height: 72, data };
}

describe('the VAE of the tiny SDXL model', () => {
	it.each([
		{ name: 'at once', limits: undefined },
		{ name: 'in narrow strips', limits: NARROW },
		{ name: 'with large planes computed when they are read', limits: { ...NARROW, keep: 4 * 72 * 64 * 16 } },
		{ name: 'with nothing kept but what blocks add', limits: { ...NARROW, keep: 0 } }
	])('encodes and decodes as diffusers does, $name', async ({ limits }) => {
		const [vae, expected] = [await openTiny(limits), await sdxlVectors()];
		const posterior = await vae.encode(await fixturePicture());
		expect(relativeError(posterior.mean, await expected.readFloat32('mean'))).toBeLessThan(1e-5);
		expect(relativeError(posterior.logvar, await expected.readFloat32('logvar'))).toBeLessThan(1e-5);
		const planes = await vae.decodePlanes(
			latentOf(7, 9, 8).map((v) => v * 0.13025),
			9,
			8
		);
		expect(relativeError(planes, await expected.readFloat32('decoded'))).toBeLessThan(1e-5);
	});

	it('decodes sizes whose pixels are not whole quads, the same in strips', async () => {
		const [whole, strips] = [await openTiny(), await openTiny(NARROW)];
		const latent = latentOf(8, 3, 5);
		const planes = await whole.decodePlanes(latent, 3, 5);
		expect(planes.length).toBe(3 * 24 * 40);
		expect(relativeError(await strips.decodePlanes(latent, 3, 5), planes)).toBeLessThan(1e-5);
	});

	it('gives the same bits after a stop, and in borrowed memory', async () => {
		const gpu = await openTestGpu();
		const vae = await openTiny(NARROW);
		const latent = latentOf(9, 4, 4);
		const planes = await vae.decodePlanes(latent, 4, 4);
		let calls = 0;
		// Before and after compiling, then before each submit: how many those are depends on the machine.
		const stop = (): void => {
			if (++calls === 3) throw new Error('enough');
		};
		await expect(vae.decodePlanes(latent, 4, 4, stop)).rejects.toThrow('enough');
		expect(await vae.decodePlanes(latent, 4, 4)).toEqual(planes);
		const { arenas } = await vaeBytes(gpu, await tinySdxl(), 'decode', { height: 32, width: 32 });
		const room = await Arenas.create(gpu, 'room', arenas);
		const other = await openTiny();
		const own = await other.decodePlanes(latent, 4, 4);
		other.room = room;
		const made = countedBuffers(gpu);
		expect(await other.decodePlanes(latent, 4, 4)).toEqual(own);
		// What lies in borrowed memory is not allocated again.
		expect(made.end().filter((bytes) => bytes >= Math.min(...arenas))).toEqual([]);
		other.room = undefined;
		room.destroy();
		expect(await other.decodePlanes(latent, 4, 4)).toEqual(own);
	});
});

/** Sizes of the storage buffers made until `end`. */
function countedBuffers({ device }: Gpu): { end(): number[] } {
	const sizes: number[] = [];
	const create = device.createBuffer.bind(device);
	device.createBuffer = (descriptor) => {
		if (descriptor.usage & GPUBufferUsage.STORAGE) sizes.push(descriptor.size);
		return create(descriptor);
	};
	return {
		end() {
			device.createBuffer = create;
			return sizes;
		}
	};
}

describe('a conditioner with the VAE on the GPU', () => {
	async function opened(gpu: Gpu): Promise<{ conditioner: Conditioner; asked: () => number }> {
		const checkpoint = await tinySdxl();
		let asked = 0;
		const conditioner = gpuConditioner(gpu, new OpenModel('m', 'tiny', new Blob(), checkpoint), () => {
			asked++;
			return Promise.resolve(conditionerOf(checkpoint));
		});
		return { conditioner, asked: () => asked };
	}

	it('makes the pictures of the CPU without opening what runs there, and leaves them to it where the GPU has no room', async () => {
		const gpu = await openTestGpu();
		const latent = latentOf(10, 5, 5);
		// Every weight fits, but not the picture's 32 channels.
		const small: Gpu = { ...gpu, limits: { ...limitsOf(gpu), maxBufferSize: 40 * 40 * 32 * 4 - 1 } };
		const [here, there] = [await opened(gpu), await opened(small)];
		const [a, b] = [await here.conditioner.decode(latent, 5, 5), await there.conditioner.decode(latent, 5, 5)];
		expect([here.asked(), there.asked()]).toEqual([0, 1]);
		expect(Math.max(...a.data.map((value, i) => Math.abs(value - (b.data[i] ?? 0))))).toBeLessThanOrEqual(1);
		expect(relativeError(await here.conditioner.encodePicture(a), await there.conditioner.encodePicture(a))).toBeLessThan(1e-5);
		await here.conditioner.close();
		await there.conditioner.close();
	});
});

function limitsOf({ limits }: Gpu): GPUSupportedLimits {
	// Limits are getters of the prototype, which a spread would leave behind.
	const copy: Record<string, unknown> = {};
	for (const name in limits) copy[name] = limits[name as keyof GPUSupportedLimits];
	return copy as unknown as GPUSupportedLimits;
}

it('a run is stopped between two submits, and the next begins afresh', async () => {
	const made = new Case('f32');
	const outputs = [3, 4, 5, 6].map((rows) => patchesOf(made.builder, made.single([1, 2 * rows + 1, 8, 8]), 'down'));
	const graph = made.builder.finish(outputs);
	const expected = interpret(graph, made.feeds);
	// A device of its own as far as what is learned about its speed goes; every dispatch seems to take so long that it is submitted alone.
	const bench = await prepareGraph({ ...(await openTestGpu()) }, graph, made.feeds, {
		lower: (op, target) => lowerStrips(op, target).map((dispatch) => ({ ...dispatch, flops: 1e12 }))
	});
	const seen: number[] = [];
	const stop = (fraction: number): void => {
		seen.push(fraction);
		if (fraction > 0.4) throw new Error('enough');
	};
	await expect(bench.program.run({}, stop)).rejects.toThrow('enough');
	expect(seen.map((fraction) => Math.round(100 * fraction))).toEqual([0, 25, 50]);
	await bench.program.run();
	for (const value of outputs) expect(relativeError(await bench.program.read(value), expected.get(value) ?? [])).toBe(0);
	bench.destroy();
});

describe.each([
	{ name: 'software kernels', options: { software: true } },
	{ name: 'kernels for GPUs', options: { software: false } }
])('$name', ({ options }) => {
	/** Sums of some hundred terms, a square root, an exponential. */
	const TOLERANCE = 64 * 2 ** -24;

	async function expectSame(made: Case, outputs: readonly Value[]): Promise<void> {
		const graph = made.builder.finish(outputs);
		const expected = interpret(graph, made.feeds);
		const bench = await prepareGraph(await openTestGpu(options), graph, made.feeds, { lower: lowerStrips });
		await bench.program.run();
		for (const value of outputs) expect(relativeError(await bench.program.read(value), expected.get(value) ?? []), value.name).toBeLessThan(TOLERANCE);
		bench.destroy();
	}

	it.each([
		{ what: 'two channels a group', channels: 64, groups: 32, offset: 0 },
		{ what: 'five channels a group, straddling quads', channels: 40, groups: 8, offset: 0 },
		{ what: 'a large common offset', channels: 16, groups: 4, offset: 64 }
	])('normalises over strips: $what', async ({ channels, groups, offset }) => {
		const made = new Case('f32');
		// Strips of 5 and 9 rows that count; the second has rows above and below that do not.
		const [a, b] = [made.single([1, 5, 7, channels], 2, offset), made.single([1, 12, 7, channels], 2, offset + 0.5)];
		const strips = [
			{ value: a, from: 0, rows: 5, top: 0 },
			{ value: b, from: 5, rows: 9, top: 2 }
		];
		const plane: StripPlane = { strips, height: 14, width: 7, channels };
		const moments = momentsOf(made.builder, plane, groups, 'norm');
		const norm = { moments, gamma: made.constant([channels], 0.5, 1), beta: made.constant([channels], 0.5), eps: 1e-6, silu: true };
		await expectSame(made, [
			moments,
			windowOf(made.builder, plane, 3, 8, 'across', norm),
			windowOf(made.builder, plane, 12, 17, 'beyond the edge', norm),
			windowOf(made.builder, plane, 4, 7, 'as it is')
		]);
	});

	it('gathers patches, and takes the softmax of long rows', async () => {
		const made = new Case('f32');
		const scores = made.single([3, 604], 20);
		const out = made.fresh('softmax', [3, 604]);
		made.builder.emitter.push({ type: 'softmax', x: scores, valid: 601, out });
		await expectSame(made, [patchesOf(made.builder, made.single([1, 5, 6, 8]), 'down'), out]);
	});
});
