import { beforeAll, describe, expect, it } from 'vitest';
import { parseEmphasis, promptChunks } from '../../../src/diffusion/prompt';
import { openTextEncoder } from '../../../src/diffusion/text';
import { clipTokenizer, type ClipTokenizer } from '../../../src/diffusion/tokenizer';
import { miniCheckpoint, relativeError } from './golden';

describe('emphasis', () => {
	const cases: [string, [string, number][]][] = [
		['', []],
		['plain words', [['plain words', 1]]],
		[
			'a (red) hat',
			[
				['a ', 1],
				['red', 1.1],
				[' hat', 1]
			]
		],
		[
			'((deep)) [less]',
			[
				['deep', 1.21],
				[' ', 1],
				['less', 1 / 1.1]
			]
		],
		[
			'(smile:1.4), (half : .5)',
			[
				['smile', 1.4],
				[', ', 1],
				['half ', 0.5]
			]
		],
		['((nested:1.5):2)', [['nested', 3]]],
		['(open', [['open', 1.1]]],
		['(side)(by)', [['sideby', 1.1]]],
		['\\(round\\) \\[square\\] back\\slash', [['(round) [square] back\\slash', 1]]],
		['no bracket:1.3)', [['no bracket:1.3)', 1]]],
		['12:30 closed]', [['12:30 closed]', 1]]],
		['Bold BREAKFAST', [['Bold BREAKFAST', 1]]],
		['（全角）は そのまま', [['（全角）は そのまま', 1]]]
	];
	it.each(cases)('%s', (prompt, expected) => {
		const parsed = parseEmphasis(prompt);
		expect(parsed.map((fragment) => fragment?.text)).toEqual(expected.map(([text]) => text));
		parsed.forEach((fragment, i) => expect(fragment?.weight).toBeCloseTo(expected[i]?.[1] ?? NaN, 12));
	});

	it('splits at BREAK, also inside brackets', () => {
		expect(parseEmphasis('a BREAK b')).toEqual([{ text: 'a ', weight: 1 }, null, { text: 'b', weight: 1 }]);
		expect(parseEmphasis('(a BREAK b:2)').map((fragment) => fragment?.weight)).toEqual([2, undefined, 2]);
	});

	it('is quick on hostile prompts', () => {
		const started = performance.now();
		for (const text of ['('.repeat(5000), '[('.repeat(3000) + ')]'.repeat(3000), ':1'.repeat(20_000), 'BREAK'.repeat(5000)]) parseEmphasis(text);
		expect(performance.now() - started).toBeLessThan(5000);
	});
});

describe('chunks', () => {
	let tokenizer: ClipTokenizer;
	beforeAll(async () => {
		tokenizer = await clipTokenizer();
	});
	const sizes = (prompt: string): number[] => promptChunks(prompt, tokenizer).map((chunk) => chunk.ids.length);
	const words = (n: number): string => 'cat '.repeat(n);

	it('holds 75 tokens each, with the weight of every one', () => {
		expect(sizes('')).toEqual([0]);
		expect(sizes(words(75))).toEqual([75]);
		expect(sizes(words(76))).toEqual([75, 1]);
		expect(sizes(words(151))).toEqual([75, 75, 1]);
		const [chunk] = promptChunks('a (red:1.5) hat', tokenizer);
		expect(chunk).toEqual({ ids: tokenizer.tokens('a red hat'), weights: [1, 1.5, 1] });
	});

	it('moves what follows a late comma into the next chunk', () => {
		// 60 words, a comma, 20 more: the comma is the 61st token; 14 tokens after it fit, and 6 more have to follow.
		expect(sizes(`${words(60)}, ${words(20)}`)).toEqual([61, 20]);
		// A comma that is 20 tokens from the end is reached, one further away is not.
		expect(sizes(`${words(55)}, ${words(20)}`)).toEqual([56, 20]);
		expect(sizes(`${words(54)}, ${words(21)}`)).toEqual([75, 1]);
		expect(sizes(`${words(75)}, dog`)).toEqual([75, 2]);
	});

	it('begins a new one at BREAK', () => {
		expect(sizes('cat BREAK dog cat')).toEqual([1, 2]);
		expect(sizes('BREAK dog')).toEqual([0, 1]);
	});
});

describe('weighted prompts', () => {
	it('are the plain context where nothing is weighted', async () => {
		const encoder = openTextEncoder(await miniCheckpoint());
		const [plain, weighted] = [await encoder.encode(['a smile']), await encoder.weighted(['a smile'])];
		await encoder.close();
		expect(Array.from(weighted[0]?.context ?? [])).toEqual(Array.from(plain));
	});

	it('multiply rows and keep the mean, chunk by chunk; every prompt has its own length', async () => {
		const encoder = openTextEncoder(await miniCheckpoint());
		const [first, second, empty] = [await encoder.encode(['a red hat']), await encoder.encode(['blue']), await encoder.encode([''])];
		const [long, short] = await encoder.weighted(['a (red:1.5) hat BREAK blue', '']);
		await encoder.close();
		const scaled = first.map((x, i) => (Math.floor(i / encoder.width) === 2 ? x * 1.5 : x));
		const mean = (values: Float32Array): number => values.reduce((sum, x) => sum + x, 0) / values.length;
		const expected = scaled.map((x) => (x * mean(first)) / mean(scaled));
		const context = long?.context ?? new Float32Array(0);
		expect(context).toHaveLength(2 * first.length);
		expect(relativeError(context.subarray(0, first.length), expected)).toBeLessThan(1e-5);
		expect(relativeError(context.subarray(0, first.length), first)).toBeGreaterThan(0.01);
		expect(relativeError(context.subarray(first.length), second)).toBeLessThan(1e-6);
		expect(relativeError(short?.context ?? new Float32Array(0), empty)).toBeLessThan(1e-6);
	});
});
