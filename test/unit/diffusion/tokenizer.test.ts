import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BOS, clipTokenizer, EOS } from '../../../src/diffusion/tokenizer';

/** Text and its ids; the padding at the end is left out. */
const rows = JSON.parse(readFileSync(new URL('../../fixtures/tokenizer/clip.json', import.meta.url), 'utf8')) as [string, number[]][];

describe('CLIP tokenizer', () => {
	it(`gives the ids of transformers for ${rows.length} texts`, async () => {
		expect(rows.length).toBeGreaterThan(200);
		const tokenizer = await clipTokenizer();
		const wrong = rows.filter(([text, ids]) => {
			const padded = [...ids, ...Array<number>(77 - ids.length).fill(EOS)];
			return tokenizer.encode(text).some((id, i) => id !== padded[i]);
		});
		expect(wrong.map(([text, ids]) => ({ text, expected: ids, actual: tokenizer.encode(text).slice(0, ids.length + 4) }))).toEqual([]);
	});

	it('gives the ids of the golden vectors', async () => {
		const tokenizer = await clipTokenizer();
		expect(tokenizer.tokens('a photo of an astronaut riding a horse on mars')).toEqual([320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496]);
		expect(tokenizer.encode('')).toEqual([BOS, ...Array<number>(76).fill(EOS)]);
		expect(tokenizer.encode('cat', { padToken: 0 }).slice(0, 5)).toEqual([BOS, 2368, EOS, 0, 0]);
	});

	it('counts tokens beyond one context', async () => {
		const tokenizer = await clipTokenizer();
		expect(tokenizer.tokens('word '.repeat(90))).toHaveLength(90);
		const ids = tokenizer.encode('word '.repeat(90));
		expect(ids).toHaveLength(77);
		expect(ids.at(-1)).toBe(EOS);
		expect(ids.at(-2)).not.toBe(EOS);
	});
});
