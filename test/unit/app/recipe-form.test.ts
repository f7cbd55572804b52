import { describe, expect, test } from 'vitest';
import { passesInOneLine } from '../../../src/app/train/summary';
import { blockGroups, withBlocks } from '../../../src/app/train/blocks';
import { listOf, numberOrText, overlay } from '../../../src/app/train/fields';
import { sampleOf, samplePair } from '../../../src/app/train/samples';
import { NEXT, parseHash } from '../../../src/app/routes';
import { readMetadata } from '../../../src/app/library/keep';
import { en } from '../../../src/app/i18n/en/index';
import { writeSafetensors } from '../../../src/formats/safetensors-writer';
import { defaultRecipe, UNET_BLOCKS } from '../../../src/recipe/defaults';
import { parseRecipe } from '../../../src/recipe/schema';

describe('typing into a recipe', () => {
	const typed = (path: string, text: string) => overlay(defaultRecipe('mini'), { [path]: { text, value: numberOrText(text) } });

	test('numbers become numbers, anything else stays what was typed', () => {
		expect(['16', ' 5e-5 ', '−1', '', 'abc', '1,5', 'Infinity'].map(numberOrText)).toEqual([16, 5e-5, -1, '', 'abc', '1,5', 'Infinity']);
	});

	test('a good value is in force at once', () => {
		const parsed = parseRecipe(typed('passes.copier.learningRate', '5e-4'));
		expect(parsed.ok && parsed.recipe.passes.copier.learningRate).toBe(5e-4);
	});

	test.each([
		['passes.difference.learningRate', 'abc', 'recipe.notNumber'],
		['passes.copier.rank', '0', 'recipe.tooSmall'],
		['passes.copier.rank', '', 'recipe.notNumber'],
		['passes.copier.iterations', '1.5', 'recipe.notWhole'],
		['passes.copier.alpha', '32', 'recipe.alphaAboveRank']
	])('%s = "%s" is said at its field', (path, text, code) => {
		expect(
			parseRecipe(typed(path, text))
				.problems.filter((problem) => problem.where === path)
				.map((problem) => problem.code)
		).toEqual([code]);
	});

	test('lists take commas of both kinds and spaces', () => {
		expect(listOf('1111, 2222、3333 x,,')).toEqual([1111, 2222, 3333, 'x']);
	});

	test('a path that is not there changes nothing', () => {
		expect(overlay(defaultRecipe('mini'), { '__proto__.x': { text: '1', value: 1 }, 'a.b': { text: '1', value: 1 } })).toEqual(defaultRecipe('mini'));
		expect(Object.prototype).not.toHaveProperty('x');
	});
});

describe('blocks', () => {
	test('each family has its own', () => {
		const count = (family: 'mini' | 'sd15' | 'sdxl') => blockGroups(family).map(({ blocks }) => blocks.length);
		expect(count('sd15')).toEqual([12, 1, 12]);
		expect(count('sdxl')).toEqual([9, 1, 9]);
	});

	test('switching keeps the order', () => {
		expect(withBlocks(['OUT01', 'IN02'], ['M00'], true)).toEqual(['IN02', 'M00', 'OUT01']);
		expect(withBlocks(UNET_BLOCKS, ['IN00'], false)).toEqual(UNET_BLOCKS.slice(1));
	});
});

describe('words and addresses', () => {
	test('both passes in one line, equal halves once', () => {
		const { passes } = defaultRecipe('mini');
		expect(passesInOneLine(passes, en.recipe)).toBe('rank 16 → 4 · AdamW rate 0.005 → 0.003 · 300 + 150 steps');
		expect(passesInOneLine(defaultRecipe('sd15').passes, en.recipe)).toBe('rank 16+8 → 4 · Lion rate 5e-5 · 1000 + 1000 steps');
	});

	test('samples are recognised by what the recipe names', () => {
		const { original, target } = samplePair('left', 'u');
		expect(sampleOf({ original: { name: 'x', bundled: original }, target: { name: 'y', bundled: target } })).toEqual({ direction: 'left', mouth: 'u' });
		expect(sampleOf({ original: { name: 'x', bundled: target }, target: { name: 'y', bundled: original } })).toBeNull();
		expect(sampleOf({ original: { name: 'x' }, target: { name: 'y' } })).toBeNull();
	});

	test('hashes lead to rooms; a recipe leads to Train; the unknown too', () => {
		expect(parseHash('#library')).toMatchObject({ room: 'library', recipe: null });
		expect(parseHash('#r=abc')).toMatchObject({ room: 'train', recipe: '#r=abc' });
		expect(parseHash('#nowhere')).toMatchObject({ room: 'train', recipe: null });
		expect(parseHash('')).toMatchObject({ room: 'train', recipe: null });
	});

	test('a room can be opened with parameters', () => {
		const { room, parameters } = parseHash('#library?lora=a-1&lora=b%202');
		expect(room).toBe('library');
		expect(parameters.getAll('lora')).toEqual(['a-1', 'b 2']);
		expect(parseHash('#library').parameters.size).toBe(0);
		expect(parseHash(NEXT)).toMatchObject({ room: 'train', recipe: null });
		expect(parseHash(NEXT).parameters.has('next')).toBe(true);
	});

	test('metadata is read from the file itself', () => {
		const bytes = writeSafetensors([{ name: 'a', dtype: 'F32', shape: [1], data: new Float32Array(1) }], { ss_network_dim: '4' });
		expect(readMetadata(bytes.slice().buffer)).toEqual({ ss_network_dim: '4' });
		const bare = writeSafetensors([{ name: 'a', dtype: 'F32', shape: [1], data: new Float32Array(1) }]);
		expect(readMetadata(bare.slice().buffer)).toEqual({});
	});
});
