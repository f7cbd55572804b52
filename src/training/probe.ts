/**
 * The probe: the loss at noises and timesteps that never change, so that the curve shows the network and not the luck of the draw.
 *
 * Rules
 * - Eight points: timesteps in the middle of eight equal parts of the pass's range, noise from a fixed seed. "base" is the same without the trained network
 *   (in pass 2: with the copier alone).
 * - Verdict: `collapsing` when the value is not finite, or above 1.5 × base twice in a row without falling, or, after having been below 0.7 × base,
 *   above that again and above 2.5 × the best; `converged` when it is below 0.6 × base and
 *   the last four probes have not beaten the best before them by 3 %; `notYet` otherwise.
 *   Why these: a copier that reproduces its picture falls to a tenth or so of base on the mini model, to about half on SDXL, whose copier stays inexact; a run with too high a rate first
 *   falls and then climbs back over its start. A large rate of AdamW may first overshoot and then come down (the mini model's default does): no alarm for that.
 */
import { channelsLast, nvNormal } from '../diffusion/noise';
import type { PassSettings } from '../recipe/recipe';
import type { ProbeVerdict } from './events';
import { atTimesteps } from './noising';

export const PROBE_POINTS = 8;
const PROBE_SEED = 0x70726f62;

export interface ProbePoints {
	readonly t: readonly number[];
	/** Per point `[h, w, 4]`. */
	readonly noise: readonly Float32Array[];
	/** Noised latents `[points, h, w, 4]`. */
	readonly noised: Float32Array;
	readonly weight: Float32Array;
}

/** @param latent `[h, w, channels]` */
export function probePoints(
	latent: Float32Array,
	shape: { height: number; width: number; channels: number },
	settings: Pick<PassSettings, 'timesteps' | 'minSnrGamma'>
): ProbePoints {
	const { min, max } = settings.timesteps;
	const t = Array.from({ length: PROBE_POINTS }, (_, k) => min + Math.floor(((k + 0.5) / PROBE_POINTS) * (max - min)));
	const { coef, weight } = atTimesteps(t, settings.minSnrGamma);
	const noise = t.map((_, k) => channelsLast(nvNormal(PROBE_SEED, k, latent.length), shape));
	const noised = new Float32Array(PROBE_POINTS * latent.length);
	noise.forEach((n, k) => {
		const [a, s] = [coef[2 * k] ?? 0, coef[2 * k + 1] ?? 0];
		for (let i = 0; i < latent.length; i++) noised[k * latent.length + i] = a * (latent[i] ?? 0) + s * (n[i] ?? 0);
	});
	return { t, noise, noised, weight };
}

/** Mean weighted loss of predictions `[points, h, w, 4]`. */
export function probeLoss(points: ProbePoints, prediction: Float32Array, kind: PassSettings['loss']): number {
	const size = prediction.length / PROBE_POINTS;
	let total = 0;
	points.noise.forEach((noise, k) => {
		let sum = 0;
		for (let i = 0; i < size; i++) {
			const d = Math.abs((prediction[k * size + i] ?? 0) - (noise[i] ?? 0));
			sum += kind === 'mse' ? d * d : kind === 'l1' ? d : d < 1 ? 0.5 * d * d : d - 0.5;
		}
		total += ((points.weight[k] ?? 1) * sum) / size;
	});
	return total / PROBE_POINTS;
}

/** @param values all probes of the pass so far, the latest last */
export function probeVerdict(base: number, values: readonly number[]): ProbeVerdict {
	const now = values.at(-1);
	if (now === undefined) return 'notYet';
	const best = Math.min(...values.filter(Number.isFinite), Infinity);
	const last = values.at(-2) ?? 0;
	const climbs = last > 1.5 * base && now >= last;
	const climbsBack = best < 0.7 * base && now > 2.5 * best && now > 0.7 * base;
	if (!Number.isFinite(now) || climbs || climbsBack) return 'collapsing';
	const before = Math.min(...values.slice(0, -4));
	const recent = Math.min(...values.slice(-4));
	return values.length > 4 && now < 0.6 * base && recent > 0.97 * before ? 'converged' : 'notYet';
}
