/** Fusion: each rule does what it says, refuses where it must, and never changes results. */
import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../../src/graph/builder';
import { fuse, removeDead, shareCommon } from '../../../src/graph/fuse';
import { interpret } from '../../../src/graph/interpret';
import type { GemmOp, Graph, Value } from '../../../src/graph/ir';
import { readsOf, writesOf } from '../../../src/graph/operands';
import { randomFeeds, relativeError, SCALARS } from './harness';

type Build = (b: GraphBuilder) => Value | Value[];

/** Fuses what is built and checks that the outputs stay the same. */
function fused(build: Build, maxTerms?: number): { graph: Graph; before: Graph; types: string[] } {
	const b = new GraphBuilder({ storage: 'f32' });
	const outputs = [build(b)].flat();
	const before = b.finish(outputs);
	const graph = fuse(before, maxTerms === undefined ? {} : { maxTerms });
	const feeds = randomFeeds(before, 3);
	const expected = interpret(before, feeds, SCALARS);
	const actual = interpret(graph, feeds, SCALARS);
	for (const output of outputs) expect(relativeError(actual.get(output) as Float64Array, expected.get(output) as Float64Array)).toBeLessThan(1e-12);
	return { graph, before, types: graph.ops.map((op) => op.type) };
}

const linear = (b: GraphBuilder, name: string, x: Value, bias = false) =>
	b.linear(x, b.constant(`${name}.w`, [4, 4]), bias ? { bias: b.constant(`${name}.b`, [4]) } : {});
const input = (b: GraphBuilder, name = 'x') => b.input(name, [2, 3, 4]);

test('dead code goes, inputs stay', () => {
	const b = new GraphBuilder({ storage: 'f32' });
	const x = input(b);
	b.silu(linear(b, 'dead', x));
	const y = b.silu(x);
	const graph = removeDead(b.finish([y]));
	expect(graph.ops).toHaveLength(1);
	expect(graph.values.filter((value) => value.kind === 'intermediate')).toEqual([y]);
	expect(graph.values).toContain(x);
});

test('equal operations are done once, also when only their operands turn out equal', () => {
	const { types } = fused((b) => {
		const x = input(b);
		const [one, two] = [linear(b, 'w', b.silu(x)), linear(b, 'w', b.silu(x))];
		return b.concat([one, two, b.scale(one, { factor: 2 })]);
	});
	expect(types).toEqual(['silu', 'gemm', 'scale', 'concat']);
});

test('equal operations that are both outputs stay', () => {
	const b = new GraphBuilder({ storage: 'f32' });
	const x = input(b);
	const graph = shareCommon(b.finish([b.silu(x), b.silu(x)]));
	expect(graph.ops).toHaveLength(2);
});

describe('add of two gemms', () => {
	test('becomes one gemm with both terms', () => {
		const { graph, types } = fused((b) => b.add(linear(b, 'a', input(b), true), linear(b, 'b', b.silu(input(b, 'y')))));
		expect(types).toEqual(['silu', 'gemm']);
		expect((graph.ops[1] as GemmOp).terms).toHaveLength(2);
		expect((graph.ops[1] as GemmOp).bias?.name).toBe('a.b');
	});

	test('two biases cannot be joined: one gemm becomes the residual of the other', () => {
		const { types } = fused((b) => b.add(linear(b, 'a', input(b), true), linear(b, 'b', input(b, 'y'), true)));
		expect(types).toEqual(['gemm', 'gemm']);
	});

	test('different scales cannot be joined; equal ones can', () => {
		const scaled = (b: GraphBuilder, name: string, factor: number) => b.scale(linear(b, name, input(b, name)), { factor, scalar: b.scalar('multiplier') });
		expect(fused((b) => b.add(scaled(b, 'a', 2), scaled(b, 'b', 3))).types).toEqual(['gemm', 'gemm']);
		const { graph } = fused((b) => b.add(scaled(b, 'a', 2), scaled(b, 'b', 2)));
		expect(graph.ops).toHaveLength(1);
		expect((graph.ops[0] as GemmOp).scale).toEqual({ factor: 2, scalar: { name: 'multiplier', index: 0 } });
	});

	test('no more terms than allowed', () => {
		const sum: Build = (b) => ['a', 'b', 'c', 'd', 'e'].map((name) => linear(b, name, input(b, `x.${name}`))).reduce((left, right) => b.add(left, right));
		const termCounts = (maxTerms: number) =>
			fused(sum, maxTerms)
				.graph.ops.map((op) => (op as GemmOp).terms.length)
				.sort((a, b) => b - a);
		expect(termCounts(2)).toEqual([2, 2, 1]);
		expect(termCounts(3)).toEqual([3, 2]);
		expect(termCounts(8)).toEqual([5]);
	});

	test('a gemm with another reader, or kept as output, stays', () => {
		const { types } = fused((b) => {
			const inner = linear(b, 'a', input(b));
			return b.concat([b.add(inner, linear(b, 'b', input(b, 'y'))), inner]);
		});
		expect(types).toEqual(['gemm', 'gemm', 'concat']);
		const kept = fused((b) => {
			const inner = linear(b, 'a', input(b));
			return [b.add(inner, linear(b, 'b', input(b, 'y'))), inner];
		});
		expect(kept.types).toEqual(['gemm', 'gemm']);
	});

	test('a residual that is a gemm joins too', () => {
		const { types } = fused((b) => {
			const x = b.input('x', [2, 3, 3, 4]);
			const skip = b.linear(x, b.constant('skip.w', [5, 4]));
			return b.conv(b.silu(x), b.constant('w', [5, 36]), { residual: skip, bias: b.constant('b', [5]) });
		});
		expect(types).toEqual(['silu', 'gemm']);
	});
});

test('an addend becomes the residual; a second one cannot', () => {
	expect(fused((b) => b.add(b.silu(input(b, 'y')), linear(b, 'a', input(b), true))).types).toEqual(['silu', 'gemm']);
	expect(fused((b) => b.add(b.silu(input(b, 'z')), b.add(linear(b, 'a', input(b)), input(b, 'y')))).types).toEqual(['silu', 'gemm', 'add']);
});

test('a value added to itself is left alone', () => {
	expect(
		fused((b) => {
			const y = linear(b, 'a', input(b));
			return b.add(y, y);
		}).types
	).toEqual(['gemm', 'add']);
});

describe('scales', () => {
	test('join the gemm and each other', () => {
		const { graph } = fused((b) => b.scale(b.scale(linear(b, 'a', input(b)), { factor: 2, scalar: b.scalar('other') }), { factor: 3 }));
		expect(graph.ops).toHaveLength(1);
		expect((graph.ops[0] as GemmOp).scale).toEqual({ factor: 6, scalar: { name: 'other', index: 0 } });
	});
	test('not over a bias, not with two scalars', () => {
		expect(fused((b) => b.scale(linear(b, 'a', input(b), true), { factor: 2 })).types).toEqual(['gemm', 'scale']);
		const two: Build = (b) => b.scale(b.scale(input(b), { factor: 2, scalar: b.scalar('other') }), { factor: 1, scalar: b.scalar('multiplier') });
		expect(fused(two).types).toEqual(['scale', 'scale']);
	});
});

test('upsampling goes into the convolution, also when others read the large picture', () => {
	const { types } = fused((b) => {
		const x = b.input('x', [2, 3, 2, 4]);
		return b.conv(b.upsample2x(b.silu(x)), b.constant('w', [5, 36]));
	});
	expect(types).toEqual(['silu', 'gemm']);
	const shared = fused((b) => {
		const large = b.upsample2x(b.input('x', [2, 3, 2, 4]));
		return b.concat([b.conv(large, b.constant('w', [5, 36])), large]);
	});
	expect(shared.types).toEqual(['upsample2x', 'gemm', 'concat']);
	expect((shared.graph.ops[1] as GemmOp).terms[0]?.aMode).toMatchObject({ kind: 'conv', upsample: true, height: 3, width: 2 });
});

test('the order stays valid: everything is written before it is read', () => {
	const { graph } = fused((b) => {
		const x = input(b);
		const early = linear(b, 'a', x);
		const late = b.silu(linear(b, 'b', b.silu(x)));
		return b.add(early, b.add(late, linear(b, 'c', late)));
	});
	const written = new Set(graph.values.filter((value) => value.kind !== 'intermediate'));
	for (const op of graph.ops) {
		for (const value of readsOf(op)) expect(written).toContain(value);
		for (const value of writesOf(op)) written.add(value);
	}
});

test('what is added to the gradient of a norm goes into it', () => {
	const shape = [1, 2, 3, 8];
	const norms = (b: GraphBuilder) => {
		const x = b.input('x', shape);
		const [gamma, beta] = [b.constant('gamma', [8]), b.constant('beta', [8])];
		b.groupNorm(x, gamma, beta, { groups: 2, eps: 1e-5, silu: true });
		const forward = b.emitter.ops.find((op) => op.type === 'groupNorm');
		if (!forward) throw new Error('the builder made no groupNorm');
		const dx = b.emitter.value('dx', shape, 'f32');
		const dy = b.input('dy', shape);
		b.emitter.push({ type: 'groupNormGrad', dy, x, gamma, beta, stats: forward.stats, groups: 2, silu: true, out: dx });
		return { x, dy, dx };
	};
	expect(fused((b) => b.add(norms(b).dx, b.silu(b.input('other', shape)))).types).toEqual(['groupNorm', 'silu', 'groupNormGrad']);
	expect(fused((b) => b.add(b.input('other', shape), norms(b).dx)).types).toEqual(['groupNorm', 'groupNormGrad']);
	// A kernel binds no value twice, and what others read stays.
	expect(fused((b) => [norms(b)].map(({ dx, dy }) => b.add(dx, dy))).types).toEqual(['groupNorm', 'groupNormGrad', 'add']);
	expect(fused((b) => [norms(b)].flatMap(({ dx }) => [b.add(dx, b.input('other', shape)), b.silu(dx)])).types).toContain('add');
});
