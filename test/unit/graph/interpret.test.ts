/** The interpreter against definitions written out naively, and against published numbers. */
import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../../src/graph/builder';
import { interpret } from '../../../src/graph/interpret';
import { philox } from '../../../src/graph/interpret/philox';
import { erf } from '../../../src/graph/interpret/pointwise';
import type { Value } from '../../../src/graph/ir';
import { randomFeeds, relativeError } from './harness';

/** Runs one forward graph on random numbers; gives the result and a reader for what was fed. */
function run(build: (b: GraphBuilder) => Value, scalars: Record<string, number> = {}) {
	const b = new GraphBuilder({ storage: 'f32' });
	const out = build(b);
	const graph = b.finish([out]);
	const feeds = randomFeeds(graph, 7);
	const results = interpret(graph, feeds, scalars);
	const byName = (name: string) => {
		const value = graph.values.find((candidate) => candidate.name === name);
		if (!value) throw new Error(`no ${name}`);
		return results.get(value) as Float64Array;
	};
	return { out, result: results.get(out) as Float64Array, byName, graph };
}

const number = (data: Float64Array, i: number) => data[i] as number;

describe('gemm', () => {
	test('linear with everything: adapters, bias, row bias, residual', () => {
		const { result, byName, out } = run(
			(b) =>
				b.linear(b.input('x', [2, 3, 4]), b.constant('w', [5, 4]), {
					bias: b.constant('bias', [5]),
					rowBias: b.input('rowBias', [2, 5]),
					residual: b.input('residual', [2, 3, 5]),
					adapters: [{ down: b.parameter('down', [2, 4]), up: b.parameter('up', [5, 2]), scale: { factor: 0.5, scalar: b.scalar('s') } }]
				}),
			{ s: 3 }
		);
		expect(out.shape).toEqual([2, 3, 5]);
		const [x, w, down, up] = [byName('x'), byName('w'), byName('down'), byName('up')];
		const expected = Array.from({ length: 30 }, (_, i) => {
			const [row, n] = [Math.floor(i / 5), i % 5];
			let sum = number(byName('bias'), n) + number(byName('rowBias'), Math.floor(row / 3) * 5 + n) + number(byName('residual'), i);
			for (let k = 0; k < 4; k++) {
				let weight = number(w, n * 4 + k);
				for (let r = 0; r < 2; r++) weight += 1.5 * number(up, n * 2 + r) * number(down, r * 4 + k);
				sum += number(x, row * 4 + k) * weight;
			}
			return sum;
		});
		expect(relativeError(result, expected)).toBeLessThan(1e-12);
	});

	test('linearParts equals linear on the concat', () => {
		let whole: Value | undefined;
		const { result, graph, byName } = run((b) => {
			const parts = [b.input('a', [2, 3, 4]), b.input('b', [2, 3, 2]), b.input('c', [2, 3, 3])];
			const weight = b.constant('w', [5, 9]);
			whole = b.linear(b.concat(parts), weight);
			return b.linearParts(parts, weight);
		});
		expect(graph.ops).toHaveLength(3);
		expect(relativeError(result, byName((whole as Value).name))).toBeLessThan(1e-12);
	});

	test.for([
		[1, false],
		[2, false],
		[1, true],
		[2, true]
	] as const)('conv stride %s, upsampled %s', ([stride, upsample]) => {
		const [B, H, W, C, N] = [2, 5, 4, 3, 2];
		const { result, byName, out } = run((b) => b.conv(b.input('x', [B, H, W, C]), b.constant('w', [N, 9 * C]), { stride, upsample }));
		const grow = upsample ? 2 : 1;
		const [ho, wo] = [Math.ceil((H * grow) / stride), Math.ceil((W * grow) / stride)];
		expect(out.shape).toEqual([B, ho, wo, N]);
		const [x, w] = [byName('x'), byName('w')];
		const expected: number[] = [];
		for (let b = 0; b < B; b++) {
			for (let y = 0; y < ho; y++) {
				for (let z = 0; z < wo; z++) {
					for (let n = 0; n < N; n++) {
						let sum = 0;
						for (let ky = 0; ky < 3; ky++) {
							for (let kx = 0; kx < 3; kx++) {
								const [iy, ix] = [y * stride + ky - 1, z * stride + kx - 1];
								if (iy < 0 || ix < 0 || iy >= H * grow || ix >= W * grow) continue;
								for (let c = 0; c < C; c++) {
									const pixel = (b * H + Math.floor(iy / grow)) * W + Math.floor(ix / grow);
									sum += number(x, pixel * C + c) * number(w, ((n * 3 + ky) * 3 + kx) * C + c);
								}
							}
						}
						expected.push(sum);
					}
				}
			}
		}
		expect(relativeError(result, expected)).toBeLessThan(1e-12);
	});

	test('an upsampling conv equals upsample2x then conv', () => {
		let apart: Value | undefined;
		const { result, byName } = run((b) => {
			const [x, w] = [b.input('x', [2, 3, 2, 3]), b.constant('w', [2, 27])];
			apart = b.conv(b.upsample2x(x), w);
			return b.conv(x, w, { upsample: true });
		});
		expect(relativeError(result, byName((apart as Value).name))).toBeLessThan(1e-12);
	});
});

describe('norms', () => {
	test('groupNorm: every group of every item has mean 0 and variance 1 before gamma and beta', () => {
		const { result, byName, graph } = run((b) =>
			b.groupNorm(b.input('x', [2, 3, 2, 6]), b.constant('g.weight', [6]), b.constant('g.bias', [6]), { groups: 3, eps: 1e-5, silu: false })
		);
		const [x, gamma, beta] = [byName('x'), byName('g.weight'), byName('g.bias')];
		for (let b = 0; b < 2; b++) {
			for (let group = 0; group < 3; group++) {
				const places = Array.from({ length: 12 }, (_, i) => (b * 6 + Math.floor(i / 2)) * 6 + group * 2 + (i % 2));
				const mean = places.reduce((sum, i) => sum + number(x, i), 0) / 12;
				const deviation = Math.sqrt(places.reduce((sum, i) => sum + (number(x, i) - mean) ** 2, 0) / 12 + 1e-5);
				for (const i of places) expect(number(result, i)).toBeCloseTo(((number(x, i) - mean) / deviation) * number(gamma, i % 6) + number(beta, i % 6), 10);
				const stats = byName('g.stats');
				expect(number(stats, (b * 3 + group) * 2)).toBeCloseTo(mean, 10);
				expect(number(stats, (b * 3 + group) * 2 + 1)).toBeCloseTo(1 / deviation, 10);
			}
		}
		expect(graph.ops).toHaveLength(1);
	});

	test('layerNorm: the same over the last axis', () => {
		const { result, byName } = run((b) => b.layerNorm(b.input('x', [2, 3, 5]), b.constant('gamma', [5]), b.constant('beta', [5]), 1e-5));
		const x = byName('x');
		for (let row = 0; row < 6; row++) {
			const values = Array.from(x.subarray(row * 5, row * 5 + 5));
			const mean = values.reduce((sum, value) => sum + value) / 5;
			const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 5 + 1e-5);
			values.forEach((value, i) =>
				expect(number(result, row * 5 + i)).toBeCloseTo(((value - mean) / deviation) * number(byName('gamma'), i) + number(byName('beta'), i), 10)
			);
		}
	});
});

test('attention: softmax of the scaled scores, per head', () => {
	const [B, Q, K, C, heads] = [2, 3, 5, 4, 2];
	const { result, byName } = run((b) => b.attention(b.input('q', [B, Q, C]), b.input('k', [B, K, C]), b.input('v', [B, K, C]), heads));
	const [q, k, v] = [byName('q'), byName('k'), byName('v')];
	for (let b = 0; b < B; b++) {
		for (let i = 0; i < Q; i++) {
			for (let c = 0; c < C; c++) {
				const head = Math.floor(c / 2) * 2;
				const weights = Array.from({ length: K }, (_, j) =>
					Math.exp(
						(number(q, (b * Q + i) * C + head) * number(k, (b * K + j) * C + head) +
							number(q, (b * Q + i) * C + head + 1) * number(k, (b * K + j) * C + head + 1)) /
							Math.SQRT2
					)
				);
				const total = weights.reduce((sum, weight) => sum + weight);
				const expected = weights.reduce((sum, weight, j) => sum + (weight / total) * number(v, (b * K + j) * C + c), 0);
				expect(number(result, (b * Q + i) * C + c)).toBeCloseTo(expected, 12);
				expect(number(byName('attention.lse'), (b * heads + head / 2) * Q + i)).toBeCloseTo(Math.log(total), 12);
			}
		}
	}
});

test('causal attention: a row is what attention over the rows up to it alone would give', () => {
	const [B, N, C] = [2, 4, 4];
	const { result, byName } = run((b) => b.attention(b.input('q', [B, N, C]), b.input('k', [B, N, C]), b.input('v', [B, N, C]), 2, true));
	for (let seen = 1; seen <= N; seen++) {
		const builder = new GraphBuilder({ storage: 'f32' });
		const names = ['q', 'k', 'v'] as const;
		const [q, k, v] = names.map((name) => builder.input(name, [B, seen, C])) as [Value, Value, Value];
		const out = builder.attention(q, k, v, 2);
		const cut = (name: string): number[] => [...byName(name)].filter((_, i) => Math.floor(i / C) % N < seen);
		const alone = interpret(builder.finish([out]), new Map(names.map((name) => [name, cut(name)]))).get(out) ?? new Float64Array();
		for (let b = 0; b < B; b++) {
			for (let c = 0; c < C; c++) expect(number(result, (b * N + seen - 1) * C + c)).toBeCloseTo(number(alone, (b * seen + seen - 1) * C + c), 12);
		}
	}
});

test('erf and gelu: published values', () => {
	expect(erf(0)).toBe(0);
	expect(erf(0.5)).toBeCloseTo(0.5204998778130465, 15);
	expect(erf(-1)).toBeCloseTo(-0.8427007929497149, 15);
	expect(erf(2)).toBeCloseTo(0.9953222650189527, 15);
	expect(erf(5)).toBeCloseTo(0.9999999999984626, 14);
	expect(erf(9)).toBe(1);
	const b = new GraphBuilder({ storage: 'f32' });
	const x = b.input('x', [1, 4]);
	const out = b.geglu(x);
	const y = interpret(b.finish([out]), new Map([[x, [2, -3, 1, -0.5]]])).get(out) as Float64Array;
	// gelu(1) = 0.8413447460685429, gelu(-0.5) = -0.15426876936299344
	expect(number(y, 0)).toBeCloseTo(2 * 0.8413447460685429, 14);
	expect(number(y, 1)).toBeCloseTo(3 * 0.15426876936299344, 14);
});

describe('philox', () => {
	test('known answers of the 10-round generator (Random123)', () => {
		expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
		const ones = 0xffffffff;
		expect(philox([ones, ones, ones, ones], [ones, ones])).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
		expect(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
	});

	test.for([
		[0, 0, [-0.924663, -0.425344, -2.643846, 0.145184, -0.120866, -0.579726]],
		[1, 0, [0.180826, -0.552263, 0.923813, -0.734971]],
		[0, 1234, [-1.616491, 0.568455, -0.510225, -0.911339]]
	] as const)('gaussian: tensor %s of seed %s begins as WebUI draws it', ([offset, seed, expected]) => {
		const b = new GraphBuilder({ storage: 'f32' });
		const counter = b.input('counter', [4], 'u32');
		const out = b.gaussian(counter, [1, 1, 8, 1]);
		const result = interpret(b.finish([out]), new Map([[counter, [offset, 0, seed, 0]]])).get(out) as Float64Array;
		expected.forEach((value, i) => expect(number(result, i)).toBeCloseTo(value, 6));
	});

	test('gaussian: elements are counted in [C, H, W] order, items by the offset', () => {
		const b = new GraphBuilder({ storage: 'f32' });
		const counter = b.input('counter', [4], 'u32');
		const wide = b.gaussian(counter, [2, 2, 3, 4]);
		const flat = b.gaussian(counter, [2, 1, 24, 1]);
		const results = interpret(b.finish([wide, flat]), new Map([[counter, [3, 0, 99, 1]]]));
		const [w, f] = [results.get(wide) as Float64Array, results.get(flat) as Float64Array];
		for (let item = 0; item < 2; item++) {
			for (let pixel = 0; pixel < 6; pixel++) {
				for (let c = 0; c < 4; c++) expect(number(w, item * 24 + pixel * 4 + c)).toBe(number(f, item * 24 + c * 6 + pixel));
			}
		}
	});
});

test('sinusoid: cosines then sines', () => {
	const b = new GraphBuilder({ storage: 'f32' });
	const t = b.input('t', [2]);
	const out = b.sinusoid(t, 4);
	const result = interpret(b.finish([out]), new Map([[t, [0, 500]]])).get(out) as Float64Array;
	expect([...result.subarray(0, 4)]).toEqual([1, 1, 0, 0]);
	expect(number(result, 4)).toBeCloseTo(Math.cos(500), 12);
	expect(number(result, 5)).toBeCloseTo(Math.cos(5), 12);
	expect(number(result, 6)).toBeCloseTo(Math.sin(500), 12);
	expect(number(result, 7)).toBeCloseTo(Math.sin(5), 12);
});

test('noised: a latent of batch 1 is repeated; loss: weighted mean per item', () => {
	const { result, byName } = run((b) => b.noised(b.input('x0', [1, 2, 2, 4]), b.input('noise', [3, 2, 2, 4]), b.input('coef', [3, 2])));
	for (let i = 0; i < 48; i++) {
		const item = Math.floor(i / 16);
		expect(number(result, i)).toBeCloseTo(
			number(byName('coef'), item * 2) * number(byName('x0'), i % 16) + number(byName('coef'), item * 2 + 1) * number(byName('noise'), i),
			12
		);
	}
	const weighted = run((b) => b.loss('smoothL1', b.scale(b.input('p', [2, 3, 4]), { factor: 3 }), b.input('target', [2, 3, 4]), b.input('weight', [2])));
	for (let item = 0; item < 2; item++) {
		let sum = 0;
		for (let i = item * 12; i < item * 12 + 12; i++) {
			const d = Math.abs(3 * number(weighted.byName('p'), i) - number(weighted.byName('target'), i));
			sum += d < 1 ? (d * d) / 2 : d - 0.5;
		}
		expect(number(weighted.result, item)).toBeCloseTo((number(weighted.byName('weight'), item) * sum) / 12, 12);
	}
});

test('moves: concat, slice, upsample', () => {
	const b = new GraphBuilder({ storage: 'f32' });
	const [x, y] = [b.input('x', [1, 2, 2]), b.input('y', [1, 2, 1])];
	const joined = b.concat([x, y]);
	const part = b.slice(joined, 1, 2);
	const small = b.input('small', [1, 1, 2, 1]);
	const large = b.upsample2x(small);
	const feeds = new Map<Value, number[]>([
		[x, [1, 2, 3, 4]],
		[y, [5, 6]],
		[small, [7, 8]]
	]);
	const results = interpret(b.finish([joined, part, large]), feeds);
	expect([...(results.get(joined) as Float64Array)]).toEqual([1, 2, 5, 3, 4, 6]);
	expect([...(results.get(part) as Float64Array)]).toEqual([2, 5, 4, 6]);
	expect([...(results.get(large) as Float64Array)]).toEqual([7, 7, 8, 8, 7, 7, 8, 8]);
});

describe('messages', () => {
	const b = () => new GraphBuilder({ storage: 'f32' });
	test('shapes that do not fit name both values', () => {
		const g = b();
		expect(() => g.linear(g.input('x', [2, 3]), g.constant('w', [5, 4]))).toThrow(/'x' \[2, 3\] and 'w' \[5, 4\] do not fit/);
		expect(() => g.conv(g.input('picture', [1, 4, 4, 3]), g.constant('kernel', [8, 26]))).toThrow(/'picture' \[1, 4, 4, 3\] and 'kernel' \[8, 26\]/);
		expect(() => g.add(g.input('a', [2, 3]), g.input('b', [2, 4]))).toThrow(/'a' \[2, 3\] and 'b' \[2, 4\]/);
		expect(() => g.constant('w', [4, 5])).toThrow(/'w' \[5, 4\] is asked for again as \[4, 5\]/);
		expect(() => g.linear(g.input('x2', [2, 4]), g.constant('w', [5, 4]), { bias: g.constant('bias', [4]) })).toThrow(/bias 'bias' \[4\]/);
		const lora = { down: g.parameter('down', [2, 4]), up: g.parameter('up', [5, 3]), scale: { factor: 1 } };
		expect(() => g.linear(g.input('x3', [2, 4]), g.constant('w', [5, 4]), { adapters: [lora] })).toThrow(/'down' \[2, 4\] and 'up' \[5, 3\]/);
	});

	test('what was not fed', () => {
		const g = b();
		const x = g.input('x', [2]);
		const y = g.scale(x, { factor: 1, scalar: g.scalar('strength') });
		const graph = g.finish([y]);
		expect(() => interpret(graph, new Map(), { strength: 1 })).toThrow(/'x' \[2\] is read before/);
		expect(() => interpret(graph, new Map([[x, [1]]]), { strength: 1 })).toThrow(/fed 1 numbers/);
		expect(() => interpret(graph, new Map([['x', [1, 2]]]), {})).toThrow(/scalar 'strength' was not given/);
	});
});
