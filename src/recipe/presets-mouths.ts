/**
 * Mouth shapes on the mini model: one ADDifT LoRA for each of the five vowels, from the smiling drawing and with the prompt that such faces have. Wide, flat and small mouths need different
 * settings; each set of numbers stands here once and is what docs/results.md ("Small shapes: u and e") was measured with.
 *
 * Why: faces captioned "smile" keep their smile against a LoRA that has only seen a neutral closed mouth, so it starts from the smile. Only the output blocks are trained: the change is drawn there, and
 * hair and eyes stay. `strength` is baked into the file, so that it is used at 1.
 */
import { defaultPasses, passSettings } from './defaults';
import { defaultOptimizer } from './optimizers';
import type { Preset, PresetText } from './presets';
import { BLOCK_IDS } from './recipe';
import type { ImageRef, PassSettings, Recipe } from './recipe';

export const VOWELS = ['a', 'i', 'u', 'e', 'o'] as const;
export type Vowel = (typeof VOWELS)[number];

type BundledImage = Required<Pick<ImageRef, 'name' | 'bundled'>>;

/** The drawings that survive the VAE: u and e have their own, see docs/results.md. */
const DRAWINGS: Readonly<Record<Vowel, string>> = { a: 'a', i: 'i', u: 'u-small', e: 'e-wide', o: 'o' };
const SMILING = '1girl, closed mouth, smile';

/** The pair of a vowel among the bundled pictures, from the smile. */
export function mouthPair(vowel: Vowel): { original: BundledImage; target: BundledImage } {
	const file = (name: string): BundledImage => ({ name: `${name}.png`, bundled: `front/${name}.png` });
	return { original: file('smile'), target: file(DRAWINGS[vowel]) };
}

/** The vowel whose pair from the smile a recipe names. */
export function smilingVowel({ original, target }: Recipe['images']): Vowel | undefined {
	return VOWELS.map((vowel) => ({ vowel, pair: mouthPair(vowel) })).find(
		({ pair }) => original.bundled === pair.original.bundled && target.bundled === pair.target.bundled
	)?.vowel;
}

interface Shape {
	readonly id: string;
	readonly vowels: readonly Vowel[];
	readonly text: { readonly en: PresetText; readonly ja: PresetText };
	readonly pass: PassSettings;
	readonly timesteps: Recipe['addift']['timesteps'];
}

const outputBlocks = BLOCK_IDS.filter((id) => id.startsWith('OUT'));

/** What the wide mouths have in common. */
function wide(seed: number, strength: number): PassSettings {
	return passSettings(
		defaultOptimizer('adamw'),
		{ rank: 4, alpha: 4, convRank: 4, convAlpha: 4, iterations: 60, batch: 2, learningRate: 5.5e-3, seed, minSnrGamma: 0 },
		{ blocks: outputBlocks, timesteps: { min: 300, max: 900 }, strength }
	);
}

const SHAPES: readonly Shape[] = [
	{
		id: 'mini-mouths',
		vowels: ['a', 'i', 'o'],
		text: {
			en: {
				title: 'Mouth shapes: a, i, o',
				reason:
					'Starts from the smiling drawing, so that smiling faces follow too; output blocks only, so hair and eyes stay. 60 steps, saved at 0.6 so that shapes are not overshot: six of six test faces.'
			},
			ja: {
				title: '口の形：あ・い・お',
				reason:
					'笑顔の絵から学習するので、笑った顔でも形が変わります。出力側の層だけなので髪と目はそのまま。60ステップ、行き過ぎないよう強さ0.6で保存します。テストの顔6つすべてで成功。'
			}
		},
		pass: wide(31, 0.6),
		timesteps: 'traintrain'
	},
	{
		id: 'mini-mouth-flat',
		vowels: ['e'],
		text: {
			en: {
				title: 'A flat mouth: e',
				reason:
					'The same training saved at 0.45, because e turns into a grin or a round mouth as soon as it is overshot. Six of six test faces with this seed, fewer with others.'
			},
			ja: {
				title: '平たい口：え',
				reason:
					'学習は「あ・い・お」と同じで、強さ0.45で保存します。「え」は少し強すぎるだけで歯を見せた笑いや丸い口になるためです。このシードではテストの顔6つすべてで成功（シードによって減ります）。'
			}
		},
		pass: wide(21, 0.45),
		timesteps: 'traintrain'
	},
	{
		id: 'mini-mouth-small',
		vowels: ['u'],
		text: {
			en: {
				title: 'A small mouth: u',
				reason:
					'For a change of a few pixels: no convolutions and late timesteps, where the shape is decided; gentler steps, saved at 0.8: six of six test faces. With the settings of wide mouths u became another round mouth.'
			},
			ja: {
				title: '小さな口：う',
				reason:
					'数ピクセルの変化向け。畳み込みは使わず、形が決まるタイムステップ500〜1000だけを学習し、強さ0.8で保存します。テストの顔6つすべてで成功。大きな口用の設定では「う」がただの丸い口になります。'
			}
		},
		pass: passSettings(
			defaultOptimizer('adamw'),
			{ rank: 8, alpha: 8, convRank: 0, convAlpha: 0, iterations: 60, batch: 1, learningRate: 5e-3, seed: 13, minSnrGamma: 0 },
			{ blocks: outputBlocks, timesteps: { min: 500, max: 1000 }, strength: 0.8 }
		),
		timesteps: 'random'
	}
];

/** The vowel a bundled target shows. */
function vowelOf({ target }: Recipe['images']): Vowel | undefined {
	return VOWELS.find((vowel) => [vowel, DRAWINGS[vowel]].some((name) => target.bundled === `front/${name}.png`));
}

function presetOf({ id, vowels, text, pass, timesteps }: Shape): Preset {
	return {
		id,
		family: 'mini',
		mode: 'addift',
		text,
		passes: { copier: defaultPasses('mini', 'addift').copier, difference: pass },
		saveEvery: 0,
		addift: { timesteps, multiplier: 0.25, ratio: 1 },
		prompts: { original: SMILING, target: SMILING },
		pictures(images) {
			// Pictures of the user's own stay; of the bundled ones the vowel that is chosen, when these numbers are for it.
			if (images.target.bundled === undefined) return images;
			const vowel = vowelOf(images);
			return mouthPair(vowel && vowels.includes(vowel) ? vowel : (vowels[0] ?? 'a'));
		}
	};
}

export const MOUTH_PRESETS: readonly Preset[] = SHAPES.map(presetOf);

/** The preset for a vowel. */
export function mouthPreset(vowel: Vowel): Preset {
	const found = SHAPES.find(({ vowels }) => vowels.includes(vowel));
	if (!found) throw new RangeError(`There is no preset for the mouth "${vowel}".`);
	return presetOf(found);
}
