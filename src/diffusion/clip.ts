/**
 * CLIP text encoders as ONNX graphs, in the two spellings that checkpoints use.
 *   x = token + position;  x += attn(ln1 x) (causal);  x += fc2(act(fc1(ln2 x)));  context = x after some layer, with or without the final norm
 *   pooled = final_norm(x after the last layer)[first end token] · text_projection
 * hf: names of transformers' CLIPTextModel. openclip: fused query, key and value in one in_proj (rows in that order), projection not transposed.
 * Source: Radford et al. 2021 (arXiv 2103.00020); layer names as in CLIP, OpenCLIP and transformers.
 */
import type { SafetensorsFile } from '../formats/safetensors';
import type { TextConfig } from './config';
import { Network } from './network';

export interface ClipOutputs {
	/** The context is taken after the last layer (1), the last but one (2), and so on. */
	readonly skip: number;
	readonly finalNorm: boolean;
	/** Also `pooled`; needs the input `ends`. openclip only. */
	readonly pooled: boolean;
}

const SPELLING = {
	hf: {
		token: 'embeddings.token_embedding.weight',
		position: 'embeddings.position_embedding.weight',
		layer: 'encoder.layers',
		norm1: 'layer_norm1',
		norm2: 'layer_norm2',
		out: 'self_attn.out_proj',
		up: 'mlp.fc1',
		down: 'mlp.fc2',
		finalNorm: 'final_layer_norm'
	},
	openclip: {
		token: 'token_embedding.weight',
		position: 'positional_embedding',
		layer: 'transformer.resblocks',
		norm1: 'ln_1',
		norm2: 'ln_2',
		out: 'attn.out_proj',
		up: 'mlp.c_fc',
		down: 'mlp.c_proj',
		finalNorm: 'ln_final'
	}
} as const;

/**
 * Inputs: ids `[n, 77]`, and for pooled `ends [n]`, the rows of the end tokens counted over all n·77 rows.
 * Outputs: context `[n, 77, width]`, pooled `[n, width]`.
 */
export function clipModel(file: SafetensorsFile, config: TextConfig, outputs: ClipOutputs): Promise<Uint8Array> {
	const { length, width, layers } = config;
	const names = SPELLING[config.layout];
	const net = new ClipNetwork(file, config);
	const ids = net.input('ids', 'i64', ['n', length]);
	// Rows are gathered as stored and only then widened: the table of all tokens is the largest tensor.
	const table = net.stored(names.token);
	const rows = net.node('Gather', [table.value, ids], { axis: 0 });
	let x = net.node('Add', [table.half ? net.node('Cast', [rows], { to: 1 }) : rows, net.weight(names.position)]);
	const contextAfter = layers - outputs.skip;
	let context = x;
	for (let layer = 0; layer <= (outputs.pooled ? layers - 1 : contextAfter); layer++) {
		const path = `${names.layer}.${layer}`;
		const mixed = net.attention(net.layerNorm(x, `${path}.${names.norm1}`), path);
		x = net.node('Add', [x, net.linear(mixed, `${path}.${names.out}`)]);
		const hidden = net.activation(net.linear(net.layerNorm(x, `${path}.${names.norm2}`), `${path}.${names.up}`));
		x = net.node('Add', [x, net.linear(hidden, `${path}.${names.down}`)]);
		if (layer === contextAfter) context = x;
	}
	if (outputs.finalNorm) context = net.layerNorm(context, names.finalNorm);
	net.output(net.node('Identity', [context], {}, 'context'), 'f32', ['n', length, width]);
	if (outputs.pooled) {
		const flat = net.node('Reshape', [net.layerNorm(x, names.finalNorm), net.ints('rows', [-1, width])]);
		const ends = net.node('Gather', [flat, net.input('ends', 'i64', ['n'])], { axis: 0 });
		net.output(net.node('MatMul', [ends, net.weight('text_projection')], {}, 'pooled'), 'f32', ['n', 'projected']);
	}
	return net.encode();
}

class ClipNetwork extends Network {
	readonly #mask: string;
	readonly #split: string;
	readonly #join: string;

	constructor(
		file: SafetensorsFile,
		private readonly config: TextConfig
	) {
		super(file, config.prefix);
		const { length, width, heads } = config;
		const future = Array.from({ length: length * length }, (_, i) => (i % length > Math.floor(i / length) ? -Infinity : 0));
		this.#mask = this.floats('mask', [length, length], future);
		this.#split = this.ints('heads', [0, length, heads, width / heads]);
		this.#join = this.ints('joined', [0, length, width]);
	}

	/** Causal attention over x `[n, 77, width]`, before the output projection. */
	attention(x: string, layer: string): string {
		const { width, heads } = this.config;
		const [query = '', key = '', value = ''] = this.#queryKeyValue(x, layer);
		const part = (y: string, perm: readonly number[]): string => this.node('Transpose', [this.node('Reshape', [y, this.#split])], { perm });
		const q = this.scaled(part(query, [0, 2, 1, 3]), (width / heads) ** -0.5);
		const scores = this.node('Add', [this.node('MatMul', [q, part(key, [0, 2, 3, 1])]), this.#mask]);
		const mixed = this.node('MatMul', [this.node('Softmax', [scores], { axis: -1 }), part(value, [0, 2, 1, 3])]);
		return this.node('Reshape', [this.node('Transpose', [mixed], { perm: [0, 2, 1, 3] }), this.#join]);
	}

	activation(x: string): string {
		if (this.config.activation === 'gelu') return this.node('Gelu', [x]);
		return this.node('Mul', [x, this.node('Sigmoid', [this.scaled(x, 1.702)])]);
	}

	#queryKeyValue(x: string, layer: string): string[] {
		if (this.config.layout === 'hf') return ['q', 'k', 'v'].map((name) => this.linear(x, `${layer}.self_attn.${name}_proj`));
		const all = this.node('MatMul', [x, this.transposed(`${layer}.attn.in_proj_weight`)]);
		return this.nodes('Split', [this.node('Add', [all, this.weight(`${layer}.attn.in_proj_bias`)])], 3, { axis: -1, num_outputs: 3 });
	}
}
