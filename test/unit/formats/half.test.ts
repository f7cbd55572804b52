import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { bfloatsToFloats, float8ToFloats, floatsToHalves, halfBits, halfValue, halvesToFloats } from '../../../src/formats/half';

describe('halves', () => {
	it('are rounded as NumPy rounds, subnormals and overflow included', () => {
		const raw = readFileSync(new URL('../../fixtures/formats/halves.u32', import.meta.url));
		const words = new Uint32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length));
		const n = words.length / 2;
		expect(n).toBeGreaterThan(7900);
		const actual = floatsToHalves(new Float32Array(words.buffer, 0, n));
		expect(Array.from(actual)).toEqual(Array.from(words.subarray(n)));
	});

	it('survive widening and narrowing, all of them', () => {
		const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
		const back = floatsToHalves(halvesToFloats(all));
		for (let h = 0; h < 65536; h++) {
			const isNaN = (h & 0x7c00) === 0x7c00 && (h & 0x3ff) !== 0;
			if (isNaN) expect((back[h] ?? 0) & 0x7fff).toBe(0x7e00);
			else if (back[h] !== h) throw new Error(`half ${h} became ${back[h]}`);
		}
		expect([halfValue(0x3c00), halfValue(0xc000), halfValue(0x7bff), halfValue(1), halfValue(0x7c00)]).toEqual([1, -2, 65504, 2 ** -24, Infinity]);
		expect([halfBits(1), halfBits(65519), halfBits(65520), halfBits(-1e9), halfBits(NaN)]).toEqual([0x3c00, 0x7bff, 0x7c00, 0xfc00, 0x7e00]);
	});
});

describe('other short floats', () => {
	it('are widened exactly', () => {
		expect(Array.from(bfloatsToFloats(Uint16Array.of(0x3f80, 0xc040, 0x7f80)))).toEqual([1, -3, Infinity]);
		expect(Array.from(float8ToFloats(Uint8Array.of(0x38, 0xb8, 0x7e, 0x01, 0x08, 0x7f)))).toEqual([1, -1, 448, 2 ** -9, 2 ** -6, NaN]);
	});
});
