import { describe, expect, test } from 'vitest';
import { smooth } from '../../../src/app/run/smooth';
import { en } from '../../../src/app/i18n/en/index';
import { ja } from '../../../src/app/i18n/ja/index';
import { verdictOf } from '../../../src/app/run/verdict';
import { advance, startView, stripCells, stripKey, timeline, trainedShare, type RunView } from '../../../src/app/run/view';
import { logTicks, valueRange } from '../../../src/app/ui/chart';
import { defaultRecipe } from '../../../src/recipe/defaults';
import type { PassName, RunEvent } from '../../../src/service/protocol';

function view(copier: number, difference: number): RunView {
	const recipe = defaultRecipe('mini');
	recipe.passes.copier.iterations = copier;
	recipe.passes.difference.iterations = difference;
	return startView('run', recipe, 1000);
}

const step = (pass: PassName, at: number, steps: number, loss: number): RunEvent => ({
	type: 'progress',
	pass,
	step: at,
	steps,
	loss,
	lossAverage: loss,
	learningRate: 1e-3,
	stepsPerSecond: 2,
	etaSeconds: 30
});
const play = (from: RunView, ...events: RunEvent[]) =>
	advance(
		from,
		events.map((event, i) => ({ time: 2000 + i, event }))
	);

describe('what a run shows', () => {
	test('steps, losses and time left of both passes on one axis', () => {
		const seen = play(view(2, 2), step('copier', 1, 2, 0.5), step('copier', 2, 2, 0.4), step('difference', 1, 2, 0.3));
		expect(trainedShare(seen)).toBe(0.75);
		expect(seen.pass).toBe('difference');
		expect(seen.etaSeconds).toBe(30);
		expect(timeline(seen)).toEqual({ steps: [1, 2, 3], copier: [0.5, 0.4, null], difference: [null, null, 0.3], rates: [1e-3, 1e-3, 1e-3] });
	});

	test('what it showed before stays untouched', () => {
		const before = view(2, 2);
		const after = play(before, step('copier', 1, 2, 0.5), { type: 'warning', problem: { level: 'warning', code: 'x', where: '', values: {}, message: '' } });
		expect(before.passes.copier.losses).toEqual([]);
		expect(before.warnings).toEqual([]);
		expect(after.passes.copier.losses).toEqual([0.5]);
	});

	test('probes, memory, pictures, files', () => {
		const picture = { width: 1, height: 1, data: new Uint8ClampedArray(4) };
		const seen = play(
			view(1, 1),
			{ type: 'probe', pass: 'copier', step: 1, base: 2, now: 1, bands: [], verdict: 'converged' },
			{ type: 'memory', pass: 'copier', planned: 5, allocated: 5 },
			{ type: 'preview', pass: 'copier', step: 1, seed: 7, strength: 1, picture },
			{ type: 'stripCell', seed: 7, strength: -0.5, picture },
			{ type: 'file', role: 'result', name: 'a.safetensors', step: 1, bytes: new ArrayBuffer(3) }
		);
		expect(seen.passes.copier).toMatchObject({ verdict: 'converged', probes: [{ step: 1, base: 2, now: 1 }], memory: { planned: 5, allocated: 5 } });
		expect(seen.previews).toHaveLength(1);
		expect(seen.strip.get(stripKey(7, -0.5))).toBe(picture);
		expect(seen.files.map((file) => file.name)).toEqual(['a.safetensors']);
	});

	test('what the probe says is said of now while a pass trains, and of its end afterwards', () => {
		const probe = (at: number): RunEvent => ({ type: 'probe', pass: 'copier', step: at, base: 2, now: 1, bands: [], verdict: 'learning' });
		const first = play(view(2, 2), step('copier', 1, 2, 1), probe(0));
		expect(verdictOf(first, 'copier', en.run)).toBeNull();
		const now = play(first, probe(1));
		expect(verdictOf(now, 'copier', en.run)).toMatchObject({ over: false, word: en.run.verdictWords.learning, sentence: en.run.verdicts.learning });
		const later = play(now, step('difference', 1, 2, 1));
		expect(verdictOf(later, 'copier', ja.run)).toMatchObject({ over: true, word: ja.run.endedWords.learning, sentence: ja.run.endedVerdicts.learning });
		expect(verdictOf(play(now, { type: 'ended', outcome: 'stopped' }), 'copier', en.run)).toMatchObject({ over: true });
	});

	test('the last pictures have a time left of their own', () => {
		const picture = { width: 1, height: 1, data: new Uint8ClampedArray(4) };
		const cell = (strength: number): RunEvent => ({ type: 'stripCell', seed: 7, strength, picture });
		const before = advance(view(1, 1), [{ time: 5000, event: { type: 'state', state: 'sampling' } }]);
		expect(before.etaSeconds).toBeNull();
		const two = advance(before, [
			{ time: 6000, event: cell(0) },
			{ time: 6500, event: { type: 'state', state: 'sampling' } },
			{ time: 9000, event: cell(1) }
		]);
		expect(two.etaSeconds).toBe(2 * (stripCells(two) - 2));
	});

	test('the end: outcome, its problem, no time left', () => {
		const problem = { level: 'error' as const, code: 'lost', where: 'gpu', values: {}, message: 'lost' };
		const seen = play(view(1, 1), step('copier', 1, 1, 1), { type: 'ended', outcome: 'failed', problem });
		expect(seen).toMatchObject({ outcome: 'failed', state: 'failed', problem, etaSeconds: null, ended: 2001 });
	});
});

describe('smoothing', () => {
	test('keeps what is constant, and everything at 0', () => {
		expect(smooth([3, 3, 3, 3], 0.9).every((value) => Math.abs(value - 3) < 1e-12)).toBe(true);
		expect(smooth([1, 5, 2], 0)).toEqual([1, 5, 2]);
		expect(smooth([], 0.9)).toEqual([]);
	});

	test('has no lag: a peak stays where it was', () => {
		const values = Array.from({ length: 41 }, (_, i) => (i === 20 ? 1 : 0));
		const smoothed = smooth(values, 0.7);
		expect(smoothed.indexOf(Math.max(...smoothed))).toBe(20);
		expect(smoothed[18]).toBeCloseTo(smoothed[22] ?? 0, 3);
	});
});

describe('axes', () => {
	const curve = (...values: (number | null)[]) => ({ label: '', colour: '', values });

	test('the range holds all curves; zero, gaps and infinities do not count', () => {
		expect(valueRange([curve(0.01, null, 0), curve(0.2, Infinity, Number.NaN)], true)).toEqual([0.008, 0.25]);
		expect(valueRange([curve(2)], false)).toEqual([0, 2.16]);
		expect(valueRange([], true)).toEqual([0.001, 1]);
	});

	test('logarithmic ticks are 1, 2 and 5 of each decade', () => {
		expect(logTicks(0.004, 0.3)).toEqual([0.005, 0.01, 0.02, 0.05, 0.1, 0.2]);
	});
});
