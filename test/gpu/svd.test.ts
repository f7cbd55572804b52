/** The batched SVD on the GPU against float64 on the CPU: mixed sizes in one batch, dependent and zero columns, narrow stacks, other coefficients without a new factorisation. */
import { describe, expect, test } from 'vitest';
import { floatsToHalves, halvesToFloats } from '../../src/formats/half';
import { SvdBatch, type SvdPart, type SvdShape } from '../../src/kernels/svd';
import { gram, product, symmetricEigen, transposed } from '../../src/lora/linear';
import { MergeSession } from '../../src/lora/merge';
import type { MergeSettings } from '../../src/recipe/merge';
import { changeOf, minus, norm, openModules, openTensors, tensorsOf, type TestModule } from '../unit/lora/merge-harness';
import { openTestGpu, randomFloats } from './harness';

const SHAPES: SvdShape[] = [
	{ rows: 64, columns: 300, rank: 12 },
	{ rows: 7, columns: 50, rank: 12 },
	{ rows: 40, columns: 6, rank: 9 },
	{ rows: 130, columns: 64, rank: 33 },
	{ rows: 20, columns: 20, rank: 1 }
];

/** U and D, column by column; numbers that halves hold. */
const panels = SHAPES.map(({ rows, columns, rank }, i) => {
	const fade = (data: Float32Array, length: number): Float32Array => data.map((x, at) => x * 0.7 ** Math.floor(at / length));
	const [ups, downs] = [fade(randomFloats(rows * rank, 3 * i + 1), rows), fade(randomFloats(columns * rank, 3 * i + 2), columns)];
	// The same direction twice, and one that is not there.
	if (rank > 8) {
		ups.copyWithin(2 * rows, rows, 2 * rows);
		downs.copyWithin(3 * columns, columns, 2 * columns);
		downs.fill(0, 5 * columns, 6 * columns);
	}
	return { ups: halvesToFloats(floatsToHalves(ups)), downs: halvesToFloats(floatsToHalves(downs)) };
});

/** Each stack in two parts of unequal rank, as files store them. */
function partsOf(i: number, halves: boolean): SvdPart[] {
	const stored = (x: Float32Array): Float32Array | Uint16Array => (halves ? floatsToHalves(x) : x);
	const { rows = 0, columns = 0, rank = 0 } = SHAPES[i] ?? {};
	const { ups = new Float32Array(0), downs = new Float32Array(0) } = panels[i] ?? {};
	const middle = Math.ceil(rank / 3);
	return [[0, middle] as const, [middle, rank] as const]
		.filter(([from, to]) => to > from)
		.map(([from, to]) => ({
			rank: to - from,
			down: stored(downs.slice(from * columns, to * columns)),
			up: stored(Float32Array.from(transposed(ups.slice(from * rows, to * rows), rows)))
		}));
}

/** U·C·Dᵀ in float64, `[rows, columns]`. */
function exact(i: number, c: Float64Array): Float64Array {
	const { rows = 0, rank = 0 } = SHAPES[i] ?? {};
	const { ups = new Float32Array(0), downs = new Float32Array(0) } = panels[i] ?? {};
	const up = Float64Array.from(ups, (x, at) => x * (c[Math.floor(at / rows)] ?? 0));
	return product(transposed(up, rows), Float64Array.from(downs), rank);
}

const coefficients = (seed: number) => (i: number) => Float64Array.from(randomFloats(SHAPES[i]?.rank ?? 0, 100 * seed + i));

describe('batched SVD', () => {
	test.each([false, true])('is the optimum to 1e-5 (factors in halves: %s)', async (halves) => {
		const gpu = await openTestGpu();
		const batch = await SvdBatch.create(gpu, SHAPES, (i) => Promise.resolve(partsOf(i, halves)), halves);
		try {
			for (const seed of [1, 2]) {
				const found = await batch.solve(coefficients(seed));
				const orders = found.map(({ sigma }) =>
					Array.from(sigma.keys())
						.sort((a, b) => (sigma[b] ?? 0) - (sigma[a] ?? 0))
						.slice(0, 4)
				);
				const factors = await batch.project((i) => orders[i] ?? []);
				SHAPES.forEach(({ rows, columns }, i) => {
					const sum = exact(i, coefficients(seed)(i));
					const matrix = Float32Array.from(sum);
					const { values } = symmetricEigen(gram(matrix, rows), rows);
					const sigma = values.map((x) => Math.sqrt(Math.max(0, x)));
					const top = sigma[0] ?? 0;
					const kept = orders[i] ?? [];
					kept.forEach((column, k) => expect(Math.abs((found[i]?.sigma[column] ?? NaN) - (sigma[k] ?? NaN))).toBeLessThan(1e-5 * top));
					const { up = new Float32Array(0), down = new Float32Array(0) } = factors[i] ?? {};
					let error = 0;
					for (let a = 0; a < rows; a++)
						for (let b = 0; b < columns; b++) {
							let value = sum[a * columns + b] ?? 0;
							for (let r = 0; r < kept.length; r++) value -= (up[a * kept.length + r] ?? 0) * (down[r * columns + b] ?? 0);
							error += value * value;
						}
					const best = sigma.slice(kept.length).reduce((all, s) => all + s * s, 0);
					const whole = sigma.reduce((all, s) => all + s * s, 0);
					expect(Math.sqrt(error)).toBeLessThan(Math.sqrt(best) + 1e-5 * Math.sqrt(whole));
					// All of σ is in up.
					const length = Math.hypot(...down.subarray(0, columns));
					if (top > 0) expect(length).toBeCloseTo(1, 4);
				});
			}
		} finally {
			batch.destroy();
		}
	});
});

describe('a merge on the GPU', () => {
	test('is the one of the CPU, also where LoRAs cancel each other, for other ratios, and for files in halves beside others', async () => {
		const gpu = await openTestGpu();
		const module = (block: number, rank: number, seed: number, nudge = 0): TestModule => ({
			name: `lora_unet_down_blocks_${block}_attentions_0_transformer_blocks_0_attn2_to_k`,
			rows: 48,
			inputs: [64],
			rank,
			alpha: rank / 2,
			down: randomFloats(rank * 64, seed).map((x, i) => x + nudge * Math.sin(i)),
			up: randomFloats(rank * 48, seed + 1).map((x, i) => x + nudge * Math.cos(i))
		});
		const halved = tensorsOf([module(0, 4, 1), module(1, 6, 3), module(3, 2, 13)]).map((tensor) => ({
			...tensor,
			dtype: 'F16' as const,
			data: floatsToHalves(Float32Array.from(tensor.data as Float32Array))
		}));
		const a = await openTensors('a', halved);
		const b = await openModules('b', [module(0, 4, 1, 1e-4), module(1, 3, 9), module(2, 5, 11)]);
		const [fast, exact] = [new MergeSession([a, b]), new MergeSession([a, b])];
		try {
			for (const ratios of [
				[1, -1],
				[0.3, 0.8]
			]) {
				const settings: MergeSettings = {
					name: 'm',
					method: 'svd',
					dimension: { kind: 'energy', keep: 0.9 },
					convDimension: null,
					precision: 'f32',
					parts: ratios.map((ratio, i) => ({ name: String(i), ratio, blocks: null }))
				};
				const [ours, theirs] = [await fast.merge(settings, { gpu, force: true }), await exact.merge(settings)];
				expect([ours.report.device, theirs.report.device]).toEqual(['gpu', 'cpu']);
				expect(ours.report.ranks).toEqual(theirs.report.ranks);
				ours.modules.forEach((one, i) => {
					const other = theirs.modules[i];
					if (!other) throw new Error('a module is missing');
					const wanted = changeOf(other);
					expect(norm(minus(wanted, changeOf(one)))).toBeLessThan(1e-4 * norm(wanted));
				});
			}
		} finally {
			fast.release();
		}
	});
});
