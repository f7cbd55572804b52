/** int8 weights on the CPU side. */
import { expect, test } from 'vitest';
import { floatsToHalves, halvesToFloats } from '../../../src/formats/half';
import { dequantise, quantise, quantised } from '../../../src/kernels/int8';

const numbers = (count: number, seed: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin((i + 1) * 12.9898 * seed) ** 3);

test('every number is within half a step of its row, the largest is exact', () => {
	const [rows, columns] = [7, 36];
	const source = numbers(rows * columns, 3).map((x, i) => x * 10 ** (Math.floor(i / columns) - 3));
	const { data, error } = quantise(source, rows, columns);
	const back = dequantise(data.buffer, rows, columns);
	let [squares, errors] = [0, 0];
	for (let r = 0; r < rows; r++) {
		const row = source.subarray(r * columns, (r + 1) * columns);
		const largest = Math.max(...row.map(Math.abs));
		row.forEach((x, i) => {
			const off = Math.abs((back[r * columns + i] ?? NaN) - x);
			expect(off).toBeLessThanOrEqual((largest / 254) * 1.00001);
			if (Math.abs(x) === largest) expect(off).toBeLessThan(largest * 1e-6);
			squares += x * x;
			errors += off * off;
		});
	}
	expect(error).toBeCloseTo(Math.sqrt(errors / squares), 6);
});

test('halves are the same as the floats they stand for; zeros cost nothing; infinities stay visible', () => {
	const halves = floatsToHalves(numbers(64, 5));
	expect(quantise(halves, 4, 16)).toEqual(quantise(halvesToFloats(halves), 4, 16));
	const zeros = quantise(new Float32Array(32), 2, 16);
	expect(zeros.error).toBe(0);
	expect([...dequantise(zeros.data.buffer, 2, 16)].every((x) => x === 0)).toBe(true);
	const broken = quantise(Float32Array.of(1, Infinity, 2, 3, 1, 2, 3, 4), 2, 4);
	expect([...dequantise(broken.data.buffer, 2, 4)].slice(0, 4).some((x) => !Number.isFinite(x))).toBe(true);
	expect([...dequantise(broken.data.buffer, 2, 4)].slice(4).every((x) => Number.isFinite(x))).toBe(true);
});

test('only large matrices whose rows are whole quads', () => {
	expect(quantised([512, 512], 'int8')).toBe(true);
	expect(quantised([512, 512], 'f16')).toBe(false);
	expect(quantised([512, 512], undefined)).toBe(false);
	for (const shape of [[1 << 20], [8, 8], [1 << 10, 1 << 10, 4], [1 << 16, 3]]) expect(quantised(shape, 'int8')).toBe(false);
});
