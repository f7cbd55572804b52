/**
 * The VAE's two networks, written over layers that whoever computes them provides: strips on the CPU (`strips.ts`), a graph on the GPU (`vae-graph.ts`), or a count of the work.
 * The encoder gives a normal distribution (mean, logvar) per latent; latents for the UNet are scale·z, channels-last `[h, w, 4]`.
 * Source: "Auto-Encoding Variational Bayes"-style KL autoencoder of latent-diffusion (model.py); GroupNorm eps 1e-6.
 */
import type { Picture } from '../formats/png';
import { latentFactor, type VaeConfig } from './config';
import { channelsFirst, channelsLast, type NoiseShape } from './noise';

/** `[channels, height, width]` */
export interface Plane {
	readonly data: Float32Array;
	readonly channels: number;
	readonly height: number;
	readonly width: number;
}

/** A group norm in front of a convolution: key of its weight and bias, and whether SiLU follows. */
export interface NormBefore {
	readonly path: string;
	readonly groups: number;
	readonly silu: boolean;
}

export interface ConvOptions<P> {
	readonly norm?: NormBefore | undefined;
	/** down: stride 2 with zeros on the right and at the bottom only; up: the picture is doubled (nearest) before. */
	readonly resample?: 'down' | 'up' | undefined;
	/** Added to the result; of its channels, or with the key of a 1×1 convolution that makes them. Written over where that is possible. */
	readonly residual?: { readonly plane: P; readonly shortcut?: string | undefined } | undefined;
}

/** What a network is written with: to compute it, or to know beforehand what it takes. */
export interface Layers<P> {
	/** A 1×1 or 3×3 convolution (by its weight), with what comes before and after it. */
	conv(x: P, path: string, options?: ConvOptions<P>): Promise<P>;
	/** x + proj_out(v·softmax(qᵀk/√C)ᵀ) over all pixels, with q, k, v = 1×1 convolutions of norm(x), in place. */
	attention(x: P, path: string, groups: number): Promise<P>;
}

export const VAE_EPSILON = 1e-6;

interface Channels {
	readonly channels: number;
}

export type VaeNetwork = <P extends Channels>(net: Layers<P>, vae: VaeConfig, input: P) => Promise<P>;

/** picture `[3, H, W]` → moments `[8, H/8, W/8]` (mean, then logvar). */
export async function encoder<P extends Channels>(net: Layers<P>, vae: VaeConfig, picture: P): Promise<P> {
	let h = await net.conv(picture, 'encoder.conv_in');
	for (let level = 0; level < vae.channelMult.length; level++) {
		for (let j = 0; j < vae.resBlocks; j++) h = await residual(net, vae, h, `encoder.down.${level}.block.${j}`);
		if (level < vae.channelMult.length - 1) h = await net.conv(h, `encoder.down.${level}.downsample.conv`, { resample: 'down' });
	}
	h = await middle(net, vae, h, 'encoder.mid');
	return net.conv(await net.conv(h, 'encoder.conv_out', { norm: { path: 'encoder.norm_out', groups: vae.groups, silu: true } }), 'quant_conv');
}

/** latent `[4, h, w]`, unscaled → picture `[3, 8h, 8w]`. */
export async function decoder<P extends Channels>(net: Layers<P>, vae: VaeConfig, latent: P): Promise<P> {
	let h = await middle(net, vae, await net.conv(await net.conv(latent, 'post_quant_conv'), 'decoder.conv_in'), 'decoder.mid');
	for (let level = vae.channelMult.length - 1; level >= 0; level--) {
		for (let j = 0; j <= vae.resBlocks; j++) h = await residual(net, vae, h, `decoder.up.${level}.block.${j}`);
		if (level > 0) h = await net.conv(h, `decoder.up.${level}.upsample.conv`, { resample: 'up' });
	}
	return net.conv(h, 'decoder.conv_out', { norm: { path: 'decoder.norm_out', groups: vae.groups, silu: true } });
}

/** x is written over, or of no use afterwards. */
async function residual<P extends Channels>(net: Layers<P>, { groups }: VaeConfig, x: P, path: string): Promise<P> {
	const h = await net.conv(x, `${path}.conv1`, { norm: { path: `${path}.norm1`, groups, silu: true } });
	const shortcut = h.channels === x.channels ? undefined : `${path}.nin_shortcut`;
	return net.conv(h, `${path}.conv2`, { norm: { path: `${path}.norm2`, groups, silu: true }, residual: { plane: x, shortcut } });
}

async function middle<P extends Channels>(net: Layers<P>, vae: VaeConfig, x: P, path: string): Promise<P> {
	const h = await residual(net, vae, x, `${path}.block_1`);
	return residual(net, vae, await net.attention(h, `${path}.attn_1`, vae.groups), `${path}.block_2`);
}

/** mean and logvar are unscaled, `[4, h, w]`. */
export interface Posterior extends NoiseShape {
	readonly mean: Float32Array;
	readonly logvar: Float32Array;
}

/** Share of the work done, 0 to 1; throw to stop. */
export type Progress = (fraction: number) => void;

export interface Vae {
	/** @throws RangeError when a side of the picture is not a multiple of 8 */
	encode(picture: Picture, onProgress?: Progress): Promise<Posterior>;
	/** `[h, w, 4]`, scaled; alpha is ignored. The mean, or a sample when noise `[4, h, w]` is given. */
	latent(picture: Picture, noise?: Float32Array, onProgress?: Progress): Promise<Float32Array>;
	/** @param latent `[h, w, 4]`, scaled @returns an opaque picture, rounded to 8 bits */
	decode(latent: Float32Array, height: number, width: number, onProgress?: Progress): Promise<Picture>;
	/** The same as planes `[3, 8h, 8w]` of −1 to 1, neither clamped nor rounded. */
	decodePlanes(latent: Float32Array, height: number, width: number, onProgress?: Progress): Promise<Float32Array>;
	/** Frees graphs and weights; they are opened again when needed. */
	close(): Promise<void>;
}

/** Whoever computes the networks. */
export interface VaeEngine {
	run(network: VaeNetwork, input: Plane, onProgress: Progress | undefined): Promise<Plane>;
	close(): Promise<void>;
}

export function vaeOf(config: VaeConfig, engine: VaeEngine): Vae {
	const factor = latentFactor(config);
	const encode = async (picture: Picture, onProgress?: Progress): Promise<Posterior> => {
		const { width, height } = picture;
		if (width % factor || height % factor) throw new RangeError(`A picture of ${width} × ${height} cannot be encoded: sides must be multiples of ${factor}`);
		const moments = await engine.run(encoder, { data: toPlanes(picture), channels: 3, height, width }, onProgress);
		const half = moments.data.length / 2;
		const logvar = moments.data.slice(half).map((v) => Math.min(20, Math.max(-30, v)));
		return { mean: moments.data.slice(0, half), logvar, height: moments.height, width: moments.width, channels: config.latentChannels };
	};
	const decodePlanes = async (latent: Float32Array, height: number, width: number, onProgress?: Progress): Promise<Float32Array> => {
		const shape = { height, width, channels: config.latentChannels };
		return (await engine.run(decoder, { ...shape, data: channelsFirst(latent, shape).map((v) => v / config.scale) }, onProgress)).data;
	};
	return {
		encode,
		async latent(picture, noise, onProgress) {
			const posterior = await encode(picture, onProgress);
			const { mean, logvar } = posterior;
			const z = noise ? mean.map((m, i) => m + Math.exp(0.5 * (logvar[i] ?? 0)) * (noise[i] ?? 0)) : mean;
			return channelsLast(z, posterior).map((v) => v * config.scale);
		},
		decodePlanes,
		decode: async (latent, height, width, onProgress) => fromPlanes(await decodePlanes(latent, height, width, onProgress), width * factor, height * factor),
		close: () => engine.close()
	};
}

/** Red, green and blue planes from −1 to 1. */
export function toPlanes({ width, height, data }: Picture): Float32Array {
	const area = width * height;
	const planes = new Float32Array(3 * area);
	for (let p = 0; p < area; p++) for (let c = 0; c < 3; c++) planes[c * area + p] = (data[4 * p + c] ?? 0) / 127.5 - 1;
	return planes;
}

/** The inverse, clamped and rounded. */
export function fromPlanes(planes: Float32Array, width: number, height: number): Picture {
	const area = width * height;
	const data = new Uint8ClampedArray(4 * area).fill(255);
	for (let p = 0; p < area; p++) for (let c = 0; c < 3; c++) data[4 * p + c] = ((planes[c * area + p] ?? 0) + 1) * 127.5;
	return { width, height, data };
}
