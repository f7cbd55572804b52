/** The reference runs that must be met, and the faces they are judged on. Source: tools/mini-model/lora.py and its results. */
import { defaultPasses, defaultRecipe } from '../../src/recipe/defaults';
import { defaultOptimizer } from '../../src/recipe/optimizers';
import { applyPreset, findPreset } from '../../src/recipe/presets';
import type { Recipe } from '../../src/recipe/recipe';

export const RUNS = {
	'difference-adamw': { preset: 'mini-adamw', reference: { in: 1.1164, out: 0.0903, copierPsnr: 30.18, bothPsnr: 29.07 } },
	'difference-lion': { preset: 'mini-lion', reference: { in: 1.23, out: 0.191, copierPsnr: 35.3, bothPsnr: 30.7 } },
	'difference-conv': { preset: 'mini-conv', reference: { in: 1.17, out: 0.091, copierPsnr: 35.5, bothPsnr: 33 } }
} as const;
/** ADDifT: rank 4, alpha 4, t 200 … 800, one picture a step. */
export const ADDIFT_RUNS = {
	'addift-adamw': { optimizer: 'adamw', learningRate: 2e-3, iterations: 100, conv: 0, reference: { in: 1.31, out: 0.148 } },
	'addift-adamw-30': { optimizer: 'adamw', learningRate: 5e-3, iterations: 30, conv: 0, reference: { in: 1.33, out: 0.113 } },
	'addift-lion': { optimizer: 'lion', learningRate: 1e-3, iterations: 60, conv: 0, reference: { in: 1.5, out: 0.156 } },
	'addift-conv': { optimizer: 'adamw', learningRate: 2e-3, iterations: 60, conv: 4, reference: { in: 1.31, out: 0.113 } }
} as const;
export type AddiftRunName = keyof typeof ADDIFT_RUNS;

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

/** @param mouth the target: one of the pictures beside closed.png */
export function addiftRecipe(run: AddiftRunName, view: View, mouth: string, storage: 'f16' | 'f32'): Recipe {
	const { optimizer, learningRate, iterations, conv } = ADDIFT_RUNS[run];
	const recipe: Recipe = { ...defaultRecipe('mini'), name: `${run}-${view}-${mouth}`, mode: 'addift', passes: defaultPasses('mini', 'addift'), storage };
	Object.assign(recipe.passes.difference, {
		rank: 4,
		alpha: 4,
		convRank: conv,
		convAlpha: conv,
		optimizer: defaultOptimizer(optimizer),
		learningRate,
		iterations,
		batch: 1
	});
	recipe.images = { original: { name: 'closed.png', bundled: `${view}/closed.png` }, target: { name: `${mouth}.png`, bundled: `${view}/${mouth}.png` } };
	recipe.preview.every = 0;
	return recipe;
}
