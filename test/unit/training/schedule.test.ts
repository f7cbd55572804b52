import { describe, expect, it } from 'vitest';
import { alphaBar } from '../../../src/diffusion/schedule';
import { LossScaler, FIRST_SCALE } from '../../../src/training/loss-scale';
import { atTimesteps, drawStep } from '../../../src/training/noising';
import { ProgressMeter } from '../../../src/training/progress';
import { learningRateAt } from '../../../src/recipe/rates';

describe('learning rate', () => {
	it.each([
		[0, 1],
		[250, 0.853553],
		[500, 0.5],
		[750, 0.146447],
		[999, 2.467e-6],
		[1000, 0]
	])('cosine of 1000 at step %d is %d', (k, expected) => {
		expect(learningRateAt(k, 1, 1000, { kind: 'cosine', warmup: 0 })).toBeCloseTo(expected, 6);
	});

	it('rises in a line, then holds or falls', () => {
		const rates = (kind: 'constant' | 'cosine') => [0, 5, 10, 55, 99].map((k) => learningRateAt(k, 2, 100, { kind, warmup: 10 }));
		expect(rates('constant')).toEqual([0, 1, 2, 2, 2]);
		const cosine = rates('cosine');
		expect(cosine.slice(0, 3)).toEqual([0, 1, 2]);
		expect(cosine[3]).toBeCloseTo(1, 9);
		expect(cosine[4]).toBeLessThan(0.001);
	});
});

describe('draws of a step', () => {
	const settings = { batch: 2, timesteps: { min: 200, max: 800 }, minSnrGamma: 0 };

	it('are the same whenever they are drawn, and differ by seed and step', () => {
		expect(drawStep(11, 5, settings)).toEqual(drawStep(11, 5, settings));
		expect(drawStep(12, 5, settings).t).not.toEqual(drawStep(11, 5, settings).t);
		expect(Array.from({ length: 8 }, (_, k) => drawStep(11, k, settings).t[0])).not.toEqual(
			Array.from({ length: 8 }, (_, k) => drawStep(11, k + 1, settings).t[0])
		);
	});

	it('cover the range evenly, the end not included', () => {
		const all = Array.from({ length: 3000 }, (_, k) => [...drawStep(3, k, settings).t]).flat();
		expect(Math.min(...all)).toBeGreaterThanOrEqual(200);
		expect(Math.min(...all)).toBeLessThan(204);
		expect(Math.max(...all)).toBeLessThanOrEqual(799);
		expect(Math.max(...all)).toBeGreaterThan(795);
		for (const part of [0, 1, 2, 3, 4, 5]) {
			const share = all.filter((t) => t >= 200 + part * 100 && t < 300 + part * 100).length / all.length;
			expect(share).toBeGreaterThan(0.14);
			expect(share).toBeLessThan(0.195);
		}
	});

	it('count the noise on without overlap', () => {
		expect(drawStep(2 ** 32 + 5, 7, settings).counter).toEqual(Uint32Array.of(14, 0, 5, 1));
	});

	it('noise and weigh as min-SNR says', () => {
		const { coef, weight } = atTimesteps([0, 100, 147, 999], 5);
		expect(weight[0]).toBeCloseTo(0.004254, 6);
		expect(weight[1]).toBeCloseTo(0.591443, 5);
		expect([...weight.slice(2)]).toEqual([1, 1]);
		expect(coef[2]! ** 2).toBeCloseTo(alphaBar(100), 6);
		for (let i = 0; i < 4; i++) expect(coef[2 * i]! ** 2 + coef[2 * i + 1]! ** 2).toBeCloseTo(1, 6);
		expect([...atTimesteps([0, 100], 0).weight]).toEqual([1, 1]);
	});
});

describe('loss scale', () => {
	it('halves for every skipped step and doubles after a clean stretch', () => {
		const scaler = new LossScaler(true);
		expect(scaler.scale).toBe(FIRST_SCALE);
		scaler.update(2, 10);
		expect(scaler.scale).toBe(FIRST_SCALE / 4);
		for (let step = 20; step <= 400; step += 10) scaler.update(2, step);
		expect(scaler.scale).toBe(FIRST_SCALE / 4);
		scaler.update(2, 410);
		expect(scaler.scale).toBe(FIRST_SCALE / 2);
	});

	it('gives up when nothing helps, and does nothing for f32', () => {
		const scaler = new LossScaler(true);
		for (let i = 1; i < 10; i++) scaler.update(10 * i, 10 * i);
		expect(scaler.exhausted).toBe(true);
		const off = new LossScaler(false);
		off.update(5, 10);
		expect([off.scale, off.skipped, off.exhausted]).toEqual([1, 5, false]);
	});
});

describe('progress', () => {
	it('averages, measures the speed and foresees both passes', () => {
		let time = 0;
		const meter = new ProgressMeter('copier', { iterations: 100, batch: 2 }, [{ iterations: 50, batch: 4 }], () => time);
		time = 1000;
		const [first, second] = meter.report(1, [1, 0], (step) => step / 1000);
		expect(first).toMatchObject({ step: 1, steps: 100, loss: 1, lossAverage: 1, learningRate: 0.001 });
		// 2 steps a second: 98 of this pass and 50 of twice the batch.
		expect(second).toMatchObject({ step: 2, loss: 0, lossAverage: 0.9, stepsPerSecond: 2, etaSeconds: (98 + 100) / 2 });
		time = 60_000;
		meter.pause(2);
		time = 60_500;
		expect(meter.report(3, [NaN], () => 0)[0]).toMatchObject({ lossAverage: 0.9, stepsPerSecond: 2 });
	});
});
