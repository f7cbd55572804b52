/** int8 weights on the CPU side. */
import { expect, test } from 'vitest';
import { floatsToHalves, halvesToFloats } from '../../../src/formats/half';
import { dequantise, quantise, quantised, quantisedPlaces } from '../../../src/kernels/int8';

const numbers = (count: number, seed: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin((i + 1) * 12.9898 * seed) ** 3);

test('every number is within half a step of its group of 32; error is what it says', () => {
	const count = 7 * 36;
	const source = numbers(count, 3).map((x, i) => x * 10 ** (Math.floor(i / 32) - 3));
	const { data, error } = quantise(source);
	const back = dequantise(data.buffer, count);
	expect(back).toHaveLength(count);
	let [squares, errors] = [0, 0];
	for (let start = 0; start < count; start += 32) {
		const group = source.subarray(start, start + 32);
		// The scale has three bits behind the point: less than an eighth above.
		const step = (Math.max(...group.map(Math.abs)) * 1.125) / 1016;
		group.forEach((x, i) => {
			const off = Math.abs((back[start + i] ?? NaN) - x);
			expect(off).toBeLessThanOrEqual(step / 2 + 1e-9);
			squares += x * x;
			errors += off * off;
		});
	}
	expect(error).toBeCloseTo(Math.sqrt(errors / squares), 6);
	expect(data).toHaveLength(quantisedPlaces(count).end);
	expect(data.length / count).toBeLessThan(1.45);
});

test('halves are the same as the floats they stand for; zeros cost nothing; infinities stay visible', () => {
	const halves = floatsToHalves(numbers(64, 5));
	expect(quantise(halves)).toEqual(quantise(halvesToFloats(halves)));
	const zeros = quantise(new Float32Array(32));
	expect(zeros.error).toBe(0);
	expect([...dequantise(zeros.data.buffer, 32)].every((x) => x === 0)).toBe(true);
	const broken = numbers(64, 7);
	broken[3] = Infinity;
	const back = [...dequantise(quantise(broken).data.buffer, 64)];
	expect(back.slice(0, 32).some((x) => !Number.isFinite(x))).toBe(true);
	expect(back.slice(32).every((x) => Number.isFinite(x))).toBe(true);
});

test('normal numbers are off by a fourteenth of a percent', () => {
	let seed = 1;
	const uniform = (): number => (seed = (seed * 48271) % 2147483647) / 2147483647;
	const normal = Float32Array.from({ length: 1 << 14 }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
	expect(quantise(normal).error).toBeGreaterThan(0.0006);
	expect(quantise(normal).error).toBeLessThan(0.0008);
});

test('the scale is the least there is above the largest number, down to the smallest', () => {
	const sizes = [1, 1.0001, 1.125, 2 ** -14, 2 ** -14 * 0.99, 2 ** -17, 1e-7, 61440, 0.4999999, 3.9999];
	const source = Float32Array.from(sizes.flatMap((size) => [-size, ...new Array<number>(31).fill(0)]));
	const back = dequantise(quantise(source).data.buffer, source.length);
	for (const [g, size] of sizes.entries()) {
		const x = Math.fround(size);
		const step = Math.max(2 ** -17, x * 1.125) / 1016;
		expect(Math.abs(-(back[32 * g] ?? NaN) - x), String(size)).toBeLessThanOrEqual(step / 2);
	}
	const beyond = dequantise(quantise(Float32Array.from([61441, 1, 0, 0])).data.buffer, 4);
	expect(Number.isFinite(beyond[1])).toBe(false);
});

test('only large matrices whose rows are whole quads', () => {
	expect(quantised([512, 512], 'int8')).toBe(true);
	expect(quantised([512, 512], 'f16')).toBe(false);
	expect(quantised([512, 512], undefined)).toBe(false);
	for (const shape of [[1 << 20], [8, 8], [1 << 10, 1 << 10, 4], [1 << 16, 3]]) expect(quantised(shape, 'int8')).toBe(false);
});
