import { describe, expect, it } from 'vitest';
import { baseAt, noisedAt, PROBE_POINTS, probeBands, probeLosses, probePoints, targetsAt } from '../../../src/training/probe';
import { hopeless, judge, shouldEnd } from '../../../src/training/verdict';

const shape = { height: 4, width: 4, channels: 4 };
const latent = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
const settings = { timesteps: { min: 0, max: 1000 }, minSnrGamma: 0 };

describe('probe', () => {
	const points = probePoints(shape, settings);
	const target = targetsAt(points, latent, 'epsilon');

	it('stands at the middle of eight parts, always with the same noise', () => {
		expect(points.t).toEqual([62, 187, 312, 437, 562, 687, 812, 937]);
		expect(probePoints(shape, settings)).toEqual(points);
		expect(new Set(points.noise.map((n) => n[0])).size).toBe(PROBE_POINTS);
	});

	it('is zero for a perfect prediction and the mean square otherwise', () => {
		expect(probeLosses(points, target, target, 'mse')).toEqual(points.t.map(() => 0));
		const off = target.map((x) => x + 0.5);
		expect(probeLosses(points, off, target, 'mse')[3]).toBeCloseTo(0.25, 5);
		expect(probeLosses(points, off, target, 'l1')[3]).toBeCloseTo(0.5, 5);
		expect(probeLosses(points, off, target, 'smoothL1')[3]).toBeCloseTo(0.125, 5);
	});

	it('counts only what the mask lets through', () => {
		const mask = Float32Array.from({ length: 16 }, (_, i) => (i < 4 ? 1 : 0));
		const off = target.map((x, i) => x + (i % 64 < 16 ? 0 : 1));
		expect(probeLosses(points, off, target, 'mse', mask)).toEqual(points.t.map(() => 0));
	});

	it('wants noise or velocity, which together give the picture back', () => {
		const [x, v] = [noisedAt(points, latent), targetsAt(points, latent, 'v')];
		const [a, s] = [points.coef[6] ?? 0, points.coef[7] ?? 0];
		for (let i = 0; i < 64; i++) expect(a * (x[3 * 64 + i] ?? 0) - s * (v[3 * 64 + i] ?? 0)).toBeCloseTo(latent[i] ?? 0, 4);
	});

	it('makes bands of neighbours and knows what to expect between the points', () => {
		const base = points.t.map((_, k) => 2 ** k);
		const now = base.map((x) => x / 4);
		const bands = probeBands(points, base, now);
		expect(bands.map(({ min, max }) => [min, max])).toEqual([
			[0, 250],
			[250, 500],
			[500, 750],
			[750, 1000]
		]);
		expect(bands[1]).toMatchObject({ base: 6, now: 1.5 });
		expect(baseAt(points, base, 312)).toBeCloseTo(4);
		expect(baseAt(points, base, 0)).toBeCloseTo(1);
		expect(baseAt(points, base, 999)).toBeCloseTo(128);
		expect(baseAt(points, base, (312 + 437) / 2)).toBeCloseTo(Math.SQRT2 * 4, 1);
	});
});

/** Readings at equal distances over a whole pass. */
const history = (ratios: readonly number[], base = 0.02) => {
	const steps = ratios.length * 10;
	return {
		readings: ratios.map((ratio, i) => ({ step: (i + 1) * 10, now: ratio * base })),
		frame: { base, steps, enough: 0.7, spent: (step: number) => step / steps }
	};
};
const verdictOf = (ratios: readonly number[], steps = ratios.length * 10, base = 0.02) => {
	const { readings } = history(ratios, base);
	return judge(readings, { base, steps, enough: 0.7, spent: (step) => step / steps });
};

describe('verdict', () => {
	it.each([
		['nothing yet', [], 100, 'notYet'],
		['the first sign', [0.9], 100, 'learning'],
		['falling', [0.8, 0.6, 0.4, 0.3, 0.2], 100, 'learning'],
		['flat and low', [0.5, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], 90, 'converged'],
		['flat and low, but only for a moment of a long pass', [0.5, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], 2000, 'learning'],
		['flat but high', [0.99, 0.99, 0.98, 0.98, 0.98, 0.98], 100, 'notConverging'],
		['too slow: ends above four fifths', [0.99, 0.98, 0.97, 0.96, 0.95, 0.94], 100, 'notConverging'],
		['as slow, but with a long way to go', [0.99, 0.97, 0.95, 0.93, 0.91, 0.89], 200, 'learning'],
		['far above its start', [7, 40, 60], 100, 'collapsed'],
		['overshooting, then coming down', [2.1, 2.4, 1.3, 1.1, 0.8, 0.6], 300, 'learning'],
		[
			'low enough, but falling to the end as the rate is spent',
			Array.from({ length: 12 }, (_, i) => Math.min(0.97, 0.36 * ((i + 1) / 12) ** -0.8)),
			120,
			'notConverging'
		],
		['far under what is enough, and falling to the last', [0.58, 0.35, 0.24, 0.18, 0.14, 0.12, 0.1, 0.09, 0.081, 0.074], 100, 'learning'],
		['low, and falling ever less', Array.from({ length: 12 }, (_, i) => Math.min(0.97, 0.36 * ((i + 1) / 12) ** -0.3)), 120, 'learning'],
		['climbing back over its start', [0.5, 0.2, 0.1, 0.8, 0.9, 1.1], 300, 'collapsed'],
		['rising from its best', [0.5, 0.2, 0.2, 0.2, 0.34, 0.36, 0.38, 0.4, 0.42], 100, 'overfitting'],
		['not a number', [0.5, NaN], 100, 'collapsed']
	])('%s', (_, ratios, steps, verdict) => {
		expect(verdictOf(ratios, steps)).toBe(verdict);
	});

	it('does not flicker: one stray reading changes nothing, two in a row do', () => {
		const calm = [0.6, 0.4, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3];
		expect(verdictOf(calm, 90)).toBe('converged');
		expect(verdictOf([...calm, 3], 100)).toBe('converged');
		expect(verdictOf([...calm, 0.29], 100)).toBe('converged');
		expect(verdictOf([...calm, 0.2, 0.15, 0.1], 120)).toBe('learning');
	});

	it('where the base is large, less is hopeless', () => {
		expect(hopeless(0.01)).toBe(6);
		expect(hopeless(0.3)).toBeCloseTo(3);
		expect(hopeless(0.9)).toBe(2.5);
		expect(verdictOf([3.5, 3.5, 3.5], 100, 0.3)).toBe('collapsed');
		expect(verdictOf([3.5, 3.5, 3.5], 100, 0.02)).not.toBe('collapsed');
	});

	it('ends a converged pass only after it has stayed so, and not in its first fifth', () => {
		const flat = [0.6, 0.4, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3];
		const { readings, frame } = history(flat);
		expect(shouldEnd(readings, frame)).toBe(false);
		const longer = history([...flat, 0.3, 0.3, 0.3]);
		expect(shouldEnd(longer.readings, longer.frame)).toBe(true);
		expect(shouldEnd(longer.readings, { ...longer.frame, steps: 100_000 })).toBe(false);
		const falling = history(Array.from({ length: 20 }, (_, i) => 0.9 ** (i + 1)));
		expect(shouldEnd(falling.readings, falling.frame)).toBe(false);
	});
});
