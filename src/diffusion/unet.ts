/**
 * The UNet as a graph: noise prediction eps(latent, t, context) for SD 1.5, SDXL and the mini model, whichever the configuration says.
 *
 *   time:        e = silu(Linear(silu(Linear(sinusoid(t)))))           (SDXL: + Linear(silu(Linear(vector))) before the last silu)
 *   residual:    h = conv(silu(gn(x))) + Linear(e);  y = skip(x) + conv(silu(gn(h)))
 *   transformer: y = x + proj_out(blocks(proj_in(gn(x)))), each block: x += attn1(ln1 x); x += attn2(ln2 x, context); x += ff(ln3 x)
 *
 * A skip connection's concat is made once for the norm; the 1×1 skip convolution reads both parts without it.
 * Source: openaimodel.py and attention.py of latent-diffusion.
 */
import type { Adapter, GraphBuilder } from '../graph/builder';
import type { Value } from '../graph/ir';
import { headsOf, type UnetConfig } from './config';
import { unetConstants, unetLayout, type UnetBlock, type UnetLayer } from './unet-layout';

export { unetModules, unetParameters, type UnetModule } from './unet-layout';

export interface UnetInputs {
	/** `[B, h, w, 4]`, scaled noisy latents. */
	readonly latent: Value;
	/** `[B]` f32, fractional steps are fine. */
	readonly t: Value;
	/** `[B, tokens, contextDim]`. */
	readonly context: Value;
	/** `[B, vectorDim]`: pooled text and size embeddings; for configurations with vectorDim > 0, and only there. */
	readonly vector?: Value | undefined;
	/** LoRA factors of a module, by its ldm path; none when absent. */
	readonly adapters?: ((modulePath: string) => readonly Adapter[]) | undefined;
}

/** @returns eps `[B, h, w, 4]`, stored as f32. @throws RangeError when the vector is missing or out of place, or a side of the latent does not halve evenly */
export function buildUnet(builder: GraphBuilder, config: UnetConfig, inputs: UnetInputs): Value {
	if (config.vectorDim > 0 !== (inputs.vector !== undefined)) {
		throw new RangeError(config.vectorDim > 0 ? `This UNet needs a vector [B, ${config.vectorDim}]` : 'This UNet takes no vector');
	}
	const step = 2 ** (config.channelMult.length - 1);
	if (inputs.latent.shape.slice(1, 3).some((side) => side % step !== 0)) {
		throw new RangeError(`The sides of the latent [${inputs.latent.shape.join(', ')}] must be multiples of ${step}`);
	}
	const layout = unetLayout(config);
	const net = new UnetWriter(builder, config, inputs);
	const embedding = net.timeEmbedding();
	const block = ({ layers }: UnetBlock, x: Value, skip?: Value): Value =>
		layers.reduce((h, layer, i) => net.layer(layer, i === 0 && skip ? [h, skip] : [h], embedding), x);
	const skips: Value[] = [];
	let h = inputs.latent;
	for (const part of layout.input) {
		h = block(part, h);
		skips.push(h);
	}
	h = block(layout.middle, h);
	for (const part of layout.output) h = block(part, h, skips.pop());
	return net.last(h);
}

class UnetWriter {
	private readonly shapes: ReadonlyMap<string, readonly number[]>;

	constructor(
		private readonly builder: GraphBuilder,
		private readonly config: UnetConfig,
		private readonly inputs: UnetInputs
	) {
		this.shapes = new Map(unetConstants(config).map(({ name, shape }) => [name, shape]));
	}

	/** `[B, 4·modelChannels]`, after the SiLU that every residual block would apply. */
	timeEmbedding(): Value {
		const { builder, config, inputs } = this;
		let embedding = this.linear(builder.silu(this.linear(builder.sinusoid(inputs.t, config.modelChannels), 'time_embed.0')), 'time_embed.2');
		if (inputs.vector) {
			const hidden = builder.silu(this.linear(inputs.vector, 'label_emb.0.0'));
			embedding = builder.linear(hidden, this.weight('label_emb.0.2'), { bias: this.bias('label_emb.0.2'), residual: embedding });
		}
		return builder.silu(embedding);
	}

	/** @param parts the channel parts of the layer's input: x, or x and the skip */
	layer(layer: UnetLayer, parts: readonly Value[], embedding: Value): Value {
		const x = parts.length > 1 && layer.kind !== 'res' ? this.builder.concat(parts) : (parts[0] as Value);
		switch (layer.kind) {
			case 'convIn':
				return this.conv(x, layer.path);
			case 'down':
				return this.conv(x, layer.path, { stride: 2 });
			case 'up':
				return this.conv(x, layer.path, { upsample: true });
			case 'res':
				return this.residual(parts, layer, embedding);
			case 'transformer':
				return this.transformer(x, layer);
		}
	}

	/** x `[B, H, W, C]` → eps. */
	last(x: Value): Value {
		return this.builder.conv(this.norm(x, 'out.0', 1e-5, true), this.weight('out.2'), { bias: this.bias('out.2'), dtype: 'f32' });
	}

	private residual(parts: readonly Value[], layer: Extract<UnetLayer, { kind: 'res' }>, embedding: Value): Value {
		const { path, inChannels, outChannels } = layer;
		const x = parts.length > 1 ? this.builder.concat(parts) : (parts[0] as Value);
		const time = this.linear(embedding, `${path}.emb_layers.1`);
		const h = this.conv(this.norm(x, `${path}.in_layers.0`, 1e-5, true), `${path}.in_layers.2`, { rowBias: time });
		const skipPath = `${path}.skip_connection`;
		const skip =
			inChannels === outChannels ? x : this.builder.linearParts(parts, this.weight(skipPath), { bias: this.bias(skipPath), adapters: this.adapters(skipPath) });
		return this.conv(this.norm(h, `${path}.out_layers.0`, 1e-5, true), `${path}.out_layers.3`, { residual: skip });
	}

	private transformer(x: Value, layer: Extract<UnetLayer, { kind: 'transformer' }>): Value {
		const { path, channels, depth } = layer;
		const heads = headsOf(this.config, channels);
		let h = this.linear(this.norm(x, `${path}.norm`, 1e-6, false), `${path}.proj_in`);
		for (let k = 0; k < depth; k++) {
			const block = `${path}.transformer_blocks.${k}`;
			const self = this.layerNorm(h, `${block}.norm1`);
			h = this.attention(self, self, `${block}.attn1`, heads, h);
			h = this.attention(this.layerNorm(h, `${block}.norm2`), this.inputs.context, `${block}.attn2`, heads, h);
			const gated = this.builder.geglu(this.linear(this.layerNorm(h, `${block}.norm3`), `${block}.ff.net.0.proj`));
			h = this.linear(gated, `${block}.ff.net.2`, h);
		}
		return this.linear(h, `${path}.proj_out`, x);
	}

	private attention(x: Value, context: Value, path: string, heads: number, residual: Value): Value {
		const q = this.linear(x, `${path}.to_q`);
		const k = this.linear(context, `${path}.to_k`);
		const v = this.linear(context, `${path}.to_v`);
		return this.linear(this.builder.attention(q, k, v, heads), `${path}.to_out.0`, residual);
	}

	private linear(x: Value, path: string, residual?: Value): Value {
		return this.builder.linear(x, this.weight(path), { bias: this.bias(path), adapters: this.adapters(path), residual });
	}

	private conv(x: Value, path: string, options: { stride?: 1 | 2; upsample?: boolean; rowBias?: Value; residual?: Value } = {}): Value {
		return this.builder.conv(x, this.weight(path), { ...options, bias: this.bias(path), adapters: this.adapters(path) });
	}

	private norm(x: Value, path: string, eps: number, silu: boolean): Value {
		return this.builder.groupNorm(x, this.constant(`${path}.weight`), this.constant(`${path}.bias`), { groups: this.config.groups, eps, silu });
	}

	private layerNorm(x: Value, path: string): Value {
		return this.builder.layerNorm(x, this.constant(`${path}.weight`), this.constant(`${path}.bias`), 1e-5);
	}

	private adapters(path: string): readonly Adapter[] {
		return this.inputs.adapters?.(path) ?? [];
	}

	private weight(path: string): Value {
		return this.constant(`${path}.weight`);
	}

	private bias(path: string): Value | undefined {
		return this.shapes.has(`${path}.bias`) ? this.constant(`${path}.bias`) : undefined;
	}

	private constant(name: string): Value {
		const shape = this.shapes.get(name);
		if (!shape) throw new RangeError(`The UNet has no tensor ${name}`);
		return this.builder.constant(name, shape);
	}
}
