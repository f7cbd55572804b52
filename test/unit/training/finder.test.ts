import { describe, expect, it } from 'vitest';
import { adviseRate, breakOf, ramp, smoothRatios } from '../../../src/training/finder';

/** A network that learns from `wakes` on and breaks at `breaks`, with the jitter of fresh noise at every step. */
const climb = (wakes: number, breaks: number, rates = ramp(1e-6, 1e-1, 80)) =>
	rates.map((rate, i) => {
		const learnt = Math.max(0, Math.log10(rate / wakes));
		const level = rate > breaks ? 40 : Math.exp(-0.6 * learnt);
		return { rate, ratio: level * Math.exp(0.35 * Math.sin(37 * i)) };
	});

describe('learning-rate finder', () => {
	it('climbs by the same factor at every step', () => {
		const rates = ramp(1e-5, 1e-1, 5);
		expect(rates.map((rate) => Number(rate.toPrecision(3)))).toEqual([1e-5, 1e-4, 1e-3, 1e-2, 1e-1]);
		expect(ramp(1e-3, 1e-2, 1)).toEqual([1e-3]);
	});

	it.each([1e-4, 1e-3, 1e-2])('finds the break at %f and stays clear of it', (breaks) => {
		const advice = adviseRate(climb(breaks / 100, breaks));
		expect(advice?.reason).toBe('broke');
		expect((advice?.brokeAt ?? 0) / breaks).toBeGreaterThan(1);
		expect((advice?.brokeAt ?? 0) / breaks).toBeLessThan(2.5);
		expect(advice?.rate).toBeLessThan(breaks / 3);
		expect(advice?.lowest.value).toBeLessThan(0.7);
	});

	it('without a break takes the lowest point', () => {
		const advice = adviseRate(climb(1e-4, 1));
		expect(advice).toMatchObject({ reason: 'lowest', brokeAt: null });
		expect(advice?.rate).toBe(Number(advice?.lowest.rate.toPrecision(2)));
	});

	it('says when nothing was learnt', () => {
		expect(adviseRate(climb(10, 100))?.reason).toBe('nothing');
	});

	it('takes a loss that is not finite for a break, and says nothing on too few points', () => {
		const points = climb(1e-4, 1).map((point, i) => (i === 50 ? { ...point, ratio: NaN } : point));
		expect(breakOf(smoothRatios(points))).toBe(50);
		expect(adviseRate(points)?.brokeAt).toBe(points[50]?.rate);
		expect(adviseRate(points.slice(0, 4))).toBeUndefined();
	});
});
