/**
 * What a checkpoint is, in numbers: enough to build every network of it. Read from tensor shapes, and from `mini.*` metadata for what shapes do not tell.
 * Source of the known architectures: the ldm and sgm configuration files of SD 1.5 and SDXL.
 */
import type { ModelFamily } from '../recipe/recipe';

export interface UnetConfig {
	readonly inChannels: number;
	readonly outChannels: number;
	/** Channels of the first level. */
	readonly modelChannels: number;
	/** Channels of level i = modelChannels · channelMult[i]. */
	readonly channelMult: readonly number[];
	/** Residual blocks of a level on the way down (one more on the way up). */
	readonly resBlocks: number;
	/** Transformer blocks after each residual block of a level; 0: no transformer. */
	readonly depths: readonly number[];
	readonly middleDepth: number;
	/** SD 1.5 has a fixed number of heads, SDXL a fixed width of a head. */
	readonly heads: { readonly count: number } | { readonly width: number };
	/** Width of the text context. */
	readonly contextDim: number;
	/** proj_in and proj_out are Linear (SDXL) instead of 1×1 convolutions (SD 1.5); the same mathematics, other shapes in files. */
	readonly linearProjection: boolean;
	/** Width of the extra vector that is added to the time embedding through label_emb; 0: none. */
	readonly vectorDim: number;
	readonly groups: number;
}

export interface VaeConfig {
	readonly prefix: string;
	readonly channels: number;
	readonly channelMult: readonly number[];
	readonly resBlocks: number;
	readonly latentChannels: number;
	readonly groups: number;
	/** Latents for the UNet are mean · scale. */
	readonly scale: number;
}

export interface TextConfig {
	readonly prefix: string;
	/** hf: names of transformers' CLIPTextModel; openclip: resblocks with a fused in_proj. */
	readonly layout: 'hf' | 'openclip';
	readonly width: number;
	readonly layers: number;
	readonly heads: number;
	readonly intermediate: number;
	readonly vocabulary: number;
	/** Positions, 77. */
	readonly length: number;
	readonly activation: 'quick_gelu' | 'gelu';
	/** Token that fills up after the end token. */
	readonly padToken: number;
}

export interface ModelConfig {
	readonly family: ModelFamily;
	readonly title: string;
	/** v: the model predicts √ᾱ·noise − √(1−ᾱ)·x₀. */
	readonly prediction: 'epsilon' | 'v';
	/** Side in pixels that the model was made for. */
	readonly resolution: number;
	readonly unet: UnetConfig;
	readonly vae: VaeConfig;
	/** One encoder (SD 1.5) or two (SDXL: CLIP-L, OpenCLIP bigG); their contexts are concatenated by features. */
	readonly text: readonly TextConfig[];
}

/** Heads of an attention over so many channels. */
export function headsOf(config: UnetConfig, channels: number): number {
	return 'count' in config.heads ? config.heads.count : channels / config.heads.width;
}

/** Pixels of a picture per latent pixel along a side, 8 for all known models. */
export function latentFactor(config: VaeConfig): number {
	return 2 ** (config.channelMult.length - 1);
}

export const SD15_UNET: UnetConfig = {
	inChannels: 4,
	outChannels: 4,
	modelChannels: 320,
	channelMult: [1, 2, 4, 4],
	resBlocks: 2,
	depths: [1, 1, 1, 0],
	middleDepth: 1,
	heads: { count: 8 },
	contextDim: 768,
	linearProjection: false,
	vectorDim: 0,
	groups: 32
};

export const SDXL_UNET: UnetConfig = {
	...SD15_UNET,
	channelMult: [1, 2, 4],
	depths: [0, 2, 10],
	middleDepth: 10,
	heads: { width: 64 },
	contextDim: 2048,
	linearProjection: true,
	vectorDim: 2816
};

/** The configuration of a model that somebody who knows it, or a LoRA that was trained on it, says predicts velocity; files of SD 1.5 often do not. */
export function predicting(config: ModelConfig, said: ModelConfig['prediction'] | undefined): ModelConfig {
	return said === 'v' && config.prediction !== 'v' ? { ...config, prediction: 'v' } : config;
}
