/** Programs: inputs, scalars, history, gradients in place, copies, the memory plan and the errors people will meet. */
import { describe, expect, test } from 'vitest';
import { GpuError, openGpu } from '../../../src/gpu/gpu';
import { dawn } from '../../../src/gpu/node';
import { pipelinesOf } from '../../../src/gpu/pipelines';
import { shaderText } from '../../../src/gpu/shaders';
import { allocate, readBuffer, upload } from '../../../src/gpu/buffers';
import { GraphBuilder } from '../../../src/graph/builder';
import { FactorStore } from '../../../src/kernels/factors';
import { compile } from '../../../src/kernels/program';
import { slices } from '../../../src/kernels/submit';
import { WeightStore } from '../../../src/kernels/weights';
import { nullGpu, openTestGpu, prepareGraph, randomFloats } from '../harness';

/** toEqual takes minutes on millions of numbers. */
const sameBits = (a: Float32Array, b: Float32Array): boolean => a.length === b.length && a.every((x, i) => Object.is(x, b[i]));

describe('a program', () => {
	test('reads inputs and scalars anew in every run and keeps a history', async () => {
		const gpu = await openTestGpu();
		const b = new GraphBuilder({ storage: 'f32' });
		const x = b.input('x', [2, 4]);
		const y = b.scale(x, { factor: 2, scalar: b.scalar('multiplier') });
		const bench = await prepareGraph(gpu, b.finish([y]), new Map([[x, randomFloats(8, 1)]]), { history: [y] });
		const { program } = bench;
		program.write(x, Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8]));
		await program.run();
		await program.run({ multiplier: 3 });
		expect(Array.from(await program.readHistory(y))).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 6, 12, 18, 24, 30, 36, 42, 48]);
		expect(await program.readHistory(y)).toHaveLength(0);
		program.write(x, new Float32Array(8).fill(-1));
		await program.run();
		expect(Array.from(await program.readHistory(y)), 'a scalar keeps its last value').toEqual(new Array(8).fill(-6));
		expect(Array.from(await program.read(y))).toEqual(new Array(8).fill(-6));
		expect(() => program.write(x, new Float32Array(7))).toThrow('has 8 elements, the data 7');
		expect(() => program.write(y, new Float32Array(8))).toThrow('not an input');
		await expect(program.run({ strength: 1 })).rejects.toThrow('no scalar strength');
		bench.destroy();
	});

	test('allocates what it planned, and reuses memory', async () => {
		const gpu = await openTestGpu();
		const b = new GraphBuilder({ storage: 'f32' });
		const x = b.input('x', [64, 64]);
		let y = x;
		for (let i = 0; i < 20; i++) y = b.scale(y, { factor: 1.01 });
		const bench = await prepareGraph(gpu, b.finish([y]), new Map([[x, randomFloats(4096, 1)]]));
		const { summary } = bench.program;
		expect(summary.allocatedBytes).toBe(summary.plannedBytes);
		expect(summary.arenas.reduce((a, c) => a + c, 0)).toBeLessThanOrEqual(3 * 64 * 64 * 4);
		expect(summary.dispatches).toBe(20);
		await bench.program.run();
		const expected = randomFloats(4096, 1)[7] ?? 0;
		expect((await bench.program.read(y))[7]).toBeCloseTo(expected * 1.01 ** 20, 5);
		bench.destroy();
	});

	test('may read one value twice in a dispatch', async () => {
		const gpu = await openTestGpu();
		const b = new GraphBuilder({ storage: 'f32' });
		const x = b.input('x', [4, 4]);
		const y = b.scale(x, { factor: 3 });
		const z = b.add(y, y);
		const bench = await prepareGraph(gpu, b.finish([z]), new Map([[x, new Float32Array(16).fill(1)]]));
		await bench.program.run();
		expect(Array.from(await bench.program.read(z))).toEqual(new Array(16).fill(6));
		bench.destroy();
	});

	test('only gives back what it keeps', async () => {
		const gpu = await openTestGpu();
		const b = new GraphBuilder({ storage: 'f32' });
		const x = b.input('x', [4, 4]);
		const y = b.scale(x, { factor: 3 });
		const z = b.scale(y, { factor: 3 });
		const bench = await prepareGraph(gpu, b.finish([z]), new Map([[x, new Float32Array(16).fill(1)]]));
		await bench.program.run();
		await expect(bench.program.read(y)).rejects.toThrow('name it as an output');
		bench.destroy();
	});

	test('writes gradients to the places of their parameters, padded ranks included', async () => {
		const gpu = await openTestGpu();
		const b = new GraphBuilder({ storage: 'f32' });
		const up = b.parameter('up', [8, 4]);
		const x = b.input('x', [4, 4]);
		const h = b.linear(x, up);
		const gradient = b.input('fed', [8, 4]);
		const written = b.scale(gradient, { factor: 2 });
		const factors = await new FactorStore(
			gpu,
			[
				{ name: 'pad', shape: [3] },
				{ name: 'up', shape: [8, 2], storedShape: [8, 4] }
			],
			{ trainable: true }
		).ready();
		await factors.write(
			'up',
			Float32Array.from({ length: 16 }, (_, i) => i)
		);
		const weights = new WeightStore(gpu, 'f32');
		const program = await compile(gpu, b.finish([h, written]), { weights, factors: [factors], gradients: new Map([[up, written]]) });
		program.write(x, new Float32Array(16).fill(1));
		program.write(
			gradient,
			Float32Array.from({ length: 32 }, (_, i) => i)
		);
		await program.run();
		expect(Array.from((await factors.readGradients()).get('up') ?? [])).toEqual([0, 2, 8, 10, 16, 18, 24, 26, 32, 34, 40, 42, 48, 50, 56, 58]);
		expect(Array.from((await program.read(h)).subarray(0, 8)), 'x·upᵀ with a padded rank').toEqual([1, 5, 9, 13, 17, 21, 25, 29]);
		program.destroy();
		factors.destroy();
		weights.destroy();
	});

	test('says that the device was lost, also to readers', async () => {
		const gpu = await openGpu(await dawn(['backend=null']));
		const b = new GraphBuilder({ storage: 'f32' });
		const x = b.input('x', [4, 4]);
		const y = b.scale(x, { factor: 3 });
		const bench = await prepareGraph(gpu, b.finish([y]), new Map([[x, new Float32Array(16)]]));
		await bench.program.run();
		gpu.device.destroy();
		await gpu.lost;
		await expect(bench.program.run()).rejects.toMatchObject({ code: 'lost' });
		await expect(bench.program.read(y)).rejects.toMatchObject({ code: 'lost' });
		await expect(bench.program.idle()).rejects.toMatchObject({ code: 'lost' });
	});

	test('names what a graph lacks', async () => {
		const gpu = await openTestGpu();
		const b = new GraphBuilder({ storage: 'f32' });
		const x = b.input('x', [4, 4]);
		const y = b.linear(x, b.constant('layer.weight', [8, 4]));
		const weights = new WeightStore(gpu, 'f32');
		const options = { weights, factors: [] };
		await expect(compile(gpu, b.finish([y]), options)).rejects.toThrow('constant layer.weight is missing');
		await weights.add('layer.weight', [4, 4], new Float32Array(16));
		await expect(compile(gpu, b.finish([y]), options)).rejects.toThrow('is [4, 4] instead of [8, 4]');
		weights.destroy();
	});
});

describe('weights', () => {
	test('come back as they went in, from halves or floats, small or large', async () => {
		const gpu = await openTestGpu();
		const halves = new WeightStore(gpu, 'f16');
		await halves.add('odd', [3], Uint16Array.from([0x3c00, 0xc000, 0x3800]));
		const large = randomFloats(9 << 20, 3).map((x) => Math.round(x * 64) / 64);
		await halves.add('large', [9 << 20], large);
		await halves.add('second', [9 << 20], large);
		expect(halves.bytes).toBe(64 << 20);
		expect(Array.from(await halves.read('odd'))).toEqual([1, -2, 0.5]);
		expect(sameBits(await halves.read('second'), large)).toBe(true);
		await expect(halves.add('odd', [3], new Float32Array(3))).rejects.toThrow('twice');
		await expect(halves.add('short', [4], new Float32Array(3))).rejects.toThrow('the data 3');
		halves.destroy();
	});
});

describe('the device', () => {
	test('says when memory cannot be had', async () => {
		const gpu = await openTestGpu();
		const error = await allocate(gpu, 'a galaxy', gpu.limits.maxBufferSize * 2).catch((cause: unknown) => cause);
		expect(error).toBeInstanceOf(GpuError);
		expect(error).toMatchObject({ code: 'memory' });
		expect(String(error)).toContain('a galaxy');
	});

	test('uploads and reads back across slice borders', async () => {
		const gpu = await openTestGpu();
		const data = randomFloats((17 << 20) / 4, 9);
		const buffer = await allocate(gpu, 'test', data.byteLength);
		upload(gpu, buffer, 0, data);
		expect(sameBits(new Float32Array(await readBuffer(gpu, buffer, 0, data.byteLength)), data)).toBe(true);
		buffer.destroy();
	});

	test('knows its adapter', async () => {
		const gpu = await nullGpu({ software: true, f16: false, subgroups: false });
		expect(gpu.adapter.software).toBe(true);
		expect([gpu.f16, gpu.subgroups, gpu.subgroupSize]).toEqual([false, false, 0]);
		const real = await nullGpu({ software: false });
		expect(real.f16 && real.subgroups).toBe(true);
	});
});

describe('shaders', () => {
	test('link to one text per set of conditions, with the access the program wants', async () => {
		const request = { shader: 'gradient_check', conditions: {}, constants: { WORKGROUP: 64 }, access: ['read_write', 'read_write'] as const };
		const text = await shaderText(request);
		expect(text).toContain('var<storage, read_write> gradients');
		expect(await shaderText({ ...request, access: ['read_write', 'read'] })).toContain('var<storage, read> gradients');
		expect(await shaderText({ ...request })).toBe(text);
	});

	test('an error names the shader and shows the line', async () => {
		const gpu = await nullGpu();
		const wrong = { shader: 'gradient_check', conditions: {}, constants: { WORKGROUP: -1 }, access: ['read_write', 'read'] as const };
		await expect(pipelinesOf(gpu).get(wrong)).rejects.toThrow(/gradient_check\[.*workgroup_size/s);
		await expect(shaderText({ ...wrong, shader: 'nothing' })).rejects.toThrow('no shader shaders/nothing.wesl');
	});

	test('one text is compiled once, also when asked for twice at a time', async () => {
		const gpu = await nullGpu();
		const request = { shader: 'gradient_check', conditions: {}, constants: { WORKGROUP: 32 }, access: ['read_write', 'read'] as const };
		const [a, b] = await Promise.all([pipelinesOf(gpu).get(request), pipelinesOf(gpu).get(request)]);
		expect(a).toBe(b);
	});
});

describe('submits', () => {
	test('are cut so that none exceeds the limit unless one step does', () => {
		expect(slices([], 10)).toEqual([]);
		expect(slices([4, 4, 4, 20, 1, 1], 10)).toEqual([2, 3, 4, 6]);
		expect(slices([50], 10)).toEqual([1]);
	});
});
