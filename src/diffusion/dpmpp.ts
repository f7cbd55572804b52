/**
 * DPM++ 2M: a second-order multistep solver of the diffusion ODE in data prediction. With D the denoised latent and λ = −ln σ:
 *   h = λ' − λ,  r = h_before / h,  D̃ = (1 + 1/2r)·D − 1/2r·D_before,  x' = (σ'/σ)·x − (e^{−h} − 1)·D̃
 * The first step and the last one, to σ' = 0, are first order (D̃ = D). Works in sigma space like `eulerAncestral`; no noise beyond the first tensor.
 * Source: Lu et al. 2022 (arXiv 2211.01095), algorithm 2; conventions of WebUI, whose default pairs it with Karras sigmas.
 */
import type { NoiseSource } from './noise';
import type { Denoise, SamplerOptions } from './samplers';
import { karrasSigmas, stepOfSigma } from './schedule';

/** @param noise its first tensor starts @returns the latent, still scaled */
export async function dpmpp2m(denoise: Denoise, noise: NoiseSource, { steps, onStep }: SamplerOptions): Promise<Float32Array> {
	if (!Number.isInteger(steps) || steps < 1) throw new RangeError(`DPM++ 2M takes at least one step, not ${steps}`);
	const sigmas = karrasSigmas(steps);
	let x = noise.next().map((n) => n * (sigmas[0] ?? 0));
	let before: { denoised: Float32Array; h: number } | undefined;
	for (let i = 0; i < steps; i++) {
		const sigma = sigmas[i] ?? 0;
		const next = sigmas[i + 1] ?? 0;
		const shrink = 1 / Math.sqrt(sigma * sigma + 1);
		const eps = await denoise(
			x.map((value) => value * shrink),
			stepOfSigma(sigma)
		);
		const denoised = x.map((value, j) => value - sigma * (eps[j] ?? 0));
		const h = Math.log(sigma) - Math.log(next); // ∞ at the end, where x' = D
		const previous = next > 0 ? before : undefined;
		const extra = previous ? h / previous.h / 2 : 0;
		const keep = next / sigma;
		const add = -Math.expm1(-h);
		x = x.map((value, j) => {
			const d = denoised[j] ?? 0;
			return keep * value + add * (d + extra * (d - (previous?.denoised[j] ?? d)));
		});
		before = { denoised, h };
		onStep?.(i + 1, steps);
	}
	return x;
}
