/** TrainTrain's files: its shipped presets (numbers of the reference's table), both shapes of the second pass, and no loss on the way there and back. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { defaultOptimizer, OPTIMIZER_KINDS } from '../../../src/recipe/optimizers';
import { applyPreset, findPreset, PRESETS } from '../../../src/recipe/presets';
import { BLOCK_IDS, MODES } from '../../../src/recipe/recipe';
import type { JsonValue, Recipe } from '../../../src/recipe/recipe';
import { defaultSchedule, SCHEDULE_KINDS } from '../../../src/recipe/schedules';
import { parseRecipe } from '../../../src/recipe/schema';
import { STANDARD } from '../../../src/recipe/traintrain/keys';
import { exportTrainTrain, importTrainTrain, isTrainTrainPreset } from '../../../src/recipe/traintrain/preset';
import { readSettings } from '../../../src/recipe/traintrain/values';

type Json = Record<string, JsonValue>;
const BLOCKS = 'network_blocks(BASE = TextEncoder)';
const unet = BLOCK_IDS.filter((id) => id !== 'BASE');

const base: Json = { model: 'model.safetensors', vae: 'None', te: '', 'original prompt': '', 'target prompt': '' };
const adamw = (change: Json): Json => ({
	...STANDARD,
	image_size: 512,
	network_rank: '16',
	train_iterations: 500,
	train_batch_size: 2,
	train_optimizer: 'adamw',
	...change
});
const addift = (change: Json): Json => ({
	...base,
	mode: 'ADDifT',
	vae: '',
	network_type: 'lierla',
	network_rank: '4',
	network_alpha: '1',
	train_batch_size: '1',
	train_optimizer: 'CAME',
	train_lr_scheduler: 'cosine_annealing',
	train_lr_scheduler_settings: 'eta_min=0.00001',
	[BLOCKS]: [...BLOCK_IDS],
	network_strength: '1.0',
	train_seed: '1',
	train_min_timesteps: '500',
	train_max_timesteps: '1000',
	train_snr_gamma: '5.0',
	save_as_json: true,
	use_2nd_pass_settings: false,
	...change
});

/** The shipped presets, and ours with the same numbers. Names of models are what tells the family. */
const SHIPPED: readonly (readonly [name: string, preset: Json, ours: string])[] = [
	['LoRA', { ...base, mode: 'LoRA', ...adamw({ network_alpha: '8', train_iterations: 1000, train_learning_rate: '1e-4' }) }, 'sd15-lora'],
	['iLECO', { ...base, mode: 'iLECO', ...adamw({ network_rank: '4', network_alpha: '8', train_iterations: 300, train_learning_rate: '5e-4' }) }, 'sd15-leco'],
	['Difference', { ...base, mode: 'Difference', ...adamw({ network_alpha: '16', train_learning_rate: '5e-4' }), '2nd pass': null }, 'sd15-traintrain'],
	[
		'Difference_Use2ndPass',
		{
			...base,
			mode: 'Difference',
			...adamw({ network_alpha: '16', train_learning_rate: '5e-4', use_2nd_pass_settings: true }),
			'2nd pass': adamw({ network_rank: '4', network_alpha: '4', train_learning_rate: '1e-4', save_lora_name: '' })
		},
		'sd15-traintrain-2nd'
	],
	['ADDifT_Action_SD1.5', addift({ train_iterations: '30', train_learning_rate: '1e-4', save_lora_name: 'ADDifT_Action_SD1.5' }), 'sd15-addift-action'],
	[
		'ADDifT_Action_XL',
		addift({ train_iterations: '30', train_learning_rate: '2e-4', [BLOCKS]: [...unet], save_lora_name: 'ADDifT_Action_SDXL', diff_alt_ratio: '1' }),
		'sdxl-addift-action'
	],
	[
		'ADDifT_Style_SD1.5',
		addift({
			train_iterations: '50',
			train_learning_rate: '5e-5',
			network_strength: '5.0',
			train_min_timesteps: '200',
			train_max_timesteps: '400',
			diff_revert_original_target: true,
			save_lora_name: 'ADDifT_Style_SD1.5'
		}),
		'sd15-addift-style'
	],
	[
		'ADDifT_Style_XL',
		addift({
			train_iterations: '30',
			train_learning_rate: '2e-4',
			network_strength: '2.0',
			train_min_timesteps: '200',
			train_max_timesteps: '400',
			train_snr_gamma: '1.0',
			train_seed: '-1',
			diff_alt_ratio: '1.0',
			diff_revert_original_target: true,
			[BLOCKS]: [...unet].reverse(),
			save_lora_name: 'ADDifT_Style_SDXL'
		}),
		'sdxl-addift-style'
	]
];

function imported(json: unknown): Recipe {
	const result = importTrainTrain(json);
	if (!result.ok) throw new Error(JSON.stringify(result.problems));
	return result.recipe;
}

const warnings = (json: unknown) =>
	importTrainTrain(json)
		.problems.filter((p) => p.code === 'traintrain.unsupported')
		.map((p) => p.values['key']);

describe('shipped presets', () => {
	it.each(SHIPPED)('%s is the built-in preset with its numbers', (_, json, id) => {
		const recipe = imported(json);
		const preset = findPreset(id)!;
		expect(recipe.mode).toBe(preset.mode);
		expect(recipe.model.family).toBe(preset.family);
		// The built-in presets leave the text encoder alone; TrainTrain's LoRA preset trains it.
		const blocks = recipe.mode === 'lora' ? ['BASE', ...preset.passes.difference.blocks] : preset.passes.difference.blocks;
		expect(recipe.passes.difference).toEqual({ ...preset.passes.difference, blocks });
		if (recipe.mode === 'difference') expect(recipe.passes.copier).toEqual(preset.passes.copier);
		expect(recipe.swap).toBe(preset.swap ?? false);
	});

	it.each(SHIPPED)('%s comes back as it was, from a link as well', (_, json) => {
		const recipe = imported(json);
		expect(exportTrainTrain(recipe).json).toEqual(json);
		const again = parseRecipe(JSON.parse(JSON.stringify(recipe)));
		expect(again.ok && exportTrainTrain(again.recipe).json).toEqual(json);
	});

	it('an edit wins over what was kept', () => {
		const recipe = imported(SHIPPED[6]![1]);
		recipe.passes.difference.learningRate = 7e-5;
		recipe.addift.ratio = 0.5;
		const { json } = exportTrainTrain(recipe);
		expect(json['train_learning_rate']).toBe('0.00007');
		expect(json['diff_alt_ratio'], 'a key the file did not have').toBe('0.5');
		expect(json['network_strength'], 'spelled as it was').toBe('5.0');
	});
});

describe('the second pass', () => {
	const second = { ...STANDARD, network_rank: '4', train_seed: '7', image_mirroring: true };
	it.each([
		['in the second block, as exports have it', { use_2nd_pass_settings: false }, { use_2nd_pass_settings: true }, 4],
		['at the top, as its own preset has it', { use_2nd_pass_settings: true }, { use_2nd_pass_settings: false }, 4],
		['nowhere', {}, {}, 16]
	])('flag %s', (_, top, inside, rank) => {
		const json = { ...base, ...STANDARD, ...top, mode: 'Difference', network_rank: '16', '2nd pass': { ...second, ...inside } };
		const recipe = imported(json);
		expect(recipe.passes.copier.rank).toBe(16);
		expect(recipe.passes.difference.rank).toBe(rank);
		expect(recipe.dataset.mirror, 'hidden there: taken from the first block').toBe(false);
		expect(exportTrainTrain(recipe).json).toEqual(json);
	});

	it('a file without a second block copies the first', () => {
		const recipe = imported({ mode: 'Difference', network_rank: 32, train_learning_rate: 1e-5 });
		expect(recipe.passes.difference).toEqual(recipe.passes.copier);
		expect(recipe.passes.difference).toMatchObject({ rank: 32, learningRate: 1e-5, alpha: 8, batch: 2 });
	});
});

describe('reading', () => {
	it('takes raw values of any kind, and defaults for what cannot be read', () => {
		const recipe = imported({
			...base,
			mode: 'LoRA',
			network_rank: 'many',
			network_alpha: 4,
			'image_size(height, width)': '768,512',
			train_optimizer: 'PRODIGY'
		});
		expect(recipe.passes.difference).toMatchObject({ rank: 16, alpha: 4, optimizer: defaultOptimizer('prodigy') });
		expect(recipe.resolution).toEqual({ width: 768, height: 512 });
	});

	it('c3lier and loha have conv ranks; 0 means the rank itself', () => {
		const of = (json: Json) => imported({ ...base, mode: 'LoRA', network_rank: '8', network_alpha: '4', ...json }).passes.difference;
		expect(of({ network_type: 'c3lier' })).toMatchObject({ network: 'lierla', convRank: 8, convAlpha: 4 });
		expect(of({ network_type: 'c3lier', network_conv_rank: '2', network_conv_alpha: '1' })).toMatchObject({ convRank: 2, convAlpha: 1 });
		expect(of({ network_type: 'loha' })).toMatchObject({ network: 'loha', convRank: 8 });
		expect(of({ network_type: 'lierla', network_conv_rank: '2' })).toMatchObject({ convRank: 0, convAlpha: 0 });
	});

	it('reads setting strings as Python literals', () => {
		expect([...readSettings("betas = (0.9, 0.99); weight_decay=0.1\nflag=True;name='x';nonsense;bad=1+1;one=(2,)")]).toEqual([
			['betas', [0.9, 0.99]],
			['weight_decay', 0.1],
			['flag', true],
			['name', 'x'],
			['one', [2]]
		]);
	});

	it('names what has no counterpart, and keeps it', () => {
		const json = { ...base, ...STANDARD, mode: 'iLECO', train_optimizer: 'AdamMini', train_lora_precision: 'bf16', te: 'clip', future_setting: [1, { a: 2 }] };
		expect(warnings(json).sort()).toEqual(['future_setting', 'te', 'train_lora_precision', 'train_optimizer']);
		expect(exportTrainTrain(imported(json)).json).toEqual(json);
		expect(warnings({ ...base, ...STANDARD, mode: 'LoRA' }), 'the text encoder is trained').toEqual([]);
	});

	it.each([[null], [[]], ['{}'], [{ version: 1, mode: 'difference' }], [{ mode: 'ADDifT' }], [{ network_rank: '4' }], [{ mode: 'Other', network_rank: '4' }]])(
		'does not take %j for a preset',
		(json) => {
			expect(isTrainTrainPreset(json)).toBe(false);
			expect(importTrainTrain(json)).toMatchObject({ ok: false, problems: [{ code: 'traintrain.notPreset' }] });
		}
	);
});

describe('there and back', () => {
	it.each(PRESETS.filter((p) => p.family !== 'mini').map((p) => [p.id, p] as const))('%s survives as a preset file', (_, preset) => {
		const recipe = applyPreset(defaultRecipe(preset.family, preset.mode), preset);
		const { json, lost } = exportTrainTrain({ ...recipe, model: { name: 'sdxl-or-not', family: preset.family } });
		expect(lost).toEqual([]);
		const back = importTrainTrain(json, preset.family);
		expect(back.ok && back.recipe.passes.difference).toEqual(recipe.passes.difference);
		expect(back.ok && back.recipe.mode === 'difference' ? back.recipe.passes.copier : recipe.passes.copier).toEqual(recipe.passes.copier);
		expect(back.ok && back.recipe.saving.everySteps).toBe(recipe.saving.everySteps);
	});

	it.each(OPTIMIZER_KINDS)('optimizer %s with settings of its own', (kind) => {
		const recipe = { ...defaultRecipe('sd15', 'lora'), traintrain: [] };
		const changed: Record<string, unknown> = { ...defaultOptimizer(kind) };
		for (const [key, value] of Object.entries(changed))
			if (typeof value === 'number' && key !== 'stateBits') changed[key] = key === 'decayRate' ? -0.7 : value > 0 ? value * 0.5 : 0.25;
		for (const [key, value] of Object.entries(changed)) if (typeof value === 'boolean') changed[key] = !value;
		if ('warmup' in changed) changed['warmup'] = 20;
		recipe.passes.difference.optimizer = changed as Recipe['passes']['difference']['optimizer'];
		expect(imported(exportTrainTrain(recipe).json).passes.difference.optimizer).toEqual(changed);
	});

	it.each(SCHEDULE_KINDS)('schedule %s', (kind) => {
		const recipe = defaultRecipe('sd15', 'lora');
		recipe.passes.difference.schedule = {
			...defaultSchedule(kind),
			...(kind === 'plateau' ? { smoothing: 0 } : {})
		};
		expect(imported(exportTrainTrain(recipe).json).passes.difference.schedule).toEqual(recipe.passes.difference.schedule);
	});

	it('any file of plain values is exported as it was imported', () => {
		const raw = fc.oneof(fc.string({ maxLength: 12 }), fc.boolean(), fc.integer({ min: -5, max: 2000 }), fc.constantFrom('4', '1e-4', '0.5', 'fp16', '', null));
		const block = fc.dictionary(fc.constantFrom(...Object.keys(STANDARD).filter((key) => key !== 'use_2nd_pass_settings')), raw, { minKeys: 1 });
		const names = { difference: 'Difference', addift: 'ADDifT', multiAddift: 'Multi-ADDifT', lora: 'LoRA', leco: 'iLECO' } as const;
		fc.assert(
			fc.property(block, fc.option(block), fc.boolean(), fc.constantFrom(...MODES), (first, second, flag, mode) => {
				const json: Json = { ...first, mode: names[mode], ...(second ? { '2nd pass': { ...second, use_2nd_pass_settings: flag } } : {}) };
				const result = importTrainTrain(json);
				// Numbers out of range are refused with their field; everything else comes back.
				if (!result.ok) expect(result.problems[0]?.where).not.toBe('');
				else expect(exportTrainTrain(result.recipe).json).toEqual(json);
			}),
			{ numRuns: 300 }
		);
	});
});
