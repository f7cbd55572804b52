/** Products against matrices kept in int8: the kernels must compute what the interpreter does with the numbers that int8 really holds. */
import { describe, expect, test } from 'vitest';
import type { OpenOptions } from '../../../src/gpu/gpu';
import { GraphBuilder } from '../../../src/graph/builder';
import { interpret } from '../../../src/graph/interpret';
import type { GemmTerm, Value } from '../../../src/graph/ir';
import { FactorStore } from '../../../src/kernels/factors';
import { compile } from '../../../src/kernels/program';
import { WeightStore } from '../../../src/kernels/weights';
import { openTestGpu, randomFloats, relativeError } from '../harness';

/** One graph with every way a frozen matrix takes part in a product; all matrices are large enough for int8. */
function everyUse(storage: 'f32' | 'f16', chosen: readonly string[]) {
	const builder = new GraphBuilder({ storage });
	const input = (name: string, shape: readonly number[]): Value => builder.cast(builder.input(name, shape), storage);
	const wide = builder.constant('wide', [256, 260]);
	const kernel = builder.constant('kernel', [92, 9 * 80]);
	const adapter = { down: builder.parameter('down', [4, 260]), up: builder.parameter('up', [256, 4]), scale: { factor: 0.5 } };
	const backwards = (name: string, m: number, n: number, term: GemmTerm): Value =>
		builder.emitter.gemm({ m, n, terms: [term], out: builder.emitter.value(name, [m, n], storage) });
	const picture = { stride: 2, height: 6, width: 5 } as const;
	const uses: Record<string, () => Value> = {
		linear: () => builder.linear(input('x', [1, 37, 260]), wide, { adapters: [adapter] }),
		parts: () => builder.linearParts([input('x0', [1, 21, 160]), input('x1', [1, 21, 100])], wide),
		'input gradient': () => backwards('dx', 37, 260, { a: input('dy', [37, 256]), aMode: { kind: 'rows' }, b: wide, bMode: { kind: 'kn' }, k: 256 }),
		'input gradient of one part': () =>
			backwards('dx1', 37, 100, {
				a: input('dy1', [37, 256]),
				aMode: { kind: 'rows' },
				b: wide,
				bMode: { kind: 'kn' },
				k: 256,
				bColumn: 160
			}),
		conv: () => builder.conv(input('picture', [1, 6, 5, 80]), kernel, { stride: 2 }),
		'input gradient of a convolution': () =>
			backwards('dp', 30, 80, {
				a: input('dp', [9, 92]),
				aMode: { kind: 'convTransposed', ...picture, channels: 92 },
				b: kernel,
				bMode: { kind: 'convWeightTransposed', channels: 80 },
				k: 9 * 92
			})
	};
	const outputs = Object.fromEntries(chosen.map((use) => [use, uses[use]?.()] as const).filter((made): made is [string, Value] => made[1] !== undefined));
	return { graph: builder.finish(Object.values(outputs)), outputs };
}

const USES = ['linear', 'parts', 'input gradient', 'input gradient of one part', 'conv', 'input gradient of a convolution'] as const;

/** Which uses on which kernels. Those of GPUs have all steps written out, which takes a CPU's compiler half a minute each, and read int8 through the same file as the others: once forward, once back. */
const MACHINES: readonly (readonly [string, OpenOptions, 'f32' | 'f16', readonly (typeof USES)[number][]])[] = [
	['software kernels, f32', { software: true }, 'f32', USES],
	['software kernels without subgroups, halves', { software: true, subgroups: false }, 'f16', USES],
	['GPU kernels, halves', { software: false }, 'f16', ['linear', 'input gradient of one part']]
];

describe('every use of a frozen matrix', () => {
	test.each(MACHINES)('%s', async (_, options, storage, uses) => {
		const gpu = await openTestGpu(options);
		const { graph, outputs } = everyUse(storage, uses);
		expect(Object.keys(outputs)).toEqual(uses);
		const weights = new WeightStore(gpu, storage, 'int8');
		const fed = new Map<string, Float32Array>();
		for (const [i, value] of graph.values.entries()) {
			if (value.kind === 'intermediate') continue;
			fed.set(
				value.name,
				randomFloats(
					value.shape.reduce((a, b) => a * b, 1),
					i + 1,
					0.5
				)
			);
			if (value.kind !== 'constant') continue;
			await weights.add(value.name, value.shape, fed.get(value.name) ?? new Float32Array());
			expect(weights.get(value.name)?.dtype).toBe('i8');
			fed.set(value.name, await weights.read(value.name));
		}
		const factors = new FactorStore(
			gpu,
			[
				{ name: 'down', shape: [4, 260] },
				{ name: 'up', shape: [256, 4] }
			],
			{ trainable: false }
		);
		for (const name of ['down', 'up']) await factors.write(name, fed.get(name) ?? new Float32Array());
		const program = await compile(gpu, graph, { weights, factors: [factors] });
		for (const value of graph.values) if (value.kind === 'input') program.write(value, fed.get(value.name) ?? new Float32Array());
		await program.run();
		const expected = interpret(graph, fed);
		for (const [name, value] of Object.entries(outputs)) {
			// Halves round what goes in and what comes out.
			const bound = storage === 'f16' ? 2 ** -9 : 2e-6;
			expect(relativeError(await program.read(value), expected.get(value) ?? []), name).toBeLessThan(bound);
		}
		program.destroy();
		weights.destroy();
		factors.destroy();
	});
});

test('what int8 costs is told, small weights stay as they are', async () => {
	const gpu = await openTestGpu();
	const weights = new WeightStore(gpu, 'f32', 'int8');
	const [large, small] = [randomFloats(256 * 300, 7), randomFloats(64, 8)];
	await weights.add('large', [256, 300], large);
	await weights.add('small', [8, 8], small);
	expect(await weights.read('small')).toEqual(small);
	const kept = await weights.read('large');
	const squares = (numbers: Float32Array): number => numbers.reduce((sum, x) => sum + x * x, 0);
	const off = Math.sqrt(squares(kept.map((x, i) => x - (large[i] ?? 0))) / squares(large));
	expect(weights.int8Error?.mean).toBeCloseTo(off, 6);
	expect(weights.int8Error?.worst).toEqual({ name: 'large', error: weights.int8Error?.mean });
	expect(off).toBeGreaterThan(0.0003);
	expect(off).toBeLessThan(0.002);
	weights.destroy();
});
