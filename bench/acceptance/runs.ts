/** The reference runs that must be met, and the faces they are judged on. Source: tools/mini-model/lora.py and its results. */
import { defaultRecipe } from '../../src/recipe/defaults';
import { applyPreset, findPreset } from '../../src/recipe/presets';
import type { Recipe } from '../../src/recipe/recipe';

export const RUNS = {
	'difference-adamw': { preset: 'mini-adamw', reference: { in: 1.1164, out: 0.0903, copierPsnr: 30.18, bothPsnr: 29.07 } },
	'difference-lion': { preset: 'mini-lion', reference: { in: 1.23, out: 0.191, copierPsnr: 35.3, bothPsnr: 30.7 } },
	'difference-conv': { preset: 'mini-conv', reference: { in: 1.17, out: 0.091, copierPsnr: 35.5, bothPsnr: 33 } }
} as const;
export type RunName = keyof typeof RUNS;

export const VIEWS = ['front', 'left', 'right'] as const;
export type View = (typeof VIEWS)[number];

const FACES = [
	'1girl, blue hair, long hair, green eyes, closed mouth, facing viewer, simple background, white background',
	'1girl, pink hair, twintails, blue eyes, closed mouth, smile, facing viewer, simple background, white background',
	'1girl, blonde hair, ponytail, red eyes, closed mouth, facing viewer, white shirt, blue background',
	'1girl, black hair, short hair, brown eyes, closed mouth, facing viewer, sailor collar, grey background',
	'1girl, red hair, medium hair, yellow eyes, closed mouth, smile, facing viewer, green background',
	'1girl, white hair, double bun, purple eyes, closed mouth, facing viewer, pink background'
];

/** Twelve faces: seeds 200–211 over the six captions. */
export const SEEDS = Array.from({ length: 12 }, (_, i) => 200 + i);
export const COPY_SEEDS = [300, 301, 302, 303, 304, 305];

export function captions(view: View): string[] {
	const facing = view === 'front' ? 'facing viewer' : `facing ${view}`;
	return SEEDS.map((_, i) => (FACES[i % FACES.length] ?? '').replace('facing viewer', facing));
}

export function runRecipe(run: RunName, view: View, storage: 'f16' | 'f32'): Recipe {
	const preset = findPreset(RUNS[run].preset);
	if (!preset) throw new Error(`There is no preset ${RUNS[run].preset}.`);
	const recipe = applyPreset({ ...defaultRecipe('mini'), name: `${run}-${view}` }, preset);
	recipe.images = { original: { name: 'closed.png', bundled: `${view}/closed.png` }, target: { name: 'a.png', bundled: `${view}/a.png` } };
	recipe.preview.every = 0;
	recipe.storage = storage;
	return recipe;
}
