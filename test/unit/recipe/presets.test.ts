import { describe, expect, it } from 'vitest';
import { saveLora } from '../../../src/lora/file';
import { initialFactors } from '../../../src/lora/init';
import { loraMetadata } from '../../../src/lora/metadata';
import { countFactors, selectModules } from '../../../src/lora/modules';
import { alphaScale, countNetwork, fileBytes, RATE_BY_BATCH, rateForBatch } from '../../../src/recipe/advice';
import { defaultRecipe, UNET_BLOCKS } from '../../../src/recipe/defaults';
import { applyPreset, findPreset, matchingPreset, PRESETS, presetsFor } from '../../../src/recipe/presets';
import { MODES, type PassSettings } from '../../../src/recipe/recipe';
import { parseRecipe } from '../../../src/recipe/schema';
import { miniModules, sd15Modules, sdxlModules } from '../lora/models';

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
		expect(countNetwork('sd15', { rank: 4, convRank: 0 })).toEqual({ modules: 192, factors: 1_695_744 });
		expect(countNetwork('sdxl', { rank: 4, convRank: 0 })).toEqual({ modules: 722, factors: 10_639_360 });
		expect(countNetwork('sd15', { rank: 1, convRank: 1 })).toEqual({ modules: 278, factors: 1_050_816 });
		expect(countNetwork('sd15', { rank: 1, convRank: 1, network: 'loha' }).factors).toBe(2 * 1_050_816);
		expect(countNetwork('sdxl', { rank: 1, convRank: 1 })).toEqual({ modules: 788, factors: 3_074_240 });
	});

	const NETWORKS = [
		{ rank: 3, convRank: 0 },
		{ rank: 3, convRank: 2 },
		{ rank: 3, convRank: 2, blocks: ['IN04', 'M00', 'OUT03', 'OUT05'] },
		{ rank: 4, convRank: 0, attention: 'cross' },
		{ rank: 4, convRank: 2, attention: 'self', blocks: ['IN08', 'OUT01', 'OUT04'] },
		{ rank: 2, convRank: 1, network: 'loha', attention: 'cross' }
	] as const satisfies readonly Partial<PassSettings>[];
	const all = { mini: miniModules, sd15: sd15Modules, sdxl: sdxlModules } as const;

	it.each(NETWORKS)('counts what a network of %o has, in every family', (settings) => {
		for (const family of ['mini', 'sd15', 'sdxl'] as const) {
			const blocks = 'blocks' in settings ? settings.blocks : UNET_BLOCKS;
			const chosen = selectModules(all[family], { alpha: 1, convAlpha: 1, ...settings, blocks });
			expect(countNetwork(family, { ...settings, blocks: [...blocks] })).toEqual({ modules: chosen.length, factors: countFactors(chosen) });
		}
	});

	it.each(NETWORKS)('foresees the size of a written file of %o', async (settings) => {
		const recipe = defaultRecipe('mini');
		Object.assign(recipe.passes.difference, { network: 'lierla', attention: 'full', ...structuredClone(settings) });
		const chosen = selectModules(miniModules, recipe.passes.difference);
		const modules = chosen.map((m, i) => ({ ...m, ...initialFactors(m, i, 5) }));
		const now = new Date();
		const facts = {
			outputName: 'a',
			pass: 'difference',
			steps: 9,
			seed: 1,
			startedAt: now,
			savedAt: now,
			width: 128,
			height: 128,
			prediction: 'epsilon'
		} as const;
		for (const precision of ['f16', 'f32'] as const) {
			recipe.saving.precision = precision;
			const written = await saveLora(modules, { family: 'mini', precision, metadata: loraMetadata({ ...facts, recipe, version: '1' }) });
			expect(Math.abs(fileBytes(recipe) - written.length), `${written.length}`).toBeLessThan(0.03 * written.length + 2000);
		}
	});
});
