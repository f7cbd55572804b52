/**
 * Opens a single-file checkpoint in the original ("ldm") layout and finds out what it is, without reading a weight.
 * The rule: the configuration comes from tensor shapes; head counts and the like, which shapes do not show, from `mini.*` metadata or the known family.
 * Every tensor of the UNet is then checked against that configuration, so that a file that opens can also be run.
 * Source: key names and shapes of SD 1.5 and SDXL checkpoints.
 */
import { FormatError } from '../formats/error';
import { openSafetensors, type SafetensorsFile } from '../formats/safetensors';
import type { ByteSource } from '../formats/source';
import type { ModelFamily } from '../recipe/recipe';
import type { ModelConfig, TextConfig, UnetConfig, VaeConfig } from './config';
import { contextDim, refuseStrangers, UNET_PREFIX, type Tensors } from './recognise';
import { unetConstants } from './unet-layout';

export interface Checkpoint {
	readonly config: ModelConfig;
	readonly file: SafetensorsFile;
	/** Where the VAE is, when not in the same file. */
	readonly vaeFile?: SafetensorsFile | undefined;
}

const COMPLETE = 'Choose a complete checkpoint (UNet, VAE and text encoder in one file).';
const VAE_PREFIX = 'first_stage_model.';
const CLIP_PREFIXES = ['cond_stage_model.transformer.text_model.', 'cond_stage_model.transformer.', 'conditioner.embedders.0.transformer.text_model.'];
const TOKENS = 'embeddings.token_embedding.weight';
const BIG_G_PREFIX = 'conditioner.embedders.1.model.';

/** @param vae a file with another VAE @throws FormatError naming what a file is or what it lacks */
export async function openCheckpoint(source: ByteSource, vae?: ByteSource): Promise<Checkpoint> {
	const file = await openSafetensors(source);
	const checkpoint = { config: readConfig(file.tensors, file.metadata), file };
	return vae ? withVae(checkpoint, vae) : checkpoint;
}

/** Places of a VAE in files of its own: bare, as in a checkpoint, as some tools save it. */
const VAE_FILE_PREFIXES = ['', VAE_PREFIX, 'vae.'];

/**
 * The same model with the VAE of another file, in place of its own; the latents' scale stays the model's.
 * @throws FormatError `not-vae` or `is-diffusers`, `incomplete-model`, `unknown-model` when it makes other latents
 */
async function withVae(checkpoint: Checkpoint, source: ByteSource): Promise<Checkpoint> {
	const file = await openSafetensors(source);
	const { scale, groups, latentChannels } = checkpoint.config.vae;
	const prefix = VAE_FILE_PREFIXES.find((candidate) => file.tensors.has(`${candidate}encoder.conv_in.weight`));
	if (prefix === undefined || file.tensors.has(`${prefix}encoder.down_blocks.0.resnets.0.conv1.weight`)) {
		const diffusers = prefix !== undefined;
		const problem = diffusers ? 'This is a VAE in the diffusers layout' : 'This file holds no VAE';
		const remedy = 'Choose the VAE as one file in the original layout, as WebUI and ComfyUI use it, or leave it out: the model has one of its own.';
		throw new FormatError(diffusers ? 'is-diffusers' : 'not-vae', `${prefix ?? ''}encoder`, problem, remedy);
	}
	const vae = readVae(new Shapes(file.tensors), scale, groups, prefix);
	if (vae.latentChannels !== latentChannels || vae.channelMult.length !== checkpoint.config.vae.channelMult.length) {
		const problem = `This VAE makes ${vae.latentChannels} channels at 1/${2 ** (vae.channelMult.length - 1)} of the size, which the UNet does not understand`;
		throw new FormatError('unknown-model', `${prefix}decoder.conv_in.weight`, problem, 'Choose a VAE that was made for this kind of model.');
	}
	return { ...checkpoint, config: { ...checkpoint.config, vae }, vaeFile: file };
}

/** The configuration of a model by its tensors' shapes. @throws FormatError as `openCheckpoint` */
export function readConfig(tensors: Tensors, metadata: Readonly<Record<string, string>>): ModelConfig {
	refuseStrangers(tensors);
	const shapes = new Shapes(tensors);
	const mini = metadata['mini.unet.num_heads'] !== undefined;
	const width = contextDim(tensors);
	const vectorDim = tensors.get(`${UNET_PREFIX}label_emb.0.0.weight`)?.shape[1] ?? 0;
	// SDXL is known by its two encoders; their widths are checked below.
	const both = tensors.has(`${CLIP_PREFIXES[2]}${TOKENS}`) && tensors.has(`${BIG_G_PREFIX}token_embedding.weight`);
	const family: ModelFamily | undefined = mini ? 'mini' : width === 768 && !vectorDim ? 'sd15' : vectorDim && (both || width === 2048) ? 'sdxl' : undefined;
	if (!family || width === undefined) {
		const problem = width === undefined ? 'The UNet has no cross attention' : `No known model has a context of ${width} and a vector of ${vectorDim}`;
		throw new FormatError('unknown-model', `${UNET_PREFIX}…attn2.to_k.weight`, problem, COMPLETE);
	}
	const number = (key: string, otherwise: number): number => {
		const value = Number(metadata[`mini.${key}`]);
		return mini && Number.isFinite(value) && value > 0 ? value : otherwise;
	};
	const heads = family === 'sdxl' ? { width: 64 } : { count: number('unet.num_heads', 8) };
	const unet = readUnet(shapes, { heads, contextDim: width, vectorDim, groups: number('unet.norm_groups', 32) });
	checkUnet(tensors, unet);
	const vae = readVae(shapes, number('vae.scaling_factor', family === 'sdxl' ? 0.13025 : 0.18215), number('vae.norm_groups', 32));
	const text = [readClip(shapes, (clipWidth) => number('clip.heads', clipWidth / 64))];
	if (family === 'sdxl') text.push(readBigG(shapes));
	if (text.reduce((sum, encoder) => sum + encoder.width, 0) !== unet.contextDim) {
		throw new FormatError('incomplete-model', text[0]?.prefix ?? '', `The text encoders do not make a context of ${unet.contextDim}`, COMPLETE);
	}
	if (family === 'sdxl' && vectorDim !== shapes.size(`${BIG_G_PREFIX}text_projection`, 1) + SIZES) {
		const problem = `The UNet takes a vector of ${vectorDim}, but the second text encoder and the sizes make ${shapes.size(`${BIG_G_PREFIX}text_projection`, 1) + SIZES}`;
		throw new FormatError('unknown-model', `${UNET_PREFIX}label_emb.0.0.weight`, problem, COMPLETE);
	}
	return {
		family,
		title: metadata['modelspec.title'] ?? '',
		// Tensors of these names mark models of velocity prediction, or the metadata says so; files of SD 1.5 often say nothing, then the recipe must.
		prediction: tensors.has('v_pred') || tensors.has('ztsnr') || /^v/.test(metadata['modelspec.prediction_type'] ?? '') ? 'v' : 'epsilon',
		resolution: Number.parseInt(metadata['modelspec.resolution'] ?? '', 10) || { mini: 128, sd15: 512, sdxl: 1024 }[family],
		unet,
		vae,
		text
	};
}

/** Six sizes, 256 numbers each. */
const SIZES = 6 * 256;

class Shapes {
	constructor(private readonly tensors: Tensors) {}

	has(name: string): boolean {
		return this.tensors.has(name);
	}

	/** One size of a tensor. @throws FormatError `incomplete-model` */
	size(name: string, axis: number): number {
		const size = this.tensors.get(name)?.shape[axis];
		if (!size) throw new FormatError('incomplete-model', name, `The file lacks ${name}`, COMPLETE);
		return size;
	}

	/** Whether the tensor has so many axes that this one exists. */
	hasAxis(name: string, axis: number): boolean {
		return (this.tensors.get(name)?.shape.length ?? 0) > axis;
	}

	/** How many of name(0), name(1), … exist. */
	count(name: (i: number) => string): number {
		let n = 0;
		while (this.tensors.has(name(n))) n++;
		return n;
	}
}

function readUnet(shapes: Shapes, known: Pick<UnetConfig, 'heads' | 'contextDim' | 'vectorDim' | 'groups'>): UnetConfig {
	const key = (path: string): string => `${UNET_PREFIX}${path}`;
	const modelChannels = shapes.size(key('input_blocks.0.0.weight'), 0);
	const depthAt = (block: string): number => shapes.count((k) => key(`${block}.1.transformer_blocks.${k}.norm1.weight`));
	const levels: { mult: number; depth: number; blocks: number }[] = [{ mult: 0, depth: 0, blocks: 0 }];
	for (let n = 1; ; n++) {
		const block = `input_blocks.${n}`;
		const level = levels.at(-1);
		if (shapes.has(key(`${block}.0.op.weight`))) levels.push({ mult: 0, depth: 0, blocks: 0 });
		else if (level && shapes.has(key(`${block}.0.in_layers.2.weight`))) {
			level.mult = shapes.size(key(`${block}.0.in_layers.2.weight`), 0) / modelChannels;
			level.depth = depthAt(block);
			level.blocks++;
		} else break;
	}
	const linearProjection = [...Array(3 * levels.length).keys()].some((n) => {
		const name = key(`input_blocks.${n}.1.proj_in.weight`);
		return shapes.has(name) && !shapes.hasAxis(name, 2);
	});
	return {
		...known,
		inChannels: shapes.size(key('input_blocks.0.0.weight'), 1),
		outChannels: shapes.size(key('out.2.weight'), 0),
		modelChannels,
		channelMult: levels.map(({ mult }) => mult),
		resBlocks: levels[0]?.blocks ?? 0,
		depths: levels.map(({ depth }) => depth),
		middleDepth: depthAt('middle_block'),
		linearProjection
	};
}

/** The file must hold exactly the tensors that the configuration asks for. */
function checkUnet(tensors: Tensors, config: UnetConfig): void {
	if (config.resBlocks < 1 || config.channelMult.some((mult) => !Number.isInteger(mult) || mult < 1)) {
		throw new FormatError('unknown-model', `${UNET_PREFIX}input_blocks`, 'The levels of the UNet are not those of Stable Diffusion', COMPLETE);
	}
	for (const { name, fileShape } of unetConstants(config)) {
		const found = tensors.get(UNET_PREFIX + name)?.shape;
		if (!found) throw new FormatError('incomplete-model', UNET_PREFIX + name, `The UNet lacks ${name}`, COMPLETE);
		if (found.length !== fileShape.length || found.some((size, axis) => size !== fileShape[axis])) {
			const problem = `${name} is [${found.join(', ')}] instead of [${fileShape.join(', ')}]`;
			throw new FormatError('unknown-model', UNET_PREFIX + name, problem, 'Choose a checkpoint with the layout of Stable Diffusion 1.5 or SDXL.');
		}
	}
}

function readVae(shapes: Shapes, scale: number, groups: number, prefix = VAE_PREFIX): VaeConfig {
	const key = (path: string): string => `${prefix}${path}`;
	const channels = shapes.size(key('encoder.conv_in.weight'), 0);
	const levels = shapes.count((i) => key(`encoder.down.${i}.block.0.conv1.weight`));
	const latentChannels = shapes.size(key('decoder.conv_in.weight'), 1);
	for (const name of ['quant_conv.weight', 'post_quant_conv.weight', 'encoder.mid.attn_1.q.weight', 'decoder.mid.attn_1.q.weight']) shapes.size(key(name), 0);
	return {
		prefix,
		channels,
		channelMult: Array.from({ length: levels }, (_, i) => shapes.size(key(`encoder.down.${i}.block.0.conv1.weight`), 0) / channels),
		resBlocks: shapes.count((j) => key(`encoder.down.0.block.${j}.conv1.weight`)),
		latentChannels,
		groups,
		scale
	};
}

function readClip(shapes: Shapes, heads: (width: number) => number): TextConfig {
	const prefix = CLIP_PREFIXES.find((candidate) => shapes.has(candidate + TOKENS));
	if (prefix === undefined) throw new FormatError('incomplete-model', CLIP_PREFIXES[0] + TOKENS, 'The file holds no CLIP text encoder', COMPLETE);
	const width = shapes.size(prefix + TOKENS, 1);
	return {
		prefix,
		layout: 'hf',
		width,
		layers: shapes.count((i) => `${prefix}encoder.layers.${i}.self_attn.q_proj.weight`),
		heads: heads(width),
		intermediate: shapes.size(`${prefix}encoder.layers.0.mlp.fc1.weight`, 0),
		vocabulary: shapes.size(prefix + TOKENS, 0),
		length: shapes.size(`${prefix}embeddings.position_embedding.weight`, 0),
		activation: 'quick_gelu',
		padToken: 49407
	};
}

function readBigG(shapes: Shapes): TextConfig {
	const prefix = BIG_G_PREFIX;
	const width = shapes.size(`${prefix}token_embedding.weight`, 1);
	return {
		prefix,
		layout: 'openclip',
		width,
		layers: shapes.count((i) => `${prefix}transformer.resblocks.${i}.attn.in_proj_weight`),
		heads: width / 64,
		intermediate: shapes.size(`${prefix}transformer.resblocks.0.mlp.c_fc.weight`, 0),
		vocabulary: shapes.size(`${prefix}token_embedding.weight`, 0),
		length: shapes.size(`${prefix}positional_embedding`, 0),
		activation: 'gelu',
		padToken: 0
	};
}
