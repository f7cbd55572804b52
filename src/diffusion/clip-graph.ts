/**
 * CLIP text encoders as graphs of our own engine, for what ONNX Runtime cannot do: training them, and LoRAs in them at changing strengths. The frozen encoder stays in `clip.ts`.
 *
 *   x += out(attn(ln1 x)), causal;  x += fc2(act(fc1(ln2 x)));  context = x after some layer, with or without the final norm
 *   pooled = (final_norm(x after the last layer) at the end token) · text_projection
 *
 * Rules
 * - Rows of tokens and positions are added on the CPU (`text-input.ts`); the graph begins with `[n, 77, width]`.
 * - Both spellings of checkpoints come under the names of transformers, which LoRA files use too: `te1.text_model.encoder.layers.0.self_attn.q_proj`; a fused in_proj is cut
 *   into its thirds q, k, v when it is loaded.
 * - quick_gelu(x) = x·σ(1.702·x) = silu(1.702·x) / 1.702.
 * - The row of the end token is picked by an attention whose one query matches one key alone, so that its gradient is an attention's.
 * Source: Radford et al. 2021 (arXiv 2103.00020); layer names as in transformers' CLIPTextModel.
 */
import type { Adapter, GraphBuilder } from '../graph/builder';
import type { Value } from '../graph/ir';
import type { Checkpoint } from './checkpoint';
import type { TextConfig } from './config';
import type { WeightSink } from './weights';

/** A module of a text encoder that can carry a LoRA. */
export interface TextModule {
	/** `te1.…` or `te2.…` */
	readonly path: string;
	readonly kind: 'linear';
	readonly inFeatures: number;
	readonly outFeatures: number;
	readonly block: 'BASE';
}

/** Where contexts are taken: after the last layer (1), the last but one (2). SDXL: the last but one, without norm. */
export function contextOutputs(configs: readonly unknown[]): { readonly skip: number; readonly finalNorm: boolean } {
	return configs.length > 1 ? { skip: 2, finalNorm: false } : { skip: 1, finalNorm: true };
}

const prefixOf = (index: number): string => `te${index + 1}.text_model`;
const layerPath = (index: number, layer: number): string => `${prefixOf(index)}.encoder.layers.${layer}`;

/** The encoder makes the pooled vector too. */
export const makesPooled = (config: TextConfig): boolean => config.layout === 'openclip';

/** Layers that reach the context or the pooled vector; SDXL's first encoder has one more, which nobody reads. */
function usedLayers(config: TextConfig, configs: readonly TextConfig[]): number {
	return makesPooled(config) ? config.layers : config.layers - contextOutputs(configs).skip + 1;
}

/** @param all also those of layers that nothing reads: files of other trainers hold them */
export function textModules(configs: readonly TextConfig[], all = false): TextModule[] {
	return configs.flatMap((config, index) => {
		const { width, intermediate, layers } = config;
		const linear = (path: string, inFeatures: number, outFeatures: number): TextModule => ({ path, kind: 'linear', inFeatures, outFeatures, block: 'BASE' });
		return Array.from({ length: all ? layers : usedLayers(config, configs) }, (_, layer) => layerPath(index, layer)).flatMap((path) => [
			...['k_proj', 'v_proj', 'q_proj', 'out_proj'].map((name) => linear(`${path}.self_attn.${name}`, width, width)),
			linear(`${path}.mlp.fc1`, width, intermediate),
			linear(`${path}.mlp.fc2`, intermediate, width)
		]);
	});
}

/** A tensor of the graph, and where the file has it: rows `[from, from + rows)` of a stored tensor, or that tensor transposed. */
interface TextConstant {
	readonly name: string;
	readonly key: string;
	readonly shape: readonly number[];
	readonly from?: number;
	readonly transposed?: true;
}

const OPENCLIP_NAMES: readonly (readonly [RegExp, string])[] = [
	[/^encoder\.layers\./, 'transformer.resblocks.'],
	[/\.layer_norm(\d)\./, '.ln_$1.'],
	[/\.self_attn\.out_proj\./, '.attn.out_proj.'],
	[/\.mlp\.fc1\./, '.mlp.c_fc.'],
	[/\.mlp\.fc2\./, '.mlp.c_proj.'],
	[/^final_layer_norm\./, 'ln_final.']
];
const THIRDS = ['q_proj', 'k_proj', 'v_proj'];

function constantsOf(config: TextConfig, configs: readonly TextConfig[], index: number): TextConstant[] {
	const { width, intermediate, layout, prefix } = config;
	const constants: TextConstant[] = [];
	const add = (name: string, shape: readonly number[]): void => {
		const full = `${prefixOf(index)}.${name}`;
		if (layout === 'hf') return void constants.push({ name: full, key: prefix + name, shape });
		const third = /^(.*)\.self_attn\.([qkv]_proj)\.(weight|bias)$/.exec(name);
		if (!third) return void constants.push({ name: full, key: prefix + OPENCLIP_NAMES.reduce((key, [from, to]) => key.replace(from, to), name), shape });
		const [, path = '', which = '', what = ''] = third;
		const key = `${prefix}${path.replace('encoder.layers', 'transformer.resblocks')}.attn.in_proj_${what}`;
		constants.push({ name: full, key, shape, from: THIRDS.indexOf(which) * width });
	};
	const norm = (path: string): void => ['weight', 'bias'].forEach((what) => add(`${path}.${what}`, [width]));
	const linear = (path: string, inFeatures: number, outFeatures: number): void => {
		add(`${path}.weight`, [outFeatures, inFeatures]);
		add(`${path}.bias`, [outFeatures]);
	};
	for (let layer = 0; layer < usedLayers(config, configs); layer++) {
		const path = `encoder.layers.${layer}`;
		norm(`${path}.layer_norm1`);
		for (const name of [...THIRDS, 'out_proj']) linear(`${path}.self_attn.${name}`, width, width);
		norm(`${path}.layer_norm2`);
		linear(`${path}.mlp.fc1`, width, intermediate);
		linear(`${path}.mlp.fc2`, intermediate, width);
	}
	if (contextOutputs(configs).finalNorm || makesPooled(config)) norm('final_layer_norm');
	if (makesPooled(config)) {
		constants.push({ name: `te${index + 1}.text_projection`, key: `${prefix}text_projection`, shape: [width, width], transposed: true });
	}
	return constants;
}

/** Every tensor the graphs of these encoders read, tables of tokens and positions left out. */
export function textConstants(configs: readonly TextConfig[]): TextConstant[] {
	return configs.flatMap((config, index) => constantsOf(config, configs, index));
}

function transpose(data: Float32Array, rows: number): Float32Array {
	const columns = data.length / rows;
	return data.map((_, i) => data[(i % rows) * columns + Math.floor(i / rows)] ?? 0);
}

/** Brings the encoders' tensors to a sink that may have them already. @throws the sink's errors, FormatError when the file lacks one */
export async function loadTextWeights({ config, file }: Checkpoint, sink: WeightSink & { get(name: string): unknown }): Promise<void> {
	const constants = textConstants(config.text).filter(({ name }) => !sink.get(name));
	for (const { name, shape } of constants) sink.reserve?.(name, shape);
	for (const { name, key, shape, from = 0, transposed } of constants) {
		const row = shape[1] ?? 1;
		const data = await file.readPart(
			key,
			from * row,
			shape.reduce((product, size) => product * size, 1)
		);
		await sink.add(name, shape, transposed ? transpose(data, shape[0] ?? 1) : data);
	}
}

/** What one encoder is given for a batch. */
export interface TextValues {
	/** `[n, 77, width]`: token and position rows added. */
	readonly embedded: Value;
	/** `[n, width]` and `[n, 77, width]`: pick the end token's row; encoders that make the pooled vector only. */
	readonly pick: { readonly query: Value; readonly key: Value } | undefined;
}

export function textValues(builder: GraphBuilder, configs: readonly TextConfig[], batch: number, prefix = ''): TextValues[] {
	return configs.map((config, index) => {
		const rows = [batch, config.length, config.width];
		const name = `${prefix}te${index + 1}`;
		return {
			embedded: builder.input(`${name}.embedded`, rows),
			pick: makesPooled(config)
				? { query: builder.input(`${name}.pick.query`, [batch, config.width]), key: builder.input(`${name}.pick.key`, rows) }
				: undefined
		};
	});
}

/** Far enough apart that what does not match keeps no weight in 32 bits: e^−80 of it. */
const MATCH = 80;

/** Numbers for `pick`: one query per head, matched by the key of the end token's row alone. @param ends row of each item */
export function pickRows({ width, heads, length }: TextConfig, ends: readonly number[]): { query: Float32Array; key: Float32Array } {
	const head = width / heads;
	const query = Float32Array.from({ length: ends.length * width }, (_, i) => (i % head === 0 ? 1 : 0));
	const key = new Float32Array(ends.length * length * width);
	ends.forEach((end, item) => {
		for (let h = 0; h < heads; h++) key[(item * length + end) * width + h * head] = MATCH * Math.sqrt(head);
	});
	return { query, key };
}

/** @returns context `[n, 77, Σ widths]`, and pooled `[n, width]` where an encoder makes it */
export function buildText(
	builder: GraphBuilder,
	configs: readonly TextConfig[],
	values: readonly TextValues[],
	adapters: (path: string) => readonly Adapter[]
): { context: Value; pooled: Value | undefined } {
	const results = configs.map((config, index) => new ClipWriter(builder, configs, config, index, adapters).write(values[index] as TextValues));
	const [first] = results;
	if (!first) throw new RangeError('There is no text encoder.');
	const context = results.length > 1 ? builder.concat(results.map((result) => result.context)) : first.context;
	return { context, pooled: results.find((result) => result.pooled)?.pooled };
}

class ClipWriter {
	constructor(
		private readonly builder: GraphBuilder,
		private readonly configs: readonly TextConfig[],
		private readonly config: TextConfig,
		private readonly index: number,
		private readonly adapters: (path: string) => readonly Adapter[]
	) {}

	write({ embedded, pick }: TextValues): { context: Value; pooled: Value | undefined } {
		const { builder, config, configs } = this;
		const { skip, finalNorm } = contextOutputs(configs);
		let x = embedded;
		let context = x;
		for (let layer = 0; layer < usedLayers(config, configs); layer++) {
			x = this.layer(x, layerPath(this.index, layer));
			if (layer === config.layers - skip) context = x;
		}
		const normed = (y: Value): Value => this.norm(y, `${prefixOf(this.index)}.final_layer_norm`);
		if (finalNorm) context = normed(context);
		if (!pick) return { context, pooled: undefined };
		const end = builder.attention(pick.query, pick.key, normed(x), config.heads);
		return { context, pooled: builder.linear(end, builder.constant(`te${this.index + 1}.text_projection`, [config.width, config.width])) };
	}

	private layer(x: Value, path: string): Value {
		const { builder, config } = this;
		const { width, intermediate, heads } = config;
		const normed = this.norm(x, `${path}.layer_norm1`);
		const [q, k, v] = THIRDS.map((name) => this.linear(normed, `${path}.self_attn.${name}`, width)) as [Value, Value, Value];
		const mixed = this.linear(builder.attention(q, k, v, heads, true), `${path}.self_attn.out_proj`, width, x);
		const hidden = this.linear(this.norm(mixed, `${path}.layer_norm2`), `${path}.mlp.fc1`, intermediate);
		return this.linear(this.activation(hidden), `${path}.mlp.fc2`, width, mixed);
	}

	private activation(x: Value): Value {
		const { builder, config } = this;
		if (config.activation === 'gelu') return builder.gelu(x);
		return builder.scale(builder.silu(builder.scale(x, { factor: 1.702 })), { factor: 1 / 1.702 });
	}

	private norm(x: Value, path: string): Value {
		const { width } = this.config;
		return this.builder.layerNorm(x, this.builder.constant(`${path}.weight`, [width]), this.builder.constant(`${path}.bias`, [width]), 1e-5);
	}

	private linear(x: Value, path: string, outFeatures: number, residual?: Value): Value {
		const inFeatures = x.shape.at(-1) ?? 0;
		return this.builder.linear(x, this.builder.constant(`${path}.weight`, [outFeatures, inFeatures]), {
			bias: this.builder.constant(`${path}.bias`, [outFeatures]),
			adapters: this.adapters(path),
			residual
		});
	}
}
