import { describe, expect, it } from 'vitest';
import { alphaScale, factorCount, fileBytes, RATE_BY_BATCH, rateForBatch } from '../../../src/recipe/advice';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { applyPreset, findPreset, matchingPreset, PRESETS, presetsFor } from '../../../src/recipe/presets';
import { MODES } from '../../../src/recipe/recipe';
import { parseRecipe } from '../../../src/recipe/schema';

describe('presets', () => {
	it.each(PRESETS.map((preset) => [preset.id, preset] as const))('%s makes a recipe without remarks and is recognised again', (_, preset) => {
		const recipe = applyPreset(defaultRecipe(preset.family), preset);
		if (preset.mode === 'leco') recipe.leco.original = 'blue hair';
		expect(parseRecipe(recipe)).toMatchObject({ ok: true, problems: [] });
		expect(matchingPreset(recipe)?.id).toBe(preset.id);
		for (const text of [preset.text.en, preset.text.ja]) expect(Math.min(text.title.length, text.reason.length)).toBeGreaterThan(3);
	});

	it('has unique ids and at least one preset per family and mode', () => {
		expect(new Set(PRESETS.map((p) => p.id)).size).toBe(PRESETS.length);
		for (const family of ['mini', 'sd15', 'sdxl'] as const) for (const mode of MODES) expect(presetsFor(family, mode).length).toBeGreaterThan(0);
	});

	it('moves a recipe to its own family', () => {
		const preset = findPreset('sd15-copier')!;
		const recipe = applyPreset({ ...defaultRecipe('mini'), name: 'mine' }, preset);
		expect(recipe.model.family).toBe('sd15');
		expect(recipe.name).toBe('mine');
		expect(recipe.passes).toEqual(preset.passes);
	});

	it('hands out copies', () => {
		const preset = findPreset('mini-lion')!;
		applyPreset(defaultRecipe('mini'), preset).passes.copier.blocks.pop();
		expect(preset.passes.copier.blocks).toHaveLength(25);
	});
});

describe('advice', () => {
	it('gives the published rates', () => {
		expect(Object.fromEntries(RATE_BY_BATCH.map((r) => [r.batch, r.rate]))).toMatchObject({ 1: 8.3e-5, 3: 2.5e-4, 4: 3.3e-4, 6: 5e-4, 12: 1e-3 });
		expect(rateForBatch(1e-3, 12, 3)).toBeCloseTo(2.5e-4, 12);
		expect(alphaScale(8, 32)).toBe(0.25);
	});

	it('counts factors as the known files hold them', () => {
		expect(factorCount('sd15', { rank: 4, convRank: 0 })).toBe(1_695_744);
		expect(factorCount('sdxl', { rank: 4, convRank: 0 })).toBe(10_639_360);
		expect(factorCount('sd15', { rank: 1, convRank: 1 })).toBe(1_050_816);
		expect(factorCount('sd15', { rank: 1, convRank: 1, network: 'loha' })).toBe(2 * 1_050_816);
		expect(factorCount('sdxl', { rank: 1, convRank: 1 })).toBe(3_074_240);
	});

	it('foresees the file size', () => {
		expect(fileBytes(defaultRecipe('sd15')) / 3.5e6).toBeCloseTo(1, 1);
	});
});
