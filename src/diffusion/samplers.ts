/**
 * Samplers: from noise to a latent, through a denoiser that predicts the noise eps(x_t, t).
 * All of them hand the network latents on the scale it was trained on, x_t = √ᾱ·x_0 + √(1 − ᾱ)·noise; Euler a itself works in sigma
 * space (x̂ = x_t·√(σ² + 1)), where the step is x̂ += eps·(σ' − σ). Arrays are `[pictures, h, w, c]`, but nothing here depends on that.
 * Sources: DDIM (arXiv 2010.02502); ancestral Euler and Karras sigmas (arXiv 2206.00364 and k-diffusion); conventions of WebUI.
 */
import type { NoiseSource } from './noise';
import { alphaBar, karrasSigmas, noiseCoefficients, stepOfSigma, TRAIN_STEPS, uniformSigmas } from './schedule';

/** eps for latents at step t (may be fractional); guidance already applied. */
export type Denoise = (latent: Float32Array, t: number) => Promise<Float32Array> | Float32Array;

export interface SamplerOptions {
	readonly steps: number;
	/** Called after every step with the number of steps done and of all; throw to stop. */
	readonly onStep?: ((done: number, steps: number) => void) | undefined;
}

export interface DdimOptions extends SamplerOptions {
	/**
	 * leading: steps i·(1000 div n) + 1, each going down by 1000 div n, the last to ᾱ_0; n network calls. The mini model's reference.
	 * webui: the same steps, each going down to the next listed one; the last listed is where it ends, so n − 1 network calls.
	 */
	readonly spacing: 'leading' | 'webui';
	/** Picture to picture: begin at the first listed step not above `step`, from this latent with the noise added to it. */
	readonly from?: { readonly latent: Float32Array; readonly step: number } | undefined;
}

export interface EulerAncestralOptions extends SamplerOptions {
	readonly sigmas?: 'uniform' | 'karras' | undefined;
	/** Share of fresh noise, 1 in WebUI. */
	readonly eta?: number | undefined;
}

/** Classifier-free guidance: u + scale·(c − u). */
export function guide(unconditional: Float32Array, conditional: Float32Array, scale: number): Float32Array {
	return conditional.map((c, i) => {
		const u = unconditional[i] ?? 0;
		return u + scale * (c - u);
	});
}

/** Deterministic DDIM. @param noise the first tensor of it is used @returns the latent, still scaled */
export async function ddim(denoise: Denoise, noise: NoiseSource, options: DdimOptions): Promise<Float32Array> {
	const moves = ddimMoves(options);
	const first = moves[0];
	const initial = noise.next();
	let x = initial;
	if (!first) {
		if (options.from) return options.from.latent;
		throw new RangeError(`DDIM in WebUI's spacing needs at least 2 steps`);
	}
	if (options.from) {
		const { latent } = options.from;
		const [signal, rest] = noiseCoefficients(first.t);
		x = initial.map((n, i) => signal * (latent[i] ?? 0) + rest * n);
	}
	for (const [done, { t, alpha, next }] of moves.entries()) {
		const eps = await denoise(x, t);
		const keep = Math.sqrt(next / alpha);
		const add = Math.sqrt(1 - next) - keep * Math.sqrt(1 - alpha);
		x = x.map((value, i) => keep * value + add * (eps[i] ?? 0));
		options.onStep?.(done + 1, moves.length);
	}
	return x;
}

function ddimMoves({ steps, spacing, from }: DdimOptions): { t: number; alpha: number; next: number }[] {
	if (!Number.isInteger(steps) || steps < 1 || steps > TRAIN_STEPS) throw new RangeError(`DDIM takes 1 to ${TRAIN_STEPS} steps, not ${steps}`);
	const stride = Math.floor(TRAIN_STEPS / steps);
	const leading = Array.from({ length: steps }, (_, i) => i * stride + 1);
	// WebUI lists range(0, 1000, stride) + 1, which is more than `steps` where they do not divide 1000, clipped to the last step.
	const all = Array.from({ length: Math.ceil(TRAIN_STEPS / stride) }, (_, i) => Math.min(i * stride + 1, TRAIN_STEPS - 1));
	const moves =
		spacing === 'leading'
			? leading.map((t) => ({ t: Math.min(t, TRAIN_STEPS - 1), next: alphaBar(Math.max(t - stride, 0)) }))
			: all.slice(1).map((t, i) => ({ t, next: alphaBar(all[i] ?? 0) }));
	return moves
		.filter(({ t }) => !from || t <= from.step)
		.map(({ t, next }) => ({ t, alpha: alphaBar(t), next }))
		.reverse();
}

/** Ancestral Euler. @param noise its first tensor starts, one more is drawn after every step but the last @returns the latent, still scaled */
export async function eulerAncestral(denoise: Denoise, noise: NoiseSource, options: EulerAncestralOptions): Promise<Float32Array> {
	const { steps, eta = 1 } = options;
	if (!Number.isInteger(steps) || steps < 1) throw new RangeError(`Euler a takes at least one step, not ${steps}`);
	const sigmas = options.sigmas === 'karras' ? karrasSigmas(steps) : uniformSigmas(steps);
	let x = noise.next().map((n) => n * (sigmas[0] ?? 0));
	for (let i = 0; i < steps; i++) {
		const sigma = sigmas[i] ?? 0;
		const next = sigmas[i + 1] ?? 0;
		const shrink = 1 / Math.sqrt(sigma * sigma + 1);
		const eps = await denoise(
			x.map((value) => value * shrink),
			stepOfSigma(sigma)
		);
		const up = Math.min(next, eta * Math.sqrt(Math.max(0, (next * next * (sigma * sigma - next * next)) / (sigma * sigma))));
		const down = Math.sqrt(next * next - up * up);
		const fresh = next > 0 ? noise.next() : undefined;
		x = x.map((value, j) => value + (eps[j] ?? 0) * (down - sigma) + up * (fresh?.[j] ?? 0));
		options.onStep?.(i + 1, steps);
	}
	return x;
}
