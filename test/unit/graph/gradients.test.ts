/** Every gradient rule against central finite differences in float64. */
import { describe, expect, test } from 'vitest';
import type { Adapter, GraphBuilder } from '../../../src/graph/builder';
import { GraphBuilder as Builder } from '../../../src/graph/builder';
import { differentiate } from '../../../src/graph/differentiate';
import type { Value } from '../../../src/graph/ir';
import { gradientError, makeCase } from './harness';

const TOLERANCE = 1e-6;

/** An adapter with trainable factors, for a weight `[n, k]`. */
function adapter(b: GraphBuilder, name: string, n: number, k: number, rank: number, scalar = 'multiplier'): Adapter & { factors: Value[] } {
	const down = b.parameter(`${name}.down`, [rank, k]);
	const up = b.parameter(`${name}.up`, [n, rank]);
	return { down, up, scale: { factor: 0.5, scalar: b.scalar(scalar) }, factors: [down, up] };
}

const CASES: Record<string, (b: GraphBuilder) => { out: Value; wrt: Value[] }> = {
	'linear: x and weight': (b) => {
		const x = b.parameter('x', [3, 5, 4]);
		const weight = b.parameter('w', [6, 4]);
		return { out: b.linear(x, weight, { bias: b.constant('bias', [6]) }), wrt: [x, weight] };
	},
	'linear: adapters, row bias, residual': (b) => {
		const x = b.parameter('x', [3, 2, 2, 4]);
		const residual = b.parameter('residual', [3, 2, 2, 6]);
		const rowBias = b.parameter('rowBias', [3, 6]);
		const one = adapter(b, 'one', 6, 4, 2);
		const two = adapter(b, 'two', 6, 4, 3, 'other');
		const out = b.linear(x, b.constant('w', [6, 4]), { bias: b.constant('bias', [6]), rowBias, residual, adapters: [one, two] });
		return { out, wrt: [x, residual, rowBias, ...one.factors, ...two.factors] };
	},
	'linearParts: parts, weight and adapter': (b) => {
		const parts = [b.parameter('x', [3, 5, 4]), b.parameter('y', [3, 5, 3]), b.parameter('z', [3, 5, 1])];
		const weight = b.parameter('w', [6, 8]);
		const one = adapter(b, 'one', 6, 8, 2);
		return { out: b.linearParts(parts, weight, { adapters: [one] }), wrt: [...parts, weight, ...one.factors] };
	},
	multiply: (b) => {
		const [x, y] = [b.parameter('x', [3, 5, 4]), b.parameter('y', [3, 5, 4])];
		return { out: b.add(b.multiply(x, y), b.multiply(b.silu(x), x)), wrt: [x, y] };
	},
	'linearParts: LoHa beside LoRA': (b) => {
		const parts = [b.parameter('x', [3, 5, 4]), b.parameter('y', [3, 5, 4])];
		const [one, two, plain] = [adapter(b, 'one', 6, 8, 2), adapter(b, 'two', 6, 8, 2), adapter(b, 'plain', 6, 8, 3)];
		const out = b.linearParts(parts, b.constant('w', [6, 8]), { adapters: [{ ...one, second: two }, plain] });
		return { out, wrt: [...parts, ...one.factors, ...two.factors, ...plain.factors] };
	},
	'conv: LoHa, stride 2': (b) => {
		const x = b.parameter('x', [3, 4, 6, 4]);
		const [one, two] = [adapter(b, 'one', 6, 36, 2), adapter(b, 'two', 6, 36, 2)];
		return { out: b.conv(x, b.constant('w', [6, 36]), { stride: 2, adapters: [{ ...one, second: two }] }), wrt: [x, ...one.factors, ...two.factors] };
	},
	groupNorm: (b) => {
		const x = b.parameter('x', [3, 3, 2, 8]);
		return { out: b.groupNorm(x, b.constant('g', [8]), b.constant('b', [8]), { groups: 4, eps: 1e-5, silu: false }), wrt: [x] };
	},
	'groupNorm with silu': (b) => {
		const x = b.parameter('x', [3, 3, 2, 8]);
		return { out: b.groupNorm(x, b.constant('g', [8]), b.constant('b', [8]), { groups: 2, eps: 1e-3, silu: true }), wrt: [x] };
	},
	layerNorm: (b) => {
		const x = b.parameter('x', [3, 5, 6]);
		return { out: b.layerNorm(x, b.constant('g', [6]), b.constant('b', [6]), 1e-5), wrt: [x] };
	},
	'attention over tokens': (b) => {
		const [q, k, v] = [b.parameter('q', [3, 5, 6]), b.parameter('k', [3, 7, 6]), b.parameter('v', [3, 7, 6])];
		return { out: b.attention(q, k, v, 2), wrt: [q, k, v] };
	},
	'attention of a picture with itself': (b) => {
		const x = b.parameter('x', [3, 2, 3, 4]);
		return { out: b.attention(x, x, x, 2), wrt: [x] };
	},
	'causal attention': (b) => {
		const [q, k, v] = [b.parameter('q', [3, 5, 6]), b.parameter('k', [3, 5, 6]), b.parameter('v', [3, 5, 6])];
		return { out: b.attention(q, k, v, 2, true), wrt: [q, k, v] };
	},
	gelu: (b) => {
		const x = b.parameter('x', [3, 5, 8]);
		return { out: b.gelu(b.scale(x, { factor: 3 })), wrt: [x] };
	},
	'geglu, silu, scale': (b) => {
		const x = b.parameter('x', [3, 5, 8]);
		return { out: b.scale(b.silu(b.geglu(x)), { factor: 3, scalar: b.scalar('other') }), wrt: [x] };
	},
	'geglu far from zero': (b) => {
		const x = b.parameter('x', [3, 5, 8]);
		return { out: b.geglu(b.scale(x, { factor: 6 })), wrt: [x] };
	},
	'add: several uses of one value': (b) => {
		const [x, y] = [b.parameter('x', [3, 5, 4]), b.parameter('y', [3, 5, 4])];
		return { out: b.add(b.add(x, b.silu(x)), b.add(y, x)), wrt: [x, y] };
	},
	'add: the same gradient for two parameters': (b) => {
		const [x, y] = [b.parameter('x', [3, 5, 4]), b.parameter('y', [3, 5, 4])];
		return { out: b.add(x, y), wrt: [x, y] };
	},
	'concat and slice': (b) => {
		const [x, y] = [b.parameter('x', [3, 5, 4]), b.parameter('y', [3, 5, 3])];
		const all = b.concat([x, y]);
		return { out: b.add(b.slice(all, 0, 3), b.slice(b.silu(b.slice(all, 1, 5)), 2, 3)), wrt: [x, y] };
	},
	'slices that leave gaps and overlap': (b) => {
		const x = b.parameter('x', [3, 5, 9]);
		return { out: b.add(b.add(b.slice(x, 1, 2), b.silu(b.slice(x, 2, 2))), b.slice(x, 6, 2)), wrt: [x] };
	},
	'upsample2x and cast': (b) => {
		const x = b.parameter('x', [3, 2, 3, 4]);
		return { out: b.silu(b.cast(b.upsample2x(x), 'f16')), wrt: [x] };
	},
	'one parameter in two layers': (b) => {
		const weight = b.parameter('w', [4, 4]);
		return { out: b.linear(b.silu(b.linear(b.input('x', [3, 5, 4]), weight)), weight), wrt: [weight] };
	},
	'time embedding into a row bias': (b) => {
		const embedding = b.silu(b.linear(b.sinusoid(b.input('t', [3]), 6), b.constant('time.w', [8, 6])));
		const one = adapter(b, 'time', 4, 8, 2);
		const rowBias = b.linear(embedding, b.constant('proj.w', [4, 8]), { adapters: [one] });
		const x = b.input('x', [3, 3, 3, 4]);
		return { out: b.conv(x, b.constant('conv.w', [4, 36]), { rowBias }), wrt: one.factors };
	}
};

for (const stride of [1, 2] as const) {
	for (const upsample of [false, true]) {
		for (const [height, width] of [
			[4, 3],
			[5, 4],
			[1, 2]
		] as const) {
			CASES[`conv stride ${stride}${upsample ? ' upsampled' : ''} ${height}x${width}, two adapters`] = (b) => {
				const x = b.parameter('x', [3, height, width, 2]);
				const weight = b.parameter('w', [4, 18]);
				const one = adapter(b, 'one', 4, 18, 2);
				const two = adapter(b, 'two', 4, 18, 1, 'other');
				const out = b.conv(x, weight, { stride, upsample, bias: b.constant('bias', [4]), adapters: [one, two] });
				return { out, wrt: [x, weight, ...one.factors, ...two.factors] };
			};
		}
	}
}

describe('gradients equal finite differences', () => {
	test.for(Object.entries(CASES))('%s', ([, build]) => {
		expect(gradientError(makeCase(build))).toBeLessThan(TOLERANCE);
	});

	test.for(['mse', 'l1', 'smoothL1'] as const)('loss %s', (kind) => {
		const build = (b: GraphBuilder) => {
			const x = b.parameter('x', [3, 2, 2, 4]);
			return { out: b.scale(x, { factor: 2 }), wrt: [x] };
		};
		expect(gradientError(makeCase(build, { kind, seed: 5 }))).toBeLessThan(TOLERANCE);
	});
});

describe('what differentiate refuses', () => {
	const build = () => {
		const b = new Builder({ storage: 'f32' });
		const x = b.parameter('x', [2, 3, 4]);
		const other = b.parameter('other', [4]);
		return { b, x, other };
	};
	const options = (b: GraphBuilder, loss: Value, wrt: Value[]) => ({ loss, lossScale: { factor: 1 }, wrt, b });

	test('a parameter that takes no part', () => {
		const { b, x, other } = build();
		const loss = b.loss('mse', b.silu(x), b.input('target', [2, 3, 4]), b.input('weight', [2]));
		expect(() => differentiate(b, options(b, loss, [x, other]))).toThrow(/'other' \[4\] takes no part/);
	});

	test('a trained norm weight, a trained bias', () => {
		const { b, x, other } = build();
		const normed = b.layerNorm(x, other, b.constant('beta', [4]), 1e-5);
		const loss = b.loss('mse', normed, b.input('target', [2, 3, 4]), b.input('weight', [2]));
		expect(() => differentiate(b, options(b, loss, [other]))).toThrow(/'other'.*norm weights are frozen/);
	});

	test('a target that is trained, unless it is stopped', () => {
		const { b, x } = build();
		const target = b.silu(x);
		const loss = b.loss('mse', b.scale(x, { factor: 2 }), target, b.input('weight', [2]));
		expect(() => differentiate(b, options(b, loss, [x]))).toThrow(/target of a loss is held fixed/);
		const { gradients } = differentiate(b, { ...options(b, loss, [x]), stop: [target] });
		expect(gradients.get(x)?.shape).toEqual([2, 3, 4]);
	});

	test('a value that is no loss', () => {
		const { b, x } = build();
		const y = b.silu(x);
		expect(() => differentiate(b, options(b, y, [x]))).toThrow(/not the result of a loss/);
	});
});

test('constants get no gradient operations, and nothing before the first adapter is visited', () => {
	const c = makeCase((b) => {
		const x = b.linear(b.input('x', [2, 3, 4]), b.constant('w0', [4, 4]));
		const one = adapter(b, 'one', 4, 4, 2);
		return { out: b.linear(b.silu(x), b.constant('w1', [4, 4]), { adapters: [one] }), wrt: one.factors };
	});
	const backward = c.backward.graph.ops.slice(c.forward.ops.length).map((op) => op.type);
	// lossGrad; dB and dhs of y's gemm; the scale and dA of hs. No dx, no dW, no silu gradient.
	expect(backward).toEqual(['lossGrad', 'gemm', 'gemm', 'scale', 'gemm']);
});

test('halves: activations and their gradients are f16, parameter gradients, statistics and losses f32', () => {
	const b = new Builder({ storage: 'f16' });
	const one = adapter(b, 'one', 4, 4, 2);
	const hidden = b.linear(b.cast(b.input('x', [2, 3, 4]), 'f16'), b.constant('w', [4, 4]), { adapters: [one] });
	const out = b.layerNorm(hidden, b.constant('g', [4]), b.constant('b', [4]), 1e-5);
	const loss = b.loss('mse', out, b.input('target', [2, 3, 4]), b.input('weight', [2]));
	const { graph, gradients } = differentiate(b, { loss, lossScale: { factor: 1 }, wrt: one.factors });
	expect([...gradients.values()].map((value) => value.dtype)).toEqual(['f32', 'f32']);
	const other = graph.values.filter((value) => value.kind === 'intermediate' && ![...gradients.values()].includes(value));
	expect(other.filter((value) => value.dtype === 'f32').map((value) => value.name)).toEqual(['g.stats', 'loss']);
});
