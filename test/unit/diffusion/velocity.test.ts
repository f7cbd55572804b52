/** Velocity prediction: its noise comes back out, and its loss weights are min-SNR's in that form. */
import { describe, expect, it } from 'vitest';
import { minSnrWeight, noiseCoefficients, noiseOfVelocity, snr, velocityMinSnrWeight } from '../../../src/diffusion/schedule';
import { drawStep } from '../../../src/training/noising';

describe('velocity', () => {
	it.each([0, 37, 500, 999])('holds the noise of step %i', (t) => {
		const [a, s] = noiseCoefficients(t);
		const picture = [0.3, -1.2, 2];
		const noise = [1, -0.5, 0.25];
		const noised = Float32Array.from(picture, (x, i) => a * x + s * (noise[i] ?? 0));
		const velocity = Float32Array.from(noise, (n, i) => a * n - s * (picture[i] ?? 0));
		noiseOfVelocity(velocity, noised, t).forEach((n, i) => expect(n).toBeCloseTo(noise[i] ?? 0, 5));
	});

	it('weighs the noisy steps down as its own form of min-SNR does', () => {
		for (const t of [0, 100, 600, 999]) {
			expect(velocityMinSnrWeight(t, 0)).toBe(1);
			// min(SNR, γ)/(SNR + 1) is the noise's form times SNR/(SNR + 1).
			expect(velocityMinSnrWeight(t, 5)).toBeCloseTo((minSnrWeight(t, 5) * snr(t)) / (snr(t) + 1), 10);
		}
		const settings = { batch: 3, timesteps: { min: 0, max: 1000 }, minSnrGamma: 5 };
		const draw = drawStep(7, 4, settings, 'v');
		expect([...draw.weight]).toEqual([...draw.t].map((t) => Math.fround(velocityMinSnrWeight(t, 5))));
		expect(new Set(drawStep(7, 4, { ...settings, sharedTimesteps: true }).t).size).toBe(1);
		expect(new Set(draw.t).size).toBe(3);
	});
});
