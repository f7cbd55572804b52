import { describe, expect, it } from 'vitest';
import { PROBE_POINTS, probeLoss, probePoints, probeVerdict } from '../../../src/training/probe';

const shape = { height: 4, width: 4, channels: 4 };
const latent = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
const settings = { timesteps: { min: 0, max: 1000 }, minSnrGamma: 0 };

describe('probe', () => {
	const points = probePoints(latent, shape, settings);

	it('stands at the middle of eight parts, always with the same noise', () => {
		expect(points.t).toEqual([62, 187, 312, 437, 562, 687, 812, 937]);
		expect(probePoints(latent, shape, settings)).toEqual(points);
		expect(new Set(points.noise.map((n) => n[0])).size).toBe(PROBE_POINTS);
	});

	it('is zero for a perfect prediction and the mean square otherwise', () => {
		const perfect = Float32Array.from(points.noise.flatMap((n) => [...n]));
		expect(probeLoss(points, perfect, 'mse')).toBe(0);
		const off = perfect.map((x) => x + 0.5);
		expect(probeLoss(points, off, 'mse')).toBeCloseTo(0.25, 5);
		expect(probeLoss(points, off, 'l1')).toBeCloseTo(0.5, 5);
		expect(probeLoss(points, off, 'smoothL1')).toBeCloseTo(0.125, 5);
	});
});

describe('verdict', () => {
	it.each([
		['nothing yet', 1, [], 'notYet'],
		['falling', 1, [0.8, 0.6, 0.4, 0.3, 0.2], 'notYet'],
		['flat and low', 1, [0.5, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1], 'converged'],
		['flat but high', 1, [0.9, 0.9, 0.9, 0.9, 0.9, 0.9], 'notYet'],
		['above its start and rising', 1, [1, 1.6, 1.8], 'collapsing'],
		['overshooting, then coming down', 1, [1, 2.2, 1.9], 'notYet'],
		['once above its start', 1, [1, 1.6], 'notYet'],
		['climbing back', 1, [0.5, 0.2, 0.1, 0.8], 'collapsing'],
		['not a number', 1, [0.5, NaN], 'collapsing']
	])('%s', (_, base, values, verdict) => {
		expect(probeVerdict(base, values)).toBe(verdict);
	});
});
