/**
 * The noise schedule of Stable Diffusion: "scaled linear", 1000 steps.
 *   β_t = (√0.00085 + t/999·(√0.012 − √0.00085))²,  ᾱ_t = Π_{s≤t} (1 − β_s),  σ_t = √((1 − ᾱ_t)/ᾱ_t)
 *   x_t = √ᾱ_t·x_0 + √(1 − ᾱ_t)·noise
 * Source: DDPM (arXiv 2006.11239), the configuration of latent-diffusion; sigma space as in EDM (arXiv 2206.00364).
 */

export const TRAIN_STEPS = 1000;
const BETA_START = 0.00085;
const BETA_END = 0.012;

let cumulative: Float64Array | undefined;

/** ᾱ_0 … ᾱ_999 in double precision; shared, do not write. */
export function alphasCumprod(): Float64Array {
	if (cumulative) return cumulative;
	cumulative = new Float64Array(TRAIN_STEPS);
	const start = Math.sqrt(BETA_START);
	const end = Math.sqrt(BETA_END);
	let product = 1;
	for (let t = 0; t < TRAIN_STEPS; t++) {
		product *= 1 - (start + (t / (TRAIN_STEPS - 1)) * (end - start)) ** 2;
		cumulative[t] = product;
	}
	return cumulative;
}

/** ᾱ at an integer step, 0..999. @throws RangeError outside */
export function alphaBar(t: number): number {
	const value = alphasCumprod()[t];
	if (value === undefined) throw new RangeError(`There is no step ${t}`);
	return value;
}

/** (√ᾱ_t, √(1 − ᾱ_t)): the coefficients of picture and noise. */
export function noiseCoefficients(t: number): readonly [number, number] {
	const a = alphaBar(t);
	return [Math.sqrt(a), Math.sqrt(1 - a)];
}

/** Signal-to-noise ratio ᾱ/(1 − ᾱ). */
export function snr(t: number): number {
	const a = alphaBar(t);
	return a / (1 - a);
}

/** Loss weight min(snr, γ)/snr of noise prediction (arXiv 2303.09556); 1 when γ is 0. */
export function minSnrWeight(t: number, gamma: number): number {
	return gamma > 0 ? Math.min(gamma / snr(t), 1) : 1;
}

/** The same of velocity prediction: min(snr, γ)/(snr + 1); 1 when γ is 0. */
export function velocityMinSnrWeight(t: number, gamma: number): number {
	return gamma > 0 ? Math.min(gamma, snr(t)) / (snr(t) + 1) : 1;
}

/** σ at a step; fractions are interpolated in log σ. */
export function sigmaAt(t: number): number {
	const low = Math.min(Math.max(Math.floor(t), 0), TRAIN_STEPS - 1);
	const high = Math.min(low + 1, TRAIN_STEPS - 1);
	const part = Math.min(Math.max(t - low, 0), 1);
	return Math.exp((1 - part) * logSigma(low) + part * logSigma(high));
}

/** The noise in x_t by a predicted velocity v = a·n − s·x₀: n = a·v + s·x_t, with a = 1/√(1 + σ²) and s = σ·a at a step that may be a fraction. */
export function noiseOfVelocity(velocity: Float32Array, noised: Float32Array, t: number): Float32Array {
	const sigma = sigmaAt(t);
	const a = 1 / Math.sqrt(1 + sigma * sigma);
	return velocity.map((v, i) => a * v + sigma * a * (noised[i] ?? 0));
}

/** The fractional step whose σ this is: the inverse of `sigmaAt`, clamped to 0..999. */
export function stepOfSigma(sigma: number): number {
	const wanted = Math.log(sigma);
	let low = 0;
	let high = TRAIN_STEPS - 1;
	if (wanted <= logSigma(low)) return low;
	if (wanted >= logSigma(high)) return high;
	while (high - low > 1) {
		const middle = (low + high) >> 1;
		if (logSigma(middle) <= wanted) low = middle;
		else high = middle;
	}
	return low + (wanted - logSigma(low)) / (logSigma(high) - logSigma(low));
}

/** Sigmas for n steps, spaced evenly in t from 999 to 0, and a final 0: WebUI's "Automatic" for Euler a. */
export function uniformSigmas(n: number): number[] {
	const last = TRAIN_STEPS - 1;
	return [...Array.from({ length: n }, (_, j) => sigmaAt(n === 1 ? last : last - (j * last) / (n - 1))), 0];
}

/** Sigmas after Karras et al. (ρ = 7) between the model's largest and smallest, and a final 0. */
export function karrasSigmas(n: number): number[] {
	const rho = 7;
	const most = sigmaAt(TRAIN_STEPS - 1) ** (1 / rho);
	const least = sigmaAt(0) ** (1 / rho);
	return [...Array.from({ length: n }, (_, j) => (n === 1 ? most : most + (j / (n - 1)) * (least - most)) ** rho), 0];
}

function logSigma(t: number): number {
	return -0.5 * Math.log(snr(t));
}
