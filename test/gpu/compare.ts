/**
 * Kernels against the float64 interpreter: a small graph is built once, run on the GPU and interpreted with the same feeds.
 *
 * All feeds are rounded to halves, so that f32 and f16 storage hold the same numbers and only the kernel's own arithmetic and the rounding
 * of its results differ. Errors are measured against the largest expected number of an output.
 */
import { halfBits, halfValue } from '../../src/formats/half';
import type { OpenOptions } from '../../src/gpu/gpu';
import { GraphBuilder } from '../../src/graph/builder';
import { interpret } from '../../src/graph/interpret';
import type { Value } from '../../src/graph/ir';
import { expect } from 'vitest';
import { openTestGpu, randomFloats, relativeError, runGraph, type Feed } from './harness';

/** Kernels for real GPUs and for software adapters, reading halves with shader-f16 and without: all forced on whatever adapter there is. */
export const machines: readonly { readonly name: string; readonly options: OpenOptions }[] = [
	{ name: 'software kernels', options: { software: true } },
	{ name: 'software kernels without shader-f16', options: { software: true, f16: false } },
	{ name: 'GPU kernels', options: { software: false } },
	{ name: 'GPU kernels without shader-f16', options: { software: false, f16: false } }
];

export type Storage = 'f32' | 'f16';

/** Every machine with every storage that makes a difference on it: f32 looks the same with and without shader-f16. */
export const everywhere = machines.flatMap(({ name, options }) =>
	(['f32', 'f16'] as const)
		.filter((storage) => storage === 'f16' || options.f16 !== false)
		.map((storage: Storage) => ({ name: `${name}, ${storage}`, options, storage }))
);

/** Half the spacing of halves, relative: what storing a result costs. */
export const HALF_ULP = 2 ** -11;

/** Builds feeds along with the graph. */
export class Case {
	readonly builder: GraphBuilder;
	readonly feeds = new Map<Value, Feed>();
	private seed = 1;

	constructor(readonly storage: Storage) {
		this.builder = new GraphBuilder({ storage });
	}

	/** An input of random numbers in about ±scale, in the storage under test. */
	value(shape: readonly number[], scale = 1, offset = 0): Value {
		return this.builder.cast(this.single(shape, scale, offset), this.storage);
	}

	/** The same, but always stored as f32. */
	single(shape: readonly number[], scale = 1, offset = 0): Value {
		return this.given(shape, this.random(shape, scale, offset));
	}

	/** An f32 input with these numbers. */
	given(shape: readonly number[], numbers: ArrayLike<number>): Value {
		const value = this.builder.input(`input ${this.seed++}`, shape);
		this.feeds.set(value, Float32Array.from(numbers));
		return value;
	}

	words(numbers: readonly number[]): Value {
		const value = this.builder.input(`words ${this.seed++}`, [numbers.length], 'u32');
		this.feeds.set(value, Uint32Array.from(numbers));
		return value;
	}

	constant(shape: readonly number[], scale = 1, offset = 0): Value {
		const value = this.builder.constant(`constant ${this.seed++}`, shape);
		this.feeds.set(value, this.random(shape, scale, offset));
		return value;
	}

	/** A fresh value for an operation that only `differentiate` emits. */
	fresh(name: string, shape: readonly number[], dtype: Value['dtype'] = this.storage): Value {
		return this.builder.emitter.value(name, shape, dtype);
	}

	private random(shape: readonly number[], scale: number, offset: number): Float32Array {
		const count = shape.reduce((product, size) => product * size, 1);
		return randomFloats(count, this.seed + 100, scale).map((x) => halfValue(halfBits(x + offset)));
	}
}

interface Compared {
	readonly actual: Float32Array;
	readonly expected: Float64Array;
	readonly error: number;
}

/** Runs and interprets; results by output. */
export async function compare(
	options: OpenOptions,
	made: Case,
	outputs: readonly Value[],
	scalars: Readonly<Record<string, number>> = {}
): Promise<Compared[]> {
	const graph = made.builder.finish(outputs);
	const expected = interpret(graph, made.feeds, scalars);
	const actual = await runGraph(await openTestGpu(options), graph, made.feeds, scalars);
	return outputs.map((value) => {
		const a = actual.get(value) as Float32Array;
		const e = expected.get(value) as Float64Array;
		return { actual: a, expected: e, error: relativeError(a, e) };
	});
}

/** `compare`, and every output within `tolerance` (f32 arithmetic) plus, where it is stored in halves, their rounding. */
export async function expectClose(
	options: OpenOptions,
	made: Case,
	outputs: Readonly<Record<string, Value>>,
	tolerance: number,
	scalars: Readonly<Record<string, number>> = {}
): Promise<void> {
	const results = await compare(options, made, Object.values(outputs), scalars);
	Object.entries(outputs).forEach(([name, value], i) => {
		const allowed = tolerance + (value.dtype === 'f16' ? HALF_ULP : 0);
		expect(results[i]?.error, `${name} ${value.dtype} [${value.shape.join(', ')}]`).toBeLessThanOrEqual(allowed);
	});
}
