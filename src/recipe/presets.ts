/**
 * Ready-made settings. A preset knows its model family (the mini model's rates would wreck a full-size model and the other way round)
 * and changes only what a run does: name, model, pictures and prompts stay the user's, unless the preset is about certain ones (`presets-mouths.ts`).
 *
 * Sources: mini: the settings of the bundled model's reference runs `difference-adamw`, `difference-lion`, `difference-conv` (batch 2, cosine); our random numbers are not
 * PyTorch's, so their seeds 11 and 12 mean nothing here: ours are the ones of docs/results.md.
 * sd15, sdxl: the two-pass copier method as published by its users: copier 16/16 with conv 8/8, then 4/4, Lion, cosine, 5e-5, 1000 iterations, seed 1111;
 * 32 with alpha 8 for small changes that 4/4 does not pick up, with more steps and files saved on the way.
 */
import { defaultRecipe, passSettings } from './defaults';
import { defaultOptimizer } from './optimizers';
import { MODE_PRESETS } from './presets-modes';
import { MOUTH_PRESETS } from './presets-mouths';
import type { Mode, ModelFamily, PassSettings, Recipe } from './recipe';

export interface PresetText {
	readonly title: string;
	/** One line: why one would choose it. */
	readonly reason: string;
}

export interface Preset {
	readonly id: string;
	readonly family: ModelFamily;
	readonly mode: Mode;
	readonly text: { readonly en: PresetText; readonly ja: PresetText };
	readonly passes: { readonly copier: PassSettings; readonly difference: PassSettings };
	/** Steps between intermediate files of the second pass. */
	readonly saveEvery: number;
	/** Original and target change places. */
	readonly swap?: boolean;
	/** Modes addift and multiAddift; absent: as nobody has touched them. */
	readonly addift?: Recipe['addift'];
	readonly prompts?: Recipe['prompts'];
	/** Other bundled pictures instead of bundled ones; pictures of the user's stay. */
	readonly pictures?: (images: Recipe['images']) => Recipe['images'];
}

const miniCommon = { batch: 2, minSnrGamma: 0 };
const fullCommon = { batch: 1, minSnrGamma: 5, seed: 1111, learningRate: 5e-5 };

const MINI: readonly Preset[] = [
	{
		id: 'mini-adamw',
		family: 'mini',
		mode: 'difference',
		text: {
			en: { title: 'Clean (AdamW)', reason: 'Opens the mouth with the least change elsewhere; the quickest of the three.' },
			ja: { title: 'きれい（AdamW）', reason: '口以外の変化がいちばん小さく、3つの中でいちばん早く終わります。' }
		},
		passes: {
			copier: passSettings(defaultOptimizer('adamw'), {
				...miniCommon,
				rank: 16,
				alpha: 16,
				convRank: 0,
				convAlpha: 0,
				iterations: 300,
				learningRate: 5e-3,
				seed: 31
			}),
			difference: passSettings(defaultOptimizer('adamw'), {
				...miniCommon,
				rank: 4,
				alpha: 4,
				convRank: 0,
				convAlpha: 0,
				iterations: 150,
				learningRate: 3e-3,
				seed: 32
			})
		},
		saveEvery: 0
	},
	{
		id: 'mini-lion',
		family: 'mini',
		mode: 'difference',
		text: {
			en: { title: 'Strong (Lion)', reason: 'The copier copies best and the mouth opens widest; touches the rest of the picture a little more.' },
			ja: { title: '強め（Lion）', reason: 'コピー機の再現が良く口が大きく開きますが、ほかの部分も少し変わります。' }
		},
		passes: {
			copier: passSettings(defaultOptimizer('lion'), {
				...miniCommon,
				rank: 16,
				alpha: 16,
				convRank: 0,
				convAlpha: 0,
				iterations: 400,
				learningRate: 1e-3,
				seed: 11
			}),
			difference: passSettings(defaultOptimizer('lion'), {
				...miniCommon,
				rank: 4,
				alpha: 4,
				convRank: 0,
				convAlpha: 0,
				iterations: 300,
				learningRate: 3e-4,
				seed: 12
			})
		},
		saveEvery: 0
	},
	{
		id: 'mini-conv',
		family: 'mini',
		mode: 'difference',
		text: {
			en: { title: 'With convolutions', reason: 'Also trains the 3×3 convolutions: the truest mouth shape, a larger file and slower steps.' },
			ja: { title: '畳み込みも学習', reason: '3×3畳み込みも学習するので口の形がいちばん正確です。ファイルは大きく、1ステップは遅くなります。' }
		},
		passes: {
			copier: passSettings(defaultOptimizer('lion'), {
				...miniCommon,
				rank: 16,
				alpha: 16,
				convRank: 16,
				convAlpha: 16,
				iterations: 300,
				learningRate: 5e-4,
				seed: 31
			}),
			difference: passSettings(defaultOptimizer('adamw'), {
				...miniCommon,
				rank: 4,
				alpha: 4,
				convRank: 4,
				convAlpha: 4,
				iterations: 150,
				learningRate: 2e-3,
				seed: 32
			})
		},
		saveEvery: 0
	}
];

function full(family: 'sd15' | 'sdxl'): Preset[] {
	const copier = passSettings(defaultOptimizer('lion'), { ...fullCommon, rank: 16, alpha: 16, convRank: 8, convAlpha: 8, iterations: 1000 });
	return [
		{
			id: `${family}-copier`,
			family,
			mode: 'difference',
			text: {
				en: { title: 'Two passes, 16 → 4', reason: 'The copier method as it worked for many: a small second rank keeps style and background out.' },
				ja: { title: '2段階 16 → 4', reason: '実績のあるコピー機学習法の設定です。2段階目のrankが小さいので画風や背景が混ざりにくくなります。' }
			},
			passes: { copier, difference: passSettings(defaultOptimizer('lion'), { ...fullCommon, rank: 4, alpha: 4, convRank: 0, convAlpha: 0, iterations: 1000 }) },
			saveEvery: 0
		},
		{
			id: `${family}-small-change`,
			family,
			mode: 'difference',
			text: {
				en: {
					title: 'Small change, 32 / alpha 8',
					reason: 'For tiny differences that 4/4 misses: more rank, a quarter of the alpha, more steps, saved on the way.'
				},
				ja: { title: '小さな変化 32 / alpha 8', reason: '4/4では動かない小さな差分向け。rankを大きくalphaを1/4にし、途中保存しながら長めに学習します。' }
			},
			passes: {
				copier,
				difference: passSettings(defaultOptimizer('lion'), { ...fullCommon, rank: 32, alpha: 8, convRank: 0, convAlpha: 0, iterations: 3000 })
			},
			saveEvery: 500
		}
	];
}

/** The first of each family and mode is what that mode begins with. */
export const PRESETS: readonly Preset[] = [...MINI, ...full('sd15'), ...full('sdxl'), ...MODE_PRESETS, ...MOUTH_PRESETS];

export function presetsFor(family: ModelFamily, mode: Mode = 'difference'): Preset[] {
	return PRESETS.filter((preset) => preset.family === family && preset.mode === mode);
}

export function findPreset(id: string): Preset | undefined {
	return PRESETS.find((preset) => preset.id === id);
}

/** The recipe with the preset's passes. With another family's model the preview, probe and model of the preset's own family come along. */
export function applyPreset(recipe: Recipe, preset: Preset): Recipe {
	const base =
		recipe.model.family === preset.family ? recipe : { ...defaultRecipe(preset.family), name: recipe.name, images: recipe.images, prompts: recipe.prompts };
	const { mode, swap = false, prompts = base.prompts, pictures = (own: Recipe['images']) => own } = preset;
	return structuredClone({
		...base,
		mode,
		swap,
		prompts,
		images: pictures(base.images),
		addift: preset.addift ?? defaultRecipe(preset.family).addift,
		passes: { ...preset.passes },
		saving: { ...base.saving, everySteps: preset.saveEvery }
	});
}

/** The preset whose passes the recipe has, unchanged. */
export function matchingPreset(recipe: Recipe): Preset | undefined {
	// Modes with one pass do not look at the copier's settings.
	const used = ({ copier, difference }: Recipe['passes']): unknown => (recipe.mode === 'difference' ? { copier, difference } : { difference });
	const own = JSON.stringify(sorted(used(recipe.passes)));
	const same = (preset: Preset): boolean => JSON.stringify(sorted(used(preset.passes))) === own && (preset.swap ?? false) === recipe.swap;
	return presetsFor(recipe.model.family, recipe.mode).find(same);
}

/** Object keys in one order, so that equal settings have equal text. */
function sorted(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(sorted);
	if (typeof value !== 'object' || value === null) return value;
	return Object.fromEntries(
		Object.entries(value)
			.sort(([a], [b]) => (a < b ? -1 : 1))
			.map(([key, item]) => [key, sorted(item)])
	);
}
