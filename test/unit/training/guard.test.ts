import { describe, expect, it } from 'vitest';
import { afterRollback, look, lookEvery, newGuard, worthKeeping } from '../../../src/training/guard';
import type { GuardReading, GuardState } from '../../../src/training/guard';
import { alarmOf, curves, histories, verdictsOf, verdictsOfCurve } from './histories';

const calm = (n: number, level = 0.5) => Array.from({ length: n }, (_, i) => ({ loss: 0.02 * level * Math.exp(0.4 * Math.sin(7 * i)), expected: 0.02 }));
const reading = (change: Partial<GuardReading> = {}): GuardReading => ({
	losses: calm(10),
	base: 0.02,
	skipped: 0,
	norm: 30,
	verdict: 'learning',
	spent: 0.2,
	...change
});
/** After four healthy looks. */
const settled = (): GuardState => [1, 2, 3, 4].reduce((state) => look(state, reading()).state, newGuard());

describe('guard', () => {
	it('leaves a healthy run alone', () => {
		let state = newGuard();
		for (let i = 0; i < 20; i++) {
			const found = look(state, reading({ norm: 30 * 1.1 ** i, losses: calm(10, 0.9 ** i) }));
			expect(found.alarm).toBeNull();
			state = found.state;
		}
	});

	it.each([
		['losses that are not numbers', { losses: [...calm(7), ...calm(3).map((one) => ({ ...one, loss: NaN }))] }, 'notFinite'],
		['a loss far above what a network that does nothing has', { losses: calm(10, 8) }, 'loss'],
		['weights that grow at a stroke', { norm: 45 }, 'norm'],
		['weights that are not numbers', { norm: NaN }, 'norm'],
		['a collapsed probe', { verdict: 'collapsed' }, 'probe']
	] as const)('sees %s', (_, change, reason) => {
		expect(look(settled(), reading(change)).alarm?.reason).toBe(reason);
	});

	it('sees gradients that are not finite over and over, once the loss scale has been found', () => {
		const found = look(settled(), reading({ skipped: 8 }));
		expect(found.alarm).toBeNull();
		expect(look(found.state, reading({ skipped: 12 })).alarm).toBeNull();
		expect(look(found.state, reading({ skipped: 15 })).alarm).toMatchObject({ reason: 'notFinite', value: 7 });
	});

	it('sees a loss that rises and stays up, still under its base, at the second look', () => {
		const low = [1, 2, 3, 4].reduce((state) => look(state, reading({ losses: calm(10, 0.1) })).state, newGuard());
		const first = look(low, reading({ losses: calm(10, 0.9) }));
		expect(first.alarm).toBeNull();
		expect(look(first.state, reading({ losses: calm(10, 0.9) })).alarm?.reason).toBe('loss');
		expect(look(first.state, reading({ losses: calm(10, 0.1) })).alarm).toBeNull();
	});

	it('lets a network overshoot while the rate is high, and not when half of the rate is spent', () => {
		const over = calm(10, 4);
		expect(look(newGuard(), reading({ losses: over })).alarm).toBeNull();
		expect(look(newGuard(), reading({ losses: over, spent: 0.6 })).alarm).toMatchObject({ reason: 'loss', limit: 2.5 });
		expect(look(newGuard(), reading({ losses: calm(10, 1.5), spent: 0.6 })).alarm).toBeNull();
	});

	it('goes back to no network that is clearly worse than none, where that is known', () => {
		const after = (level: number, known = true) =>
			worthKeeping(look(newGuard(), reading({ losses: calm(10, level).map((one) => (known ? one : { ...one, expected: undefined })) })).state);
		expect([after(0.5), after(1), after(3)]).toEqual([true, true, false]);
		expect(after(3, false)).toBe(true);
		expect(worthKeeping(newGuard())).toBe(true);
	});

	it('lets single outliers pass, and the search for the loss scale at the beginning', () => {
		const outlier = calm(10);
		outlier[4] = { loss: 5, expected: 0.02 };
		expect(look(settled(), reading({ losses: outlier })).alarm).toBeNull();
		expect(look(settled(), reading({ losses: calm(10).map((one, i) => (i === 3 ? { ...one, loss: Infinity } : one)) })).alarm).toBeNull();
		expect(look(newGuard(), reading({ skipped: 7 })).alarm).toBeNull();
	});

	it('halves the rate at every rollback and starts to count afresh', () => {
		const twice = afterRollback(afterRollback(settled(), 30), 30);
		expect(twice).toMatchObject({ factor: 0.25, rollbacks: 2, window: [], norm: 30 });
		expect(look(twice, reading()).alarm).toBeNull();
	});

	it('survives being written down', () => {
		const state = settled();
		expect(look(JSON.parse(JSON.stringify(state)) as GuardState, reading({ norm: 45 }))).toEqual(look(state, reading({ norm: 45 })));
	});

	it('looks more often in short passes', () => {
		expect([10, 60, 120, 100_000].map(lookEvery)).toEqual([2, 5, 10, 10]);
	});
});

/** Recorded on the mini model: the usual rates, a tenth and ten times of them. */
describe('recorded runs', () => {
	const named = (part: string) => histories.filter(({ name }) => name.includes(part));
	const end = (run: (typeof histories)[number]) => run.probes.at(-1)?.reduce((sum: number, x) => sum + (x ?? Infinity), 0) ?? Infinity;
	const start = (run: (typeof histories)[number]) => run.probes[0]?.reduce((sum: number, x) => sum + (x ?? Infinity), 0) ?? 0;
	/** Those that learnt something in the end. */
	const healthy = histories.filter((run) => end(run) < 0.95 * start(run) && !run.name.startsWith('addift-Lion-x10'));
	const broken = histories.filter((run) => end(run) > 6 * start(run));

	it('are both good and bad', () => {
		expect(healthy.length).toBeGreaterThan(12);
		expect(broken.length).toBeGreaterThan(3);
	});

	it('no alarm in any run that learns, with and without knowing what to expect', () => {
		for (const run of healthy) for (const blind of [false, true]) expect(alarmOf(run, { blind }), run.name).toBeNull();
	});

	it('every run that breaks is caught within twenty steps, by its losses and weights alone', () => {
		for (const run of broken) expect(alarmOf(run, { probe: false })?.step, run.name).toBeLessThanOrEqual(20);
		for (const run of broken) expect(alarmOf(run, { blind: true, probe: false }), run.name).not.toBeNull();
	});

	const usual = named('x1').filter(({ name }) => !name.includes('x10'));

	it('a tenth of the rate ends as "not converging" in every pass, however often one looks', () => {
		expect(named('x0.1').length).toBe(6);
		for (const take of [1, 2]) {
			const enough = named('x0.1').filter(({ steps, every }) => steps / every / take >= 8);
			expect(enough.length).toBeGreaterThan(3);
			for (const run of enough) expect(verdictsOf(run, take).at(-1), run.name).toBe('notConverging');
		}
	});

	it('the usual rate is never called so', () => {
		for (const take of [1, 2, 3]) for (const run of usual) expect(verdictsOf(run, take), `${run.name}, every ${take}`).not.toContain('notConverging');
	});

	it('nor is it in this engine, and there too a tenth of it is', () => {
		for (const curve of curves) expect(verdictsOfCurve(curve).at(-1) === 'notConverging', curve.name).toBe(curve.name.endsWith('x0.1'));
	});

	it('what breaks is called collapsed and nothing else is', () => {
		for (const run of histories) expect(verdictsOf(run).includes('collapsed'), run.name).toBe(broken.includes(run));
	});
});
