/** Several products in one dispatch, of one term each or two, sharing a matrix or not: each result against the interpreter's. */
import { describe, expect, test } from 'vitest';
import { halfBits, halfValue } from '../../../src/formats/half';
import { interpret } from '../../../src/graph/interpret';
import type { AMode, BMode, DType, GemmOp, GemmTerm, Graph, Value, ValueKind } from '../../../src/graph/ir';
import { lowerBatch } from '../../../src/kernels/gemm';
import type { Tile } from '../../../src/kernels/tiles';
import { openTestGpu, prepareGraph, randomFloats, relativeError, type Feed } from '../harness';
import { errorBound } from './gemm-cases';

class Batch {
	readonly values: Value[] = [];
	readonly feeds = new Map<Value, Feed>();
	readonly ops: GemmOp[] = [];

	value(name: string, shape: readonly number[], dtype: DType, kind: ValueKind): Value {
		const value: Value = { id: this.values.length, name: `${name}${this.values.length}`, shape, dtype, kind };
		this.values.push(value);
		if (kind === 'intermediate') return value;
		const count = shape.reduce((product, size) => product * size, 1);
		const data = randomFloats(count, value.id * 7919 + count, 0.5);
		this.feeds.set(value, dtype === 'f16' ? data.map((x) => halfValue(halfBits(x))) : data);
		return value;
	}

	half = (name: string, shape: readonly number[]): Value => this.value(name, shape, 'f16', 'constant');
	factor = (name: string, shape: readonly number[]): Value => this.value(name, shape, 'f32', 'parameter');

	product(
		m: number,
		n: number,
		out: DType,
		terms: readonly (readonly [Value, AMode['kind'] & ('rows' | 'cols'), Value, BMode['kind'] & ('nk' | 'kn'), number])[],
		factor = 1
	): void {
		const made = terms.map(([a, aKind, b, bKind, k]): GemmTerm => ({ a, aMode: { kind: aKind }, b, bMode: { kind: bKind }, k }));
		this.ops.push({ type: 'gemm', m, n, terms: made, scale: { factor }, out: this.value('out', [m, n], out, 'intermediate') });
	}

	get graph(): Graph {
		return { values: this.values, ops: this.ops, scalars: [], outputs: this.ops.map(({ out }) => out) };
	}
}

/** h = s·x·Aᵀ of three modules. */
function downs(): Batch {
	const batch = new Batch();
	const x = batch.half('x', [37, 136]);
	for (let i = 0; i < 3; i++) batch.product(37, 8, 'f16', [[x, 'rows', batch.factor('down', [8, 136]), 'nk', 136]], 0.5);
	return batch;
}

/** Keys and values: x·Wᵀ + h·Bᵀ. */
function pairs(): Batch {
	const batch = new Batch();
	const x = batch.half('x', [37, 72]);
	for (let i = 0; i < 2; i++) {
		batch.product(37, 44, 'f16', [
			[x, 'rows', batch.half('w', [44, 72]), 'nk', 72],
			[batch.half('h', [37, 8]), 'rows', batch.factor('up', [44, 8]), 'nk', 8]
		]);
	}
	return batch;
}

const TILE: Tile = { kind: 'tile', name: 'small', bm: 16, bn: 32, bk: 8, tm: 4, tn: 4, ahead: false, rate: 1, rateAcross: 1 };

describe('each product of a batch', () => {
	test.each([
		['of three, in slices', downs, TILE, 3],
		['of two with two terms', pairs, TILE, 1]
	] as const)('%s', async (_, make, tile, split) => {
		const gpu = await openTestGpu({ software: false });
		const { graph, ops, feeds } = make();
		const expected = interpret(graph, feeds, {});
		const [first, ...rest] = ops;
		if (!first) throw new Error('no products');
		const bench = await prepareGraph(gpu, graph, feeds, { lower: (op, target) => (op === first ? lowerBatch([first, ...rest], target, { tile, split }) : []) });
		await bench.program.run();
		expect(bench.program.summary.dispatches).toBe(split > 1 ? 2 : 1);
		for (const op of ops) {
			expect(relativeError(await bench.program.read(op.out), expected.get(op.out) ?? []), op.out.name).toBeLessThan(errorBound(op));
		}
		bench.destroy();
	});
});
