import { describe, expect, it } from 'vitest';
import { short } from '../../../src/app/format';
import { rates as en } from '../../../src/app/i18n/en/rates';
import { rates as ja } from '../../../src/app/i18n/ja/rates';
import { curveInWords, ownFields, rateCurve, shownValue, valueText } from '../../../src/app/train/rates';
import { factorMemory } from '../../../src/kernels/optimizer-state';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { defaultOptimizer, OPTIMIZER_KINDS, rememberedBytes } from '../../../src/recipe/optimizers';
import type { OptimizerSettings } from '../../../src/recipe/optimizers';
import { defaultSchedule, SCHEDULE_KINDS } from '../../../src/recipe/schedules';
import { parseRecipe } from '../../../src/recipe/schema';

const optimizers = OPTIMIZER_KINDS.map((kind) => defaultOptimizer(kind) as OptimizerSettings);
const fields = [...optimizers.map((own) => ownFields(own, 'optimizer')), ...SCHEDULE_KINDS.map((kind) => ownFields(defaultSchedule(kind), 'schedule'))].flat();

describe('settings of optimizers and schedules in the form', () => {
	it('every setting of every kind has a label and a line in both languages, and no text is left over', () => {
		const keys = [...new Set(fields.map(({ key }) => key))].sort();
		for (const texts of [en, ja]) expect(Object.keys(texts.fields).sort()).toEqual(keys);
		for (const texts of [en, ja]) expect(Object.keys(texts.optimizers).sort()).toEqual([...OPTIMIZER_KINDS].sort());
	});

	it('what a field shows is read back as the same value', () => {
		for (const { control, value, parse } of fields) if (control === 'typed') expect(parse(valueText(value))).toEqual(value);
		for (const { control, choices, value } of fields) if (control === 'choice') expect(choices).toContain(value);
		expect(fields.filter(({ control }) => control === 'choice').map(({ standard }) => shownValue(standard, ja))).toContain('三角');
	});

	it('a setting out of range is refused at its own place', () => {
		const recipe = defaultRecipe('sd15');
		recipe.passes.difference.schedule = { ...defaultSchedule('piecewise'), rules: '1:500,' };
		const parsed = parseRecipe(recipe);
		expect(parsed.problems.filter(({ level }) => level === 'error')).toMatchObject([{ code: 'recipe.badRules', where: 'passes.difference.schedule.rules' }]);
	});

	it('the memory said is the memory taken', () => {
		const all: OptimizerSettings[] = [...optimizers, { ...defaultOptimizer('lion'), stateBits: 8 }, { ...defaultOptimizer('adamw'), stateBits: 8 }];
		for (const settings of all) {
			const { values, training } = factorMemory([{ name: 'a', shape: [512, 4096] }], settings);
			const bytes = ((training - values) / values) * 4;
			// Row and column means, scales of blocks and counters come on top.
			expect(bytes - rememberedBytes(settings), settings.kind).toBeGreaterThanOrEqual(0);
			expect(bytes - rememberedBytes(settings), settings.kind).toBeLessThan(0.05);
		}
	});
});

describe('the curve of the rate', () => {
	const pass = { ...defaultRecipe('sd15').passes.copier, schedule: defaultSchedule('cosine') };

	it('goes from the first step to the last', () => {
		for (const iterations of [1, 7, 5000]) {
			const { steps, rates } = rateCurve({ ...pass, iterations });
			expect([steps[0], steps.at(-1)]).toEqual([0, iterations - 1]);
			expect(new Set(steps).size).toBe(steps.length);
			expect(rates[0]).toBe(pass.learningRate);
		}
	});

	it('is said in words, and says when it is not used', () => {
		expect(curveInWords('Copier', pass, en)).toContain(`starts at ${short(pass.learningRate)}`);
		const adafactor = { ...pass, optimizer: defaultOptimizer('adafactor') };
		expect(curveInWords('Copier', adafactor, en)).toBe(en.curveUnused('Copier'));
		expect(curveInWords('Copier', { ...adafactor, optimizer: { ...adafactor.optimizer, relativeStep: false } }, en)).not.toBe(en.curveUnused('Copier'));
		expect(curveInWords('A', { ...pass, schedule: defaultSchedule('plateau') }, ja)).toContain(ja.curveStall('A'));
	});
});
