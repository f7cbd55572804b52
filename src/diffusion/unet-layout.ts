/**
 * The UNet as data: which layers stand where, under which names, with how many channels. The graph, the list of modules that can
 * carry a LoRA, the list of tensors to load and the check of a checkpoint all walk this one description.
 * Names are those of the original single-file ("ldm") layout, without the prefix `model.diffusion_model.`.
 * Source: openaimodel.py of latent-diffusion, as laid out in SD 1.5 and SDXL checkpoints.
 */
import type { BlockId } from '../recipe/recipe';
import type { UnetConfig } from './config';

export type UnetLayer =
	| { readonly kind: 'convIn'; readonly path: string; readonly inChannels: number; readonly outChannels: number }
	| { readonly kind: 'res'; readonly path: string; readonly inChannels: number; readonly outChannels: number }
	| { readonly kind: 'transformer'; readonly path: string; readonly channels: number; readonly depth: number }
	| { readonly kind: 'down'; readonly path: string; readonly channels: number }
	| { readonly kind: 'up'; readonly path: string; readonly channels: number };

export interface UnetBlock {
	readonly id: BlockId;
	readonly layers: readonly UnetLayer[];
}

export interface UnetLayout {
	readonly input: readonly UnetBlock[];
	readonly middle: UnetBlock;
	/** Each takes the output of the input block at the mirrored place as a skip. */
	readonly output: readonly UnetBlock[];
	readonly embeddingChannels: number;
	readonly lastChannels: number;
}

/** A Linear or convolution that may carry a LoRA. */
export interface UnetModule {
	/** ldm path, e.g. `input_blocks.1.1.transformer_blocks.0.attn1.to_q`. */
	readonly path: string;
	readonly kind: 'linear' | 'conv1' | 'conv3';
	/** transformer: what a linear ("lierla") network takes; residual and resample: added by a convolutional ("c3lier") one. */
	readonly part: 'transformer' | 'residual' | 'resample';
	/** Channels in and out (a 3×3 kernel multiplies inFeatures by 9). */
	readonly inFeatures: number;
	readonly outFeatures: number;
	readonly stride: 1 | 2;
	readonly block: BlockId;
}

/** A tensor of the UNet as the graph wants it. */
export interface UnetConstant {
	/** ldm key without the prefix; also the name of the constant. */
	readonly name: string;
	/** In the file (proj_in and proj_out count as what the configuration says). */
	readonly fileShape: readonly number[];
	/** In the graph: Linear `[N, K]`, 3×3 convolution `[Cout, 9·Cin]` in the order (ky, kx, ci), vectors `[C]`. */
	readonly shape: readonly number[];
}

export function unetLayout(config: UnetConfig): UnetLayout {
	const { modelChannels, channelMult, resBlocks, depths } = config;
	const first: UnetLayer = { kind: 'convIn', path: 'input_blocks.0.0', inChannels: config.inChannels, outChannels: modelChannels };
	const input: UnetBlock[] = [{ id: id('IN', 0), layers: [first] }];
	const skips = [modelChannels];
	let channels = modelChannels;
	channelMult.forEach((mult, level) => {
		for (let i = 0; i < resBlocks; i++) {
			const path = `input_blocks.${input.length}`;
			const layers: UnetLayer[] = [{ kind: 'res', path: `${path}.0`, inChannels: channels, outChannels: modelChannels * mult }];
			channels = modelChannels * mult;
			pushTransformer(layers, path, channels, depths[level] ?? 0);
			input.push({ id: id('IN', input.length), layers });
			skips.push(channels);
		}
		if (level < channelMult.length - 1) {
			input.push({ id: id('IN', input.length), layers: [{ kind: 'down', path: `input_blocks.${input.length}.0.op`, channels }] });
			skips.push(channels);
		}
	});
	const middle: UnetLayer[] = [{ kind: 'res', path: 'middle_block.0', inChannels: channels, outChannels: channels }];
	pushTransformer(middle, 'middle_block', channels, config.middleDepth);
	middle.push({ kind: 'res', path: `middle_block.${middle.length}`, inChannels: channels, outChannels: channels });
	const output: UnetBlock[] = [];
	for (let level = channelMult.length - 1; level >= 0; level--) {
		for (let i = 0; i <= resBlocks; i++) {
			const path = `output_blocks.${output.length}`;
			const outChannels = modelChannels * (channelMult[level] ?? 1);
			const layers: UnetLayer[] = [{ kind: 'res', path: `${path}.0`, inChannels: channels + (skips.pop() ?? 0), outChannels }];
			channels = outChannels;
			pushTransformer(layers, path, channels, depths[level] ?? 0);
			if (level > 0 && i === resBlocks) layers.push({ kind: 'up', path: `${path}.${layers.length}.conv`, channels });
			output.push({ id: id('OUT', output.length), layers });
		}
	}
	return { input, middle: { id: 'M00', layers: middle }, output, embeddingChannels: 4 * modelChannels, lastChannels: channels };
}

function pushTransformer(layers: UnetLayer[], block: string, channels: number, depth: number): void {
	if (depth > 0) layers.push({ kind: 'transformer', path: `${block}.${layers.length}`, channels, depth });
}

function id(side: 'IN' | 'OUT', n: number): BlockId {
	return `${side}${String(n).padStart(2, '0')}`;
}

/** Every module that can carry a LoRA, in the order of the checkpoint's blocks: 192 + 86 for SD 1.5, 722 + 66 for SDXL. */
export function unetModules(config: UnetConfig): UnetModule[] {
	const { input, middle, output, embeddingChannels } = unetLayout(config);
	return [...input, middle, ...output].flatMap(({ id: block, layers }) =>
		layers.flatMap((layer) => layerModules(config, embeddingChannels, layer).map((module) => ({ ...module, block })))
	);
}

function layerModules(config: UnetConfig, embedding: number, layer: UnetLayer): Omit<UnetModule, 'block'>[] {
	type Kind = UnetModule['kind'];
	const entry = (part: UnetModule['part'], kind: Kind, path: string, inFeatures: number, outFeatures: number, stride: 1 | 2 = 1) =>
		({ part, kind, path, inFeatures, outFeatures, stride }) as const;
	switch (layer.kind) {
		case 'convIn':
			return [];
		case 'down':
			return [entry('resample', 'conv3', layer.path, layer.channels, layer.channels, 2)];
		case 'up':
			return [entry('resample', 'conv3', layer.path, layer.channels, layer.channels)];
		case 'res': {
			const { path, inChannels, outChannels } = layer;
			const modules = [
				entry('residual', 'conv3', `${path}.in_layers.2`, inChannels, outChannels),
				entry('residual', 'linear', `${path}.emb_layers.1`, embedding, outChannels),
				entry('residual', 'conv3', `${path}.out_layers.3`, outChannels, outChannels)
			];
			if (inChannels !== outChannels) modules.push(entry('residual', 'conv1', `${path}.skip_connection`, inChannels, outChannels));
			return modules;
		}
		case 'transformer': {
			const { path, channels: c, depth } = layer;
			const linear = (name: string, inFeatures: number, outFeatures: number) => entry('transformer', 'linear', name, inFeatures, outFeatures);
			const projection: Kind = config.linearProjection ? 'linear' : 'conv1';
			const blocks = Array.from({ length: depth }, (_, k) => `${path}.transformer_blocks.${k}`).flatMap((block) => [
				linear(`${block}.attn1.to_q`, c, c),
				linear(`${block}.attn1.to_k`, c, c),
				linear(`${block}.attn1.to_v`, c, c),
				linear(`${block}.attn1.to_out.0`, c, c),
				linear(`${block}.ff.net.0.proj`, c, 8 * c),
				linear(`${block}.ff.net.2`, 4 * c, c),
				linear(`${block}.attn2.to_q`, c, c),
				linear(`${block}.attn2.to_k`, config.contextDim, c),
				linear(`${block}.attn2.to_v`, config.contextDim, c),
				linear(`${block}.attn2.to_out.0`, c, c)
			]);
			return [entry('transformer', projection, `${path}.proj_in`, c, c), ...blocks, entry('transformer', projection, `${path}.proj_out`, c, c)];
		}
	}
}

const WITHOUT_BIAS = /\.attn[12]\.to_[qkv]$/;

/** Every tensor of the UNet. */
export function unetConstants(config: UnetConfig): UnetConstant[] {
	const layout = unetLayout(config);
	const constants: UnetConstant[] = [];
	const vector = (name: string, size: number): void => void constants.push({ name, fileShape: [size], shape: [size] });
	const norm = (path: string, channels: number): void => {
		vector(`${path}.weight`, channels);
		vector(`${path}.bias`, channels);
	};
	const layer = (kind: UnetModule['kind'], path: string, inFeatures: number, outFeatures: number): void => {
		const kernel = kind === 'conv3' ? 3 : 1;
		const fileShape = kind === 'linear' ? [outFeatures, inFeatures] : [outFeatures, inFeatures, kernel, kernel];
		constants.push({ name: `${path}.weight`, fileShape, shape: [outFeatures, kernel * kernel * inFeatures] });
		if (!WITHOUT_BIAS.test(path)) vector(`${path}.bias`, outFeatures);
	};
	const embedding = layout.embeddingChannels;
	layer('linear', 'time_embed.0', config.modelChannels, embedding);
	layer('linear', 'time_embed.2', embedding, embedding);
	if (config.vectorDim > 0) {
		layer('linear', 'label_emb.0.0', config.vectorDim, embedding);
		layer('linear', 'label_emb.0.2', embedding, embedding);
	}
	layer('conv3', 'input_blocks.0.0', config.inChannels, config.modelChannels);
	for (const module of unetModules(config)) layer(module.kind, module.path, module.inFeatures, module.outFeatures);
	for (const { layers } of [...layout.input, layout.middle, ...layout.output]) {
		for (const item of layers) {
			if (item.kind === 'res') {
				norm(`${item.path}.in_layers.0`, item.inChannels);
				norm(`${item.path}.out_layers.0`, item.outChannels);
			} else if (item.kind === 'transformer') {
				norm(`${item.path}.norm`, item.channels);
				for (let k = 0; k < item.depth; k++) {
					for (const n of [1, 2, 3]) norm(`${item.path}.transformer_blocks.${k}.norm${n}`, item.channels);
				}
			}
		}
	}
	norm('out.0', layout.lastChannels);
	layer('conv3', 'out.2', layout.lastChannels, config.outChannels);
	return constants;
}

/** Parameters of the UNet. */
export function unetParameters(config: UnetConfig): number {
	return unetConstants(config).reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
}
