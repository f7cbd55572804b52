/** The presets of mouth shapes: one for each vowel, with bundled pictures that are there, and other presets leave nothing of them behind. */
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { applyPreset, findPreset, matchingPreset, presetsFor } from '../../../src/recipe/presets';
import { MOUTH_PRESETS, mouthPair, mouthPreset, VOWELS } from '../../../src/recipe/presets-mouths';
import { parseRecipe } from '../../../src/recipe/schema';

describe('mouth shapes', () => {
	it.each(VOWELS)('%s: the numbers are the listed preset’s, the pair is bundled, the recipe has no remarks', (vowel) => {
		const preset = mouthPreset(vowel);
		const listed = findPreset(preset.id);
		expect(preset.passes).toEqual(listed?.passes);
		expect(preset.addift).toEqual(listed?.addift);
		const recipe = applyPreset({ ...defaultRecipe('mini'), images: mouthPair(vowel) }, preset);
		expect(recipe.images).toEqual(mouthPair(vowel));
		for (const { bundled } of Object.values(recipe.images)) expect(existsSync(`public/samples/${bundled}`)).toBe(true);
		expect(recipe.passes.difference.blocks.every((id) => id.startsWith('OUT'))).toBe(true);
		expect(recipe.prompts.original).toBe(recipe.prompts.target);
		expect(parseRecipe(recipe)).toMatchObject({ ok: true, problems: [] });
		expect(matchingPreset(recipe)?.id).toBe(preset.id);
	});

	it('takes the drawing made for it where a bundled vowel is chosen, and leaves the user’s pictures alone', () => {
		const withTarget = (bundled: string) => ({ ...defaultRecipe('mini'), images: { original: { name: 'x' }, target: { name: 'y', bundled } } });
		for (const vowel of VOWELS) expect(applyPreset(withTarget(`front/${vowel}.png`), mouthPreset(vowel)).images).toEqual(mouthPair(vowel));
		const images = { original: { name: 'mine.png', sha256: 'a'.repeat(64) }, target: { name: 'open.png', sha256: 'b'.repeat(64) } };
		for (const preset of MOUTH_PRESETS) expect(applyPreset({ ...defaultRecipe('mini'), images }, preset).images).toEqual(images);
	});

	it('another preset puts ADDifT’s own settings back', () => {
		const [usual] = presetsFor('mini', 'addift');
		for (const preset of MOUTH_PRESETS) {
			const after = applyPreset(applyPreset(defaultRecipe('mini'), preset), usual!);
			expect(after.addift).toEqual(defaultRecipe('mini').addift);
			expect(after.passes).toEqual(usual!.passes);
		}
	});
});
