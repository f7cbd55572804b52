/**
 * Presets of the modes beside the two-pass difference method with its own settings: TrainTrain's shipped presets for full-size models, the reference runs for mini.
 *
 * Sources: spec §2.5 (every number of the shipped presets; their seeds of -1 stay -1), the mini model's results for ADDifT and the model's usual rates otherwise.
 * TrainTrain's presets name BASE among their blocks; it trains nothing outside of mode LoRA and is left out; an imported LoRA preset trains the text encoder, the built-in one leaves it alone.
 */
import { defaultPasses, passSettings } from './defaults';
import { defaultOptimizer } from './optimizers';
import type { Preset, PresetText } from './presets';
import type { Mode, ModelFamily, PassSettings } from './recipe';
import { defaultSchedule } from './schedules';

interface Texts {
	readonly en: PresetText;
	readonly ja: PresetText;
}

/** A preset of a mode with one pass. */
function single(id: string, family: ModelFamily, mode: Mode, text: Texts, difference: PassSettings, swap = false): Preset {
	return {
		id: `${family}-${id}`,
		family,
		mode,
		text,
		passes: { copier: defaultPasses(family, mode).copier, difference },
		saveEvery: 0,
		...(swap ? { swap } : {})
	};
}

const linear = { convRank: 0, convAlpha: 0 };

interface AddiftNumbers {
	readonly iterations: number;
	readonly learningRate: number;
	readonly range: readonly [number, number];
	readonly strength: number;
	readonly gamma: number;
	readonly seed: number;
}

/** CAME, cosine annealing to 1e-5, rank 4, alpha 1, batch 1. */
function addift({ iterations, learningRate, range, strength, gamma, seed }: AddiftNumbers): PassSettings {
	return passSettings(
		defaultOptimizer('came'),
		{ ...linear, rank: 4, alpha: 1, iterations, batch: 1, learningRate, seed, minSnrGamma: gamma },
		{ schedule: { ...defaultSchedule('cosineAnnealing'), minRate: 1e-5 }, timesteps: { min: range[0], max: range[1] }, strength }
	);
}

const ACTION: Texts = {
	en: {
		title: 'Action or shape',
		reason: 'TrainTrain’s preset. Timesteps 500–1000 decide shapes and layout: poses, mouths, things added. 30 steps are enough.'
	},
	ja: {
		title: '動作・形',
		reason: 'TrainTrainの同梱プリセット。形や構図が決まるタイムステップ500〜1000だけを学習します。ポーズ・口・小物向けで、30ステップで足ります。'
	}
};
const STYLE: Texts = {
	en: {
		title: 'Style',
		reason:
			'TrainTrain’s preset. Timesteps 200–400 decide texture, not layout. The pictures change places, and the file is made stronger to make up for the weak training.'
	},
	ja: {
		title: '画風を変える',
		reason: 'TrainTrainの同梱プリセット。構図ではなく質感が決まる200〜400だけを学習します。2枚を入れ替え、弱い学習を補うため強さを掛けて保存します。'
	}
};
const LORA: Texts = {
	en: {
		title: 'Character or style, 16 / alpha 8',
		reason: 'TrainTrain’s preset: AdamW at 1e-4 is calm enough for small collections; alpha of half the rank halves each step.'
	},
	ja: {
		title: 'キャラクター・画風 16 / alpha 8',
		reason: 'TrainTrainの同梱プリセット。AdamWの1e-4は少ない枚数でも安定し、alphaがrankの半分なので変化は半分の速さです。'
	}
};
const LECO: Texts = {
	en: { title: 'Change a concept', reason: 'TrainTrain’s preset: words only, 300 steps. Alpha above the rank makes up for the weak pull of this method.' },
	ja: {
		title: '概念を変える',
		reason: 'TrainTrainの同梱プリセット。言葉だけで300ステップ学習します。効きの弱い方法なので、alphaをrankより大きくして補います。'
	}
};
const ONE: Texts = {
	en: {
		title: 'TrainTrain: Difference',
		reason: 'Its shipped preset: both passes 16/16 at 5e-4, 500 steps. Strong and quick; style leaks in more than with a small second rank.'
	},
	ja: { title: 'TrainTrain: Difference', reason: '同梱プリセット。2段階とも16/16・5e-4・500ステップ。速くて強い反面、画風も混ざりやすい設定です。' }
};
const TWO: Texts = {
	en: { title: 'TrainTrain: second pass 4/4', reason: 'Its shipped preset with a pass 2 of its own: rank 4 at 1e-4 keeps the result to what differs.' },
	ja: { title: 'TrainTrain: 2段階目 4/4', reason: '2段階目だけ設定を変えた同梱プリセット。rank 4・1e-4で、違いだけを覚えやすくします。' }
};

function full(family: 'sd15' | 'sdxl'): Preset[] {
	const xl = family === 'sdxl';
	const adamw = (rank: number, alpha: number, iterations: number, learningRate: number): PassSettings =>
		passSettings(defaultOptimizer('adamw'), { ...linear, rank, alpha, iterations, batch: 2, learningRate, seed: -1, minSnrGamma: 5 });
	const action = addift({ iterations: 30, learningRate: xl ? 2e-4 : 1e-4, range: [500, 1000], strength: 1, gamma: 5, seed: 1 });
	const style = addift({
		iterations: xl ? 30 : 50,
		learningRate: xl ? 2e-4 : 5e-5,
		range: [200, 400],
		strength: xl ? 2 : 5,
		gamma: xl ? 1 : 5,
		seed: xl ? -1 : 1
	});
	const first = adamw(16, 16, 500, 5e-4);
	const two = (id: string, text: Texts, difference: PassSettings): Preset => ({
		id: `${family}-${id}`,
		family,
		mode: 'difference',
		text,
		passes: { copier: first, difference },
		saveEvery: 0
	});
	return [
		two('traintrain', ONE, first),
		two('traintrain-2nd', TWO, adamw(4, 4, 500, 1e-4)),
		single('addift-action', family, 'addift', ACTION, action),
		single('addift-style', family, 'addift', STYLE, style, true),
		single('pairs-action', family, 'multiAddift', ACTION, action),
		single('pairs-style', family, 'multiAddift', STYLE, style, true),
		single('lora', family, 'lora', LORA, adamw(16, 8, 1000, 1e-4)),
		single('leco', family, 'leco', LECO, adamw(4, 8, 300, 5e-4))
	];
}

const MINI: Readonly<Record<'quick' | 'lion' | 'lora' | 'leco', Texts>> = {
	quick: {
		en: { title: 'Quick (AdamW)', reason: '30 steps at 5e-3 open the mouths of all test faces with little change elsewhere.' },
		ja: { title: 'すばやく（AdamW）', reason: '5e-3で30ステップ。テストの顔すべてで口が開き、ほかはあまり変わりません。' }
	},
	lion: {
		en: { title: 'Strong (Lion)', reason: '60 steps with Lion: the widest mouths, a little more change elsewhere.' },
		ja: { title: '強め（Lion）', reason: 'Lionで60ステップ。口はいちばん大きく開き、ほかも少し変わります。' }
	},
	lora: {
		en: { title: 'A character', reason: 'Rank 8 for a handful of pictures; 300 steps at the small model’s usual rate.' },
		ja: { title: 'キャラクター', reason: '数枚の画像ならrank 8で十分。この小さなモデル向けの学習率で300ステップです。' }
	},
	leco: {
		en: {
			title: 'Change a concept',
			reason: 'Words only: 100 steps turn blue hair red on every test face. Timesteps below 500 are left out, because words change next to nothing there.'
		},
		ja: {
			title: '概念を変える',
			reason: '言葉だけで学習します。100ステップで、テストの顔すべての青い髪が赤になりました。言葉がほとんど効かないタイムステップ500未満は学習しません。'
		}
	}
};

function mini(): Preset[] {
	const pass = (mode: Mode): PassSettings => defaultPasses('mini', mode).difference;
	const lion = { ...pass('addift'), optimizer: defaultOptimizer('lion'), learningRate: 1e-3, iterations: 60 };
	const leco = { ...pass('leco'), learningRate: 5e-3, iterations: 100, timesteps: { min: 500, max: 1000 } };
	return [
		single('addift', 'mini', 'addift', MINI.quick, pass('addift')),
		single('addift-lion', 'mini', 'addift', MINI.lion, lion),
		single('pairs', 'mini', 'multiAddift', MINI.quick, pass('multiAddift')),
		single('lora', 'mini', 'lora', MINI.lora, pass('lora')),
		single('leco', 'mini', 'leco', MINI.leco, leco)
	];
}

export const MODE_PRESETS: readonly Preset[] = [...mini(), ...full('sd15'), ...full('sdxl')];
