/** Philox noise against published numbers and against the interpreter. */
import { describe, expect, it } from 'vitest';
import { Case, compare, machines } from './compare';

/** `[1, 8, 8, 4]`, in the order [C, H, W] in which the generator counts. */
async function draw(seed: readonly [number, number], offset: number): Promise<number[]> {
	const made = new Case('f32');
	const [result] = await compare({}, made, [made.builder.gaussian(made.words([offset, 0, ...seed]), [1, 8, 8, 4])]);
	return Array.from({ length: 256 }, (_, i) => result?.actual[(i % 64) * 4 + Math.floor(i / 64)] ?? NaN);
}

function expectStart(actual: readonly number[], expected: readonly number[]): void {
	// The published numbers have six decimals.
	expected.forEach((value, i) => expect(Math.abs((actual[i] ?? NaN) - value)).toBeLessThanOrEqual(1e-6));
}

describe('gaussian', () => {
	it('draws the numbers of the "NV" generator: first tensor, second tensor, another seed', async () => {
		expectStart(await draw([0, 0], 0), [-0.924663, -0.425344, -2.643846, 0.145184, -0.120866, -0.579726]);
		expectStart(await draw([0, 0], 1), [0.180826, -0.552263, 0.923813, -0.734971]);
		expectStart(await draw([1234, 0], 0), [-1.616491, 0.568455, -0.510225, -0.911339]);
	});

	it.each(machines)('agrees with float64 on 65536 numbers of a batch ($name)', async ({ options }) => {
		const made = new Case('f32');
		const out = made.builder.gaussian(made.words([7, 0, 0xdeadbeef, 0x12345678]), [4, 64, 64, 4]);
		const [result] = await compare(options, made, [out]);
		let worst = 0;
		result?.expected.forEach((value, i) => (worst = Math.max(worst, Math.abs((result.actual[i] ?? NaN) - value) / Math.max(1, Math.abs(value)))));
		expect(worst).toBeLessThanOrEqual(1e-6);
	});

	it('gives item b the numbers that a batch of one gets at offset + b', async () => {
		const batch = new Case('f32');
		const [all] = await compare({}, batch, [batch.builder.gaussian(batch.words([3, 0, 9, 0]), [3, 4, 4, 4])]);
		const single = new Case('f32');
		const [last] = await compare({}, single, [single.builder.gaussian(single.words([5, 0, 9, 0]), [1, 4, 4, 4])]);
		expect(Array.from(all?.actual.slice(128) ?? [])).toEqual(Array.from(last?.actual ?? []));
	});
});
