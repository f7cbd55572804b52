/** Pointwise kernels against the interpreter, on every kind of machine and storage. */
import { describe, expect, it } from 'vitest';
import { Case, compare, everywhere, expectClose } from './compare';

/** Sixteen f32 roundings: what a short chain of correctly rounded operations may cost. */
const TIGHT = 16 * 2 ** -24;

describe.each(everywhere)('$name', ({ options, storage }) => {
	it('add, multiply, scale, cast, silu and their gradients', async () => {
		const made = new Case(storage);
		const { builder } = made;
		const x = made.value([2, 6, 6, 20], 4);
		const y = made.value([2, 6, 6, 20], 2);
		const siluGrad = made.fresh('siluGrad', x.shape);
		const outputs = {
			add: builder.add(x, y),
			multiply: builder.multiply(x, y),
			double: builder.add(x, x),
			scale: builder.scale(x, { factor: 0.3, scalar: builder.scalar('multiplier') }),
			constantScale: builder.scale(x, { factor: -2.5 }),
			cast: builder.cast(x, storage === 'f32' ? 'f16' : 'f32'),
			silu: builder.silu(x),
			siluGrad
		};
		builder.emitter.push({ type: 'siluGrad', x, dy: y, out: siluGrad });
		await expectClose(options, made, outputs, TIGHT, { multiplier: 0.7 });
	});

	it('geglu and its gradient', async () => {
		const made = new Case(storage);
		const { builder } = made;
		const x = made.value([2, 9, 72], 4);
		const dy = made.value([2, 9, 36], 2);
		const dx = made.fresh('dx', x.shape);
		const out = builder.geglu(x);
		builder.emitter.push({ type: 'gegluGrad', x, dy, out: dx });
		await expectClose(options, made, { out, dx }, TIGHT);
	});

	it('gelu and its gradient', async () => {
		const made = new Case(storage);
		const { builder } = made;
		const x = made.value([2, 9, 36], 4);
		const dy = made.value([2, 9, 36], 2);
		const dx = made.fresh('dx', x.shape);
		const out = builder.gelu(x);
		builder.emitter.push({ type: 'geluGrad', x, dy, out: dx });
		await expectClose(options, made, { out, dx }, TIGHT);
	});

	it('concat, slice, upsample, pool, row sum', async () => {
		const made = new Case(storage);
		const { builder } = made;
		const a = made.value([2, 4, 6, 12]);
		const b = made.value([2, 4, 6, 4]);
		const c = made.value([2, 4, 6, 8]);
		const pooled = made.fresh('pooled', [2, 2, 3, 12]);
		const summed = made.fresh('summed', [2, 12], 'f32');
		builder.emitter.push({ type: 'sumPool2x2', x: a, out: pooled });
		builder.emitter.push({ type: 'rowSum', x: a, out: summed });
		const joined = builder.concat([a, b, c]);
		const outputs = {
			joined,
			pair: builder.concat([b, a]),
			twice: builder.concat([c, c]),
			slice: builder.slice(joined, 8, 12),
			up: builder.upsample2x(a),
			pooled,
			summed
		};
		await expectClose(options, made, outputs, TIGHT);
	});

	it('row sum of a tall picture with many channels', async () => {
		const made = new Case(storage);
		const x = made.value([2, 36, 36, 72]);
		const out = made.fresh('out', [2, 72]);
		made.builder.emitter.push({ type: 'rowSum', x, out });
		// 1296 terms: their roundings add up to about their square root.
		await expectClose(options, made, { out }, 40 * 2 ** -24);
	});

	it('time embedding, also of fractional steps', async () => {
		const made = new Case(storage);
		const t = made.given([5], [0, 1, 37.25, 500, 999]);
		const out = made.builder.sinusoid(t, 320);
		// The angle itself is an f32: at 999 its last bit is 6e-5, half of it may be lost twice (frequency, product).
		const [result] = await compare(options, made, [out]);
		expect(result?.error).toBeLessThanOrEqual(1.0e-4 + (storage === 'f16' ? 2 ** -11 : 0));
		const first = (result?.actual ?? []).slice(0, 320);
		expect(Array.from(first.slice(0, 160))).toEqual(new Array(160).fill(1));
	});

	it('noised, with one picture for the whole batch and with one each', async () => {
		const made = new Case(storage);
		const { builder } = made;
		const noise = made.value([3, 4, 4, 4]);
		const coef = made.given([3, 2], [0.9, 0.1, 0.5, 0.8, 0.0625, 0.99]);
		const outputs = { shared: builder.noised(made.value([1, 4, 4, 4]), noise, coef), own: builder.noised(made.value([3, 4, 4, 4]), noise, coef) };
		await expectClose(options, made, outputs, TIGHT);
	});
});

describe('exact GELU', () => {
	/** Φ by its series, to float64 precision for |x| ≤ 6. */
	function normalCdf(x: number): number {
		let term = x;
		let sum = x;
		for (let k = 1; k < 200; k++) {
			term *= (-x * x) / (2 * k);
			sum += term / (2 * k + 1);
		}
		return 0.5 + sum / Math.sqrt(2 * Math.PI);
	}

	it('keeps the precision of f32: Φ to 1e-7, value and slope', async () => {
		const gates = Array.from({ length: 2048 }, (_, i) => Math.fround(-6 + (12 * i) / 2047));
		const made = new Case('f32');
		const { builder } = made;
		const x = builder.concat([made.given([512, 4], new Array<number>(2048).fill(1)), made.given([512, 4], gates)]);
		const dy = made.given([512, 4], new Array<number>(2048).fill(1));
		const dx = made.fresh('dx', [512, 8]);
		builder.emitter.push({ type: 'gegluGrad', x, dy, out: dx });
		const [gelu, slopes] = await compare({}, made, [builder.geglu(x), dx]);
		gates.forEach((gate, i) => {
			const cdf = normalCdf(gate);
			// Φ carries half of erf's error (7e-8, and an exp a few ULP off) and one rounding; the product rounds once more.
			expect(Math.abs((gelu?.actual[i] ?? NaN) - gate * cdf)).toBeLessThanOrEqual(Math.abs(gate) * (0.65e-7 + 2 * 2 ** -24));
			const slope = cdf + (gate * Math.exp((-gate * gate) / 2)) / Math.sqrt(2 * Math.PI);
			expect(Math.abs((slopes?.actual[Math.floor(i / 4) * 8 + 4 + (i % 4)] ?? NaN) - slope)).toBeLessThanOrEqual(3e-7);
		});
	});
});
