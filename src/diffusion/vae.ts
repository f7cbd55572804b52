/**
 * The VAE: pictures to latents and back, as ONNX graphs written from the checkpoint's tensors. Layout inside is `[B, C, H, W]`.
 * The encoder gives a normal distribution (mean, logvar) per latent; latents for the UNet are scale·z, channels-last `[h, w, 4]`.
 * Source: "Auto-Encoding Variational Bayes"-style KL autoencoder of latent-diffusion (model.py); GroupNorm eps 1e-6.
 */
import type { Picture } from '../formats/png';
import { openSession, type OnnxSession } from '../onnx/session';
import type { Checkpoint } from './checkpoint';
import { latentFactor, type VaeConfig } from './config';
import { Network } from './network';
import { channelsFirst, channelsLast, type NoiseShape } from './noise';

/** mean and logvar are unscaled, `[4, h, w]`. */
export interface Posterior extends NoiseShape {
	readonly mean: Float32Array;
	readonly logvar: Float32Array;
}

export interface Vae {
	/** @throws RangeError when a side of the picture is not a multiple of 8 */
	encode(picture: Picture): Promise<Posterior>;
	/** `[h, w, 4]`, scaled; alpha is ignored. The mean, or a sample when noise `[4, h, w]` is given. */
	latent(picture: Picture, noise?: Float32Array): Promise<Float32Array>;
	/** @param latent `[h, w, 4]`, scaled @returns an opaque picture, rounded to 8 bits */
	decode(latent: Float32Array, height: number, width: number): Promise<Picture>;
	/** The same as planes `[3, 8h, 8w]` of −1 to 1, neither clamped nor rounded. */
	decodePlanes(latent: Float32Array, height: number, width: number): Promise<Float32Array>;
	/** Frees both networks; they are opened again when needed. */
	close(): Promise<void>;
}

/** Networks are built at the first use. */
export function openVae(checkpoint: Checkpoint): Vae {
	const { vae: config } = checkpoint.config;
	const factor = latentFactor(config);
	const sessions = new Map<'encoder' | 'decoder', Promise<OnnxSession>>();
	const session = (part: 'encoder' | 'decoder'): Promise<OnnxSession> => {
		const open = sessions.get(part) ?? (part === 'encoder' ? encoderModel(checkpoint) : decoderModel(checkpoint)).then(openSession);
		sessions.set(part, open);
		open.catch(() => sessions.delete(part));
		return open;
	};

	const encode = async (picture: Picture): Promise<Posterior> => {
		const { width, height } = picture;
		if (width % factor || height % factor) throw new RangeError(`A picture of ${width} × ${height} cannot be encoded: sides must be multiples of ${factor}`);
		const { moments } = await (await session('encoder')).run({ picture: { dims: [1, 3, height, width], data: toPlanes(picture) } });
		const data = moments?.data as Float32Array;
		const half = data.length / 2;
		const logvar = data.slice(half).map((v) => Math.min(20, Math.max(-30, v)));
		return { mean: data.slice(0, half), logvar, height: height / factor, width: width / factor, channels: config.latentChannels };
	};
	const decodePlanes = async (latent: Float32Array, height: number, width: number): Promise<Float32Array> => {
		const shape = { height, width, channels: config.latentChannels };
		const data = channelsFirst(latent, shape).map((v) => v / config.scale);
		const { picture } = await (await session('decoder')).run({ latent: { dims: [1, config.latentChannels, height, width], data } });
		return picture?.data as Float32Array;
	};
	return {
		encode,
		async latent(picture, noise) {
			const posterior = await encode(picture);
			const { mean, logvar } = posterior;
			const z = noise ? mean.map((m, i) => m + Math.exp(0.5 * (logvar[i] ?? 0)) * (noise[i] ?? 0)) : mean;
			return channelsLast(z, posterior).map((v) => v * config.scale);
		},
		decodePlanes,
		decode: async (latent, height, width) => fromPlanes(await decodePlanes(latent, height, width), width * factor, height * factor),
		async close() {
			const open = [...sessions.values()];
			sessions.clear();
			for (const each of open) await (await each).close();
		}
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

/** picture `[1, 3, H, W]` → moments `[1, 8, H/8, W/8]` (mean, then logvar). */
function encoderModel({ file, config: { vae } }: Checkpoint): Promise<Uint8Array> {
	const net = new VaeNetwork(file, vae);
	let h = net.conv3(net.input('picture', 'f32', [1, 3, 'height', 'width']), 'encoder.conv_in');
	let channels = vae.channels;
	vae.channelMult.forEach((mult, level) => {
		for (let j = 0; j < vae.resBlocks; j++) {
			h = net.residual(h, `encoder.down.${level}.block.${j}`, channels, vae.channels * mult);
			channels = vae.channels * mult;
		}
		// Zero padding on the right and at the bottom only, unlike everywhere else.
		if (level < vae.channelMult.length - 1) h = net.conv(h, `encoder.down.${level}.downsample.conv`, { stride: 2, pads: [0, 0, 1, 1] });
	});
	h = net.middle(h, 'encoder.mid', channels);
	h = net.conv3(net.norm(h, 'encoder.norm_out', channels, true), 'encoder.conv_out');
	net.output(net.node('Identity', [net.conv(h, 'quant_conv')], {}, 'moments'), 'f32', [1, 2 * vae.latentChannels, 'h', 'w']);
	return net.encode();
}

/** latent `[1, 4, h, w]`, unscaled → picture `[1, 3, 8h, 8w]`. */
function decoderModel({ file, config: { vae } }: Checkpoint): Promise<Uint8Array> {
	const net = new VaeNetwork(file, vae);
	let channels = vae.channels * (vae.channelMult.at(-1) ?? 1);
	let h = net.conv3(net.conv(net.input('latent', 'f32', [1, vae.latentChannels, 'h', 'w']), 'post_quant_conv'), 'decoder.conv_in');
	h = net.middle(h, 'decoder.mid', channels);
	for (let level = vae.channelMult.length - 1; level >= 0; level--) {
		const outChannels = vae.channels * (vae.channelMult[level] ?? 1);
		for (let j = 0; j <= vae.resBlocks; j++) {
			h = net.residual(h, `decoder.up.${level}.block.${j}`, channels, outChannels);
			channels = outChannels;
		}
		if (level > 0) h = net.conv3(net.upsample(h), `decoder.up.${level}.upsample.conv`);
	}
	h = net.conv3(net.norm(h, 'decoder.norm_out', channels, true), 'decoder.conv_out');
	net.output(net.node('Identity', [h], {}, 'picture'), 'f32', [1, 3, 'height', 'width']);
	return net.encode();
}

class VaeNetwork extends Network {
	constructor(
		file: Checkpoint['file'],
		private readonly config: VaeConfig
	) {
		super(file, config.prefix);
	}

	conv3(x: string, path: string): string {
		return this.conv(x, path, { pads: [1, 1, 1, 1] });
	}

	norm(x: string, path: string, channels: number, silu: boolean): string {
		return this.groupNorm(x, path, { channels, groups: this.config.groups, epsilon: 1e-6, silu });
	}

	residual(x: string, path: string, inChannels: number, outChannels: number): string {
		const h = this.conv3(this.norm(x, `${path}.norm1`, inChannels, true), `${path}.conv1`);
		const y = this.conv3(this.norm(h, `${path}.norm2`, outChannels, true), `${path}.conv2`);
		return this.node('Add', [inChannels === outChannels ? x : this.conv(x, `${path}.nin_shortcut`), y]);
	}

	middle(x: string, path: string, channels: number): string {
		const h = this.residual(x, `${path}.block_1`, channels, channels);
		return this.residual(this.attention(h, `${path}.attn_1`, channels), `${path}.block_2`, channels, channels);
	}

	/** One head over all pixels: x + proj_out(v·softmax(qᵀk/√C)ᵀ), with q, k, v as `[B, C, HW]`. */
	attention(x: string, path: string, channels: number): string {
		const normal = this.norm(x, `${path}.norm`, channels, false);
		const flat = (name: string): string => this.node('Reshape', [this.conv(normal, `${path}.${name}`), this.ints('shape', [0, 0, -1])]);
		const q = this.node('Transpose', [this.scaled(flat('q'), channels ** -0.5)], { perm: [0, 2, 1] });
		const weights = this.node('Softmax', [this.node('MatMul', [q, flat('k')])], { axis: -1 });
		const mixed = this.node('MatMul', [flat('v'), this.node('Transpose', [weights], { perm: [0, 2, 1] })]);
		return this.node('Add', [x, this.conv(this.node('Reshape', [mixed, this.node('Shape', [x])]), `${path}.proj_out`)]);
	}

	/** Nearest ×2. */
	upsample(x: string): string {
		const scales = this.floats('scales', [4], [1, 1, 2, 2]);
		return this.node('Resize', [x, '', scales], { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' });
	}
}
