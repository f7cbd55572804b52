/** SuperMerger's grammar read and written, ranks of a resize, and the advice on ratios. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { blockRatio, MergeGrammarError, parseMergePart, parseMergeParts, printMergeParts, type MergePart } from '../../../src/recipe/merge';
import { adviseRatio, effectOf } from '../../../src/recipe/merge-advice';
import { BLOCK_LISTS, BLOCK_PRESETS } from '../../../src/recipe/plot-blocks';
import { BLOCK_IDS } from '../../../src/recipe/recipe';

const effects = (part: MergePart): number[] => BLOCK_IDS.map((id) => blockRatio(part, id));

describe('the grammar', () => {
	test('reads names, ratios, presets and lists of every known length', () => {
		const list = (n: number): string => Array.from({ length: n }, (_, i) => i / 10).join(',');
		for (const length of Object.keys(BLOCK_LISTS).map(Number)) {
			const [a, b, c] = parseMergeParts(`smile:0.6,angry:-0.5:${list(length)}, blink:1:outd`);
			expect([a, b?.name, b?.ratio, c?.name, c?.ratio]).toEqual([{ name: 'smile', ratio: 0.6, blocks: null }, 'angry', -0.5, 'blink', 1]);
			BLOCK_LISTS[length]?.forEach((id, i) => expect(b?.blocks?.[id]).toBeCloseTo(i / 10));
			expect(Object.keys(b?.blocks ?? {})).toHaveLength(length);
			expect(c?.blocks).toEqual(parseMergePart('x:1:OUTD').blocks);
		}
		expect(parseMergePart('C:\\loras\\a.safetensors:0.5')).toEqual({ name: 'C:\\loras\\a.safetensors', ratio: 0.5, blocks: null });
		expect(parseMergePart('/home/me/a.safetensors')).toEqual({ name: '/home/me/a.safetensors', ratio: 1, blocks: null });
		expect(parseMergeParts('<lora:a:0.6:lbw=OUTALL> <lora:b:1:0.5>')).toMatchObject([
			{ name: 'a', ratio: 0.6 },
			{ name: 'b', ratio: 0.5, blocks: null }
		]);
	});

	test('what is written reads back with the same effect on every block', () => {
		const weight = fc.integer({ min: -20, max: 20 }).map((n) => n / 8);
		const blocks = fc.oneof(
			fc.constant(null),
			fc.constantFrom(...BLOCK_PRESETS).map((word) => parseMergePart(`x:1:${word}`).blocks),
			fc
				.constantFrom(...Object.values(BLOCK_LISTS))
				.chain((ids) =>
					fc.array(weight, { minLength: ids.length, maxLength: ids.length }).map((values) => Object.fromEntries(ids.map((id, i) => [id, values[i] ?? 0])))
				)
		);
		const part = fc.record({ name: fc.stringMatching(/^[a-z][a-z_.-]{0,8}$/), ratio: weight, blocks });
		fc.assert(
			fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), (parts) => {
				const back = parseMergeParts(printMergeParts(parts));
				expect(back.map(({ name }) => name)).toEqual(parts.map(({ name }) => name));
				back.forEach((one, i) => effects(one).forEach((x, k) => expect(x).toBeCloseTo(effects(parts[i] ?? one)[k] ?? NaN, 4)));
			}),
			{ numRuns: 200 }
		);
	});

	test.each([
		['', 'merge.noParts'],
		[':0.5', 'merge.noName'],
		['a:much', 'merge.ratio'],
		['a:', 'merge.ratio'],
		['a:1e9', 'merge.ratio'],
		['a:1:NOSUCH', 'merge.blocks'],
		['a:1:1,2,3', 'merge.blocks'],
		[`a:1:${Array(17).fill('x').join(',')}`, 'merge.blocks']
	])('refuses “%s”', (text, code) => {
		const attempt = (): unknown => parseMergeParts(text);
		expect(attempt).toThrow(MergeGrammarError);
		try {
			attempt();
		} catch (error) {
			expect(error).toMatchObject({ code });
		}
	});
});

describe('advice on ratios', () => {
	const similar = (n: number, cosine: number): number[][] =>
		Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => (i === j ? 4 : 4 * cosine)));

	test('less of each, the more there are and the more they overlap; one in n when they are the same; all of it when they share nothing', () => {
		expect(adviseRatio(similar(3, 1 / 3)).each).toBeCloseTo(0.6);
		expect(adviseRatio(similar(5, 1 / 3)).each).toBeLessThan(adviseRatio(similar(3, 1 / 3)).each);
		for (const n of [1, 2, 5]) {
			expect(adviseRatio(similar(n, 1)).each).toBeCloseTo(1 / n);
			expect(adviseRatio(similar(n, 0)).each).toBeCloseTo(1);
		}
		expect(adviseRatio(similar(3, -0.4)).each).toBe(1);
		expect(adviseRatio(similar(4, 0.25)).overlap).toBeCloseTo(0.25);
	});

	test('the advised ratio acts like one of them alone; nothing given is no trouble', () => {
		for (const n of [2, 3, 7]) {
			const products = similar(n, 0.4);
			expect(effectOf(products, Array<number>(n).fill(adviseRatio(products).each))).toBeCloseTo(1);
		}
		expect(adviseRatio([])).toEqual({ each: 1, overlap: 0 });
		expect(adviseRatio([[0]]).each).toBe(1);
		expect(effectOf([], [])).toBe(0);
	});
});
