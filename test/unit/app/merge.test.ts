/** Numbers behind the merge screen's drawings. */
import { describe, expect, test } from 'vitest';
import { keptText, shares, weighted } from '../../../src/app/merge/spectrum';

describe('a merge, drawn', () => {
	test('what each direction adds, from what the first n keep', () => {
		expect(shares([0.5, 0.75, 1])).toEqual([0.5, 0.25, 0.25]);
		// Sums of rounded numbers may step back by a hair; a bar cannot.
		expect(shares([0.9, 0.8999999])).toEqual([0.9, 0]);
		expect(shares([])).toEqual([]);
	});

	test('sizes per block as they enter the merge', () => {
		const blocks = [
			{ block: 'IN01' as const, norm: 2 },
			{ block: 'OUT05' as const, norm: 4 }
		];
		expect([...weighted({ ratio: -0.5, blocks: null }, blocks).values()]).toEqual([1, 2]);
		expect([...weighted({ ratio: 1, blocks: { OUT05: 0.5 } }, blocks).values()]).toEqual([0, 2]);
	});

	test('nearly all is never called all', () => {
		expect(keptText(1)).toBe('100 %');
		expect(keptText(0.99996)).toBe('99.99 %');
		expect(keptText(0.9)).toBe('90.0 %');
		expect(keptText(0)).toBe('0.0 %');
	});
});
