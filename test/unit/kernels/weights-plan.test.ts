/** How a file is cut into spans: everything is read once, in order, in pieces that kernels can work on by themselves. */
import { expect, test } from 'vitest';
import { countOf, leastSpan, planSpans, RAW_BYTES, RAW_TYPES, UNIT, type RawTensor } from '../../../src/kernels/weights-plan';

let state = 7;
const below = (limit: number): number => Math.floor(((state = (state * 48271) % 2147483647) / 2147483647) * limit);

/** Tensors one behind the other, some with room between them, listed in another order. */
function tensorsOf(count: number): RawTensor[] {
	let offset = 8 + below(100);
	const tensors = Array.from({ length: count }, (_, i): RawTensor => {
		const type = RAW_TYPES[below(4)] ?? 'F32';
		const swap = below(3) === 0 ? ([1 + below(40), 9] as const) : undefined;
		const shape = swap ? [1 + below(60), swap[0] * swap[1]] : [1 + below(9), 1 + below(700)];
		offset += below(8) === 0 ? below(200_000) : 0;
		const tensor = { name: `t${i}`, shape, type, offset, ...(swap ? { swap } : {}) };
		offset += countOf(shape) * RAW_BYTES[type];
		return tensor;
	});
	return tensors
		.map((tensor) => ({ tensor, key: below(1000) }))
		.sort((a, b) => a.key - b.key)
		.map(({ tensor }) => tensor);
}

test.each([1, 3, 60, 400])('%i tensors: each number once, in the order of the file, in spans of bounded size', (count) => {
	const tensors = tensorsOf(count);
	const most = Math.max(9000, leastSpan(tensors));
	const spans = planSpans(tensors, most, 16);
	const reached = new Map<string, number>();
	let end = 0;
	for (const { offset, bytes, parts } of spans) {
		expect(offset).toBeGreaterThanOrEqual(end);
		end = offset + bytes;
		expect(bytes).toBeLessThanOrEqual(most);
		expect(parts.length).toBeLessThanOrEqual(16);
		for (const { tensor, first, count: numbers, at } of parts) {
			const size = RAW_BYTES[tensor.type];
			expect(first).toBe(reached.get(tensor.name) ?? 0);
			reached.set(tensor.name, first + numbers);
			expect(offset + at).toBe(tensor.offset + first * size);
			expect(at + numbers * size).toBeLessThanOrEqual(bytes);
			expect(first % UNIT).toBe(0);
			if (tensor.swap) expect(first % (tensor.swap[0] * tensor.swap[1])).toBe(0);
		}
	}
	for (const { name, shape } of tensors) expect(reached.get(name), name).toBe(countOf(shape));
	// What lies between is not read when it is much.
	const needed = tensors.reduce((sum, { shape, type }) => sum + countOf(shape) * RAW_BYTES[type], 0);
	expect(spans.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(needed + count * (64 << 10));
});

test('a row that no span can hold is an error, not an endless loop', () => {
	const tensor: RawTensor = { name: 'wide', shape: [2, 9 * 1000], type: 'F32', offset: 0, swap: [1000, 9] };
	expect(() => planSpans([tensor], 1000, 16)).toThrow('wide');
	expect(planSpans([tensor], leastSpan([tensor]), 16)).not.toHaveLength(0);
});
