/**
 * The probe: the loss at noises and timesteps that never change, so that the curve shows the network and not the luck of the draw. What the curve means says `verdict.ts`.
 *
 * Rules
 * - Eight points: timesteps in the middle of eight equal parts of the pass's range, noise from a fixed seed; two neighbours make a band, so four bands tell coarse
 *   (noisy) from fine timesteps. "base" is the same without the trained network (in pass 2 of a difference run: with the copier alone).
 * - The loss is the objective's own: against the noise, the velocity a·n − s·x₀ (models of velocity prediction), or a teacher's prediction; where there is a mask, over it.
 */
import { channelsLast, nvNormal } from '../diffusion/noise';
import type { PassSettings } from '../recipe/recipe';
import type { ProbeBand } from './events';
import { atTimesteps } from './noising';

export const PROBE_POINTS = 8;
const BANDS = 4;
const PROBE_SEED = 0x70726f62;

interface LatentShape {
	readonly height: number;
	readonly width: number;
	readonly channels: number;
}

export interface ProbePoints {
	readonly t: readonly number[];
	/** The pass's timesteps; the end is not included. */
	readonly range: { readonly min: number; readonly max: number };
	/** Per point `[h, w, 4]`. */
	readonly noise: readonly Float32Array[];
	/** Per point (√ᾱ, √(1−ᾱ)). */
	readonly coef: Float32Array;
	readonly weight: Float32Array;
}

export function probePoints(shape: LatentShape, settings: Pick<PassSettings, 'timesteps' | 'minSnrGamma'>): ProbePoints {
	const { min, max } = settings.timesteps;
	const t = Array.from({ length: PROBE_POINTS }, (_, k) => min + Math.floor(((k + 0.5) / PROBE_POINTS) * (max - min)));
	const { coef, weight } = atTimesteps(t, settings.minSnrGamma);
	const noise = t.map((_, k) => channelsLast(nvNormal(PROBE_SEED, k, shape.height * shape.width * shape.channels), shape));
	return { t, range: { min, max }, noise, coef, weight };
}

/** a·x + b·n at every point: `[points, h, w, 4]`. */
function blend(points: ProbePoints, latent: Float32Array, factors: (a: number, s: number) => readonly [ofLatent: number, ofNoise: number]): Float32Array {
	const size = latent.length;
	const out = new Float32Array(PROBE_POINTS * size);
	points.noise.forEach((noise, k) => {
		const [x, n] = factors(points.coef[2 * k] ?? 0, points.coef[2 * k + 1] ?? 0);
		for (let i = 0; i < size; i++) out[k * size + i] = x * (latent[i] ?? 0) + n * (noise[i] ?? 0);
	});
	return out;
}

/** The noised latents `[points, h, w, 4]`. @param latent `[h, w, 4]` */
export function noisedAt(points: ProbePoints, latent: Float32Array): Float32Array {
	return blend(points, latent, (a, s) => [a, s]);
}

/** What a model should predict `[points, h, w, 4]`: the noise, or the velocity. */
export function targetsAt(points: ProbePoints, latent: Float32Array, prediction: 'epsilon' | 'v'): Float32Array {
	return blend(points, latent, (a, s) => (prediction === 'v' ? [-s, a] : [0, 1]));
}

/**
 * Weighted loss of each point.
 * @param prediction `[points, h, w, 4]` @param target the same @param mask `[h, w]`, 0…1
 */
export function probeLosses(points: ProbePoints, prediction: Float32Array, target: Float32Array, kind: PassSettings['loss'], mask?: Float32Array): number[] {
	const size = prediction.length / PROBE_POINTS;
	return points.t.map((_, k) => {
		let sum = 0;
		for (let i = 0; i < size; i++) {
			const d = Math.abs((prediction[k * size + i] ?? 0) - (target[k * size + i] ?? 0));
			const each = kind === 'mse' ? d * d : kind === 'l1' ? d : d < 1 ? 0.5 * d * d : d - 0.5;
			sum += mask ? each * (mask[i >> 2] ?? 0) : each;
		}
		return ((points.weight[k] ?? 1) * sum) / size;
	});
}

export function mean(values: readonly number[]): number {
	return values.reduce((a, b) => a + b, 0) / values.length;
}

/** Neighbouring points together. */
export function probeBands({ range }: ProbePoints, base: readonly number[], now: readonly number[]): ProbeBand[] {
	const per = PROBE_POINTS / BANDS;
	const edge = (band: number): number => range.min + Math.floor((band / BANDS) * (range.max - range.min));
	return Array.from({ length: BANDS }, (_, band) => {
		const part = (values: readonly number[]): number => mean(values.slice(band * per, (band + 1) * per));
		return { min: edge(band), max: edge(band + 1), base: part(base), now: part(now) };
	});
}

/**
 * The loss that a network which does nothing has at a timestep: between the points along a straight line of the logarithm, beyond them as at the last.
 * @param base loss of each point without the trained network
 */
export function baseAt(points: Pick<ProbePoints, 't'>, base: readonly number[], t: number): number {
	const above = points.t.findIndex((point) => point >= t);
	const last = points.t.length - 1;
	const i = above === -1 ? last : Math.max(1, above);
	const [t0, t1] = [points.t[i - 1] ?? 0, points.t[i] ?? 0];
	const share = t1 === t0 ? 1 : Math.min(1, Math.max(0, (t - t0) / (t1 - t0)));
	return Math.exp((1 - share) * Math.log(base[i - 1] ?? NaN) + share * Math.log(base[i] ?? NaN));
}
