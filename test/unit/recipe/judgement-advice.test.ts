import { describe, expect, it } from 'vitest';
import { defaultOptimizer } from '../../../src/recipe/optimizers';
import { advisePass, wayOf } from '../../../src/recipe/judgement-advice';
import { PRESETS } from '../../../src/recipe/presets';
import type { PassSettings } from '../../../src/recipe/recipe';

const preset = PRESETS.find(({ id }) => id === 'sdxl-copier');
if (!preset) throw new Error('no such preset');
const usual = preset.passes.difference;
const kinds = (change: Partial<PassSettings>, base = usual) => advisePass('sdxl', 'difference', 'difference', { ...base, ...change }).map(({ kind }) => kind);

describe('what a pass will probably do', () => {
	it('has nothing to say against any preset, in either pass', () => {
		for (const { family, passes } of PRESETS.filter(({ mode }) => mode === 'difference')) {
			for (const pass of ['copier', 'difference'] as const) {
				const bad = advisePass(family, 'difference', pass, passes[pass]).filter(({ kind }) => kind !== 'weak');
				expect(bad).toEqual([]);
			}
		}
	});

	it('names what the user of the month met: too little, and collapse', () => {
		expect(kinds({ iterations: usual.iterations / 10 })).toEqual(['noEffect']);
		expect(kinds({ learningRate: usual.learningRate / 4 })).toEqual(['weak']);
		expect(kinds({ learningRate: 10 * usual.learningRate })).toEqual(['collapse']);
		expect(kinds({ learningRate: 5 * usual.learningRate })).toEqual(['risky']);
		expect(kinds({ iterations: 20 * usual.iterations })).toEqual(['overflow']);
		expect(kinds({ rank: 8 * usual.rank, alpha: 8 * usual.alpha })).toEqual(['vessel']);
	});

	it('points at the field that holds it back, with a value that would do', () => {
		const small = { ...usual, alpha: usual.alpha / 8 };
		const [advice] = advisePass('sdxl', 'difference', 'difference', small);
		expect(advice?.field).toBe('alpha');
		const enough = { ...small, iterations: advice?.values.steps ?? 0 };
		expect(wayOf(enough) / wayOf(usual)).toBeGreaterThan(0.8);
		expect(advisePass('sdxl', 'difference', 'difference', { ...small, learningRate: advice?.values.rate ?? 0 })).toEqual([]);
	});

	it('knows that AdamW takes larger rates than Lion, and what it cannot judge', () => {
		const adamw = { ...usual, optimizer: defaultOptimizer('adamw') };
		expect(kinds({}, adamw)).toEqual(['weak']);
		expect(kinds({ learningRate: 5 * usual.learningRate }, adamw)).toEqual([]);
		expect(kinds({ learningRate: 1, optimizer: defaultOptimizer('prodigy') })).toEqual([]);
		expect(advisePass('sdxl', 'lora', 'difference', { ...usual, learningRate: 1 })).toEqual([]);
	});
});
