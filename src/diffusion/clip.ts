/**
 * CLIP text encoders, in the two spellings that checkpoints use.
 *   x = token + position;  x += attn(ln1 x) (causal);  x += fc2(act(fc1(ln2 x)));  context = x after some layer, with or without the final norm
 *   pooled = final_norm(x after the last layer)[first end token] · text_projection
 * hf: names of transformers' CLIPTextModel. openclip: fused query, key and value in one in_proj (rows in that order), projection not transposed.
 * The rule: one layer is in memory at a time. All layers of an encoder are the same ONNX graph whose weights are inputs; OpenCLIP bigG has 2.8 GB in f32, which
 * neither one ModelProto (2 GiB) nor the runtime's heap (4 GiB) would hold with its halves. Rows of the token table are read one by one.
 * Source: Radford et al. 2021 (arXiv 2103.00020); layer names as in CLIP, OpenCLIP and transformers.
 */
import { FormatError } from '../formats/error';
import type { SafetensorsFile } from '../formats/safetensors';
import { OnnxModel } from '../onnx/model';
import { openSession, type OnnxSession, type OnnxTensor } from '../onnx/session';
import type { TextConfig } from './config';

export interface ClipOutputs {
	/** The context is taken after the last layer (1), the last but one (2), and so on. */
	readonly skip: number;
	readonly finalNorm: boolean;
	/** Also the pooled vector. openclip only. */
	readonly pooled: boolean;
}

export interface ClipResult {
	/** `[n, 77, width]` */
	readonly context: Float32Array;
	/** `[n, projected]`; empty when it was not asked for. */
	readonly pooled: Float32Array;
}

type Weights = Readonly<Record<string, OnnxTensor>>;

const SPELLING = {
	hf: {
		token: 'embeddings.token_embedding.weight',
		position: 'embeddings.position_embedding.weight',
		layer: 'encoder.layers',
		norm1: 'layer_norm1',
		norm2: 'layer_norm2',
		query: ['self_attn.q_proj.', 'self_attn.k_proj.', 'self_attn.v_proj.'],
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
		query: ['attn.in_proj_'],
		out: 'attn.out_proj',
		up: 'mlp.c_fc',
		down: 'mlp.c_proj',
		finalNorm: 'ln_final'
	}
} as const;

/** Encoders up to this size (bytes of all layers in f32) keep their weights between calls. */
const KEEP_BELOW = 64 * 2 ** 20;
/** Prompts that go through a layer at once. */
const BATCH = 8;

export class ClipEncoder {
	readonly #sessions = new Map<'layer' | 'norm' | 'pool', Promise<OnnxSession>>();
	readonly #kept = new Map<number, Weights>();
	readonly #keep: boolean;

	constructor(
		private readonly file: SafetensorsFile,
		readonly config: TextConfig
	) {
		const { layers, width, intermediate } = config;
		this.#keep = 4 * layers * (4 * width * width + 2 * width * intermediate) < KEEP_BELOW;
	}

	/**
	 * @param ids rows of 77 tokens @param ends place of the end token in each row, for the pooled vector
	 * @param onProgress share of the layers done
	 */
	async run(ids: readonly (readonly number[])[], ends: readonly number[], outputs: ClipOutputs, onProgress?: (fraction: number) => void): Promise<ClipResult> {
		const { length, width, layers } = this.config;
		const size = length * width;
		const batches = Array.from({ length: Math.ceil(ids.length / BATCH) }, (_, i) => [i * BATCH, Math.min(ids.length, (i + 1) * BATCH)] as const);
		const x = await this.#embed(ids);
		const apply = async (session: OnnxSession, weights: Weights, from: Float32Array, to: Float32Array): Promise<void> => {
			for (const [start, end] of batches) {
				const part = { dims: [end - start, length, width], data: from.subarray(start * size, end * size) };
				to.set((await session.run({ ...weights, x: part }))['y']?.data as Float32Array, start * size);
			}
		};
		const contextAfter = layers - outputs.skip;
		const last = outputs.pooled ? layers - 1 : contextAfter;
		let context = x;
		for (let layer = 0; layer <= last; layer++) {
			await apply(await this.#open('layer'), await this.#layer(layer), x, x);
			if (layer === contextAfter) context = outputs.pooled && layer < last ? x.slice() : x;
			onProgress?.((layer + 1) / (last + 1));
		}
		if (!outputs.finalNorm && !outputs.pooled) return { context, pooled: new Float32Array(0) };
		const norm = await this.#read({
			normWeight: `${SPELLING[this.config.layout].finalNorm}.weight`,
			normBias: `${SPELLING[this.config.layout].finalNorm}.bias`
		});
		const pooled = outputs.pooled ? await this.#pool(x, ends, norm) : new Float32Array(0);
		if (outputs.finalNorm) await apply(await this.#open('norm'), norm, context, context);
		return { context, pooled };
	}

	/** Frees the graphs and weights; they are opened again when needed. */
	async close(): Promise<void> {
		const open = [...this.#sessions.values()];
		this.#sessions.clear();
		this.#kept.clear();
		for (const each of open) await (await each).close();
	}

	async #embed(ids: readonly (readonly number[])[]): Promise<Float32Array> {
		const { length, width, layout } = this.config;
		const { token, position } = SPELLING[layout];
		const positions = await this.file.readFloat32(this.#name(position));
		const rows = new Map<number, Float32Array>();
		for (const id of new Set(ids.flat())) rows.set(id, await this.file.readPart(this.#name(token), id * width, width));
		const x = new Float32Array(ids.length * length * width);
		ids.flat().forEach((id, i) => {
			const at = i * width;
			const row = rows.get(id);
			const place = (i % length) * width;
			for (let j = 0; j < width; j++) x[at + j] = (row?.[j] ?? 0) + (positions[place + j] ?? 0);
		});
		return x;
	}

	async #pool(x: Float32Array, ends: readonly number[], norm: Weights): Promise<Float32Array> {
		const { length, width } = this.config;
		const rows = new Float32Array(ends.length * width);
		ends.forEach((end, i) => rows.set(x.subarray((i * length + end) * width, (i * length + end + 1) * width), i * width));
		const weights = { ...norm, ...(await this.#read({ projection: 'text_projection' })) };
		const { y } = await (await this.#open('pool')).run({ ...weights, x: { dims: [ends.length, width], data: rows } });
		return y?.data as Float32Array;
	}

	async #layer(layer: number): Promise<Weights> {
		const kept = this.#kept.get(layer);
		if (kept) return kept;
		const names = SPELLING[this.config.layout];
		const path = `${names.layer}.${layer}.`;
		const pairs = layerInputs(this.config).map(([input, key]) => [input, path + key] as const);
		const weights = await this.#read(Object.fromEntries(pairs));
		if (this.#keep) this.#kept.set(layer, weights);
		return weights;
	}

	/** @param keys value in the graph → key in the file */
	async #read(keys: Readonly<Record<string, string>>): Promise<Weights> {
		const weights: Record<string, OnnxTensor> = {};
		for (const [input, key] of Object.entries(keys)) {
			const name = this.#name(key);
			weights[input] = { dims: this.file.tensors.get(name)?.shape ?? [], data: await this.file.readFloat32(name) };
		}
		return weights;
	}

	/** @throws FormatError `incomplete-model` */
	#name(key: string): string {
		const name = this.config.prefix + key;
		if (this.file.tensors.has(name)) return name;
		throw new FormatError('incomplete-model', name, `The file lacks ${name}`, 'Choose a complete checkpoint (UNet, VAE and text encoder in one file).');
	}

	#open(part: 'layer' | 'norm' | 'pool'): Promise<OnnxSession> {
		const make = { layer: layerModel, norm: normModel, pool: poolModel }[part];
		const open = this.#sessions.get(part) ?? make(this.config).then(openSession);
		this.#sessions.set(part, open);
		open.catch(() => this.#sessions.delete(part));
		return open;
	}
}

/** The weights of one layer: value in the graph, key in the file behind the layer's path. */
function layerInputs({ layout }: TextConfig): [input: string, key: string][] {
	const { norm1, norm2, query, out, up, down } = SPELLING[layout];
	const parts: [string, string][] = [
		['norm1', `${norm1}.`],
		...query.map((key, i): [string, string] => [`query${i}`, key]),
		['out', `${out}.`],
		['norm2', `${norm2}.`],
		['up', `${up}.`],
		['down', `${down}.`]
	];
	return parts.flatMap(([input, key]): [string, string][] => [
		[`${input}Weight`, `${key}weight`],
		[`${input}Bias`, `${key}bias`]
	]);
}

/** x `[n, 77, width]` and the weights of a layer → y of the same shape. */
function layerModel(config: TextConfig): Promise<Uint8Array> {
	const { length, width, heads, intermediate, layout } = config;
	const net = new OnnxModel();
	const x = net.input('x', 'f32', ['n', length, width]);
	for (const [input] of layerInputs(config)) net.input(input, 'f32', input.startsWith('norm') || input.endsWith('Bias') ? ['size'] : ['out', 'in']);
	const rows = net.ints('rows', [-1, width]);
	const norm = (y: string, name: string): string => net.node('LayerNormalization', [y, `${name}Weight`, `${name}Bias`], { axis: -1, epsilon: { float: 1e-5 } });
	const linear = (y: string, name: string): string => net.node('Gemm', [y, `${name}Weight`, `${name}Bias`], { transB: 1 });

	const normal = norm(net.node('Reshape', [x, rows]), 'norm1');
	const all = SPELLING[layout].query.map((_, i) => linear(normal, `query${i}`));
	const [query = '', key = '', value = ''] = all.length === 3 ? all : net.nodes('Split', all, 3, { axis: -1, num_outputs: 3 });
	const split = net.ints('heads', [-1, length, heads, width / heads]);
	const part = (y: string, perm: readonly number[]): string => net.node('Transpose', [net.node('Reshape', [y, split])], { perm });
	const q = net.node('Mul', [part(query, [0, 2, 1, 3]), net.floats('scale', [], [(width / heads) ** -0.5])]);
	const future = Array.from({ length: length * length }, (_, i) => (i % length > Math.floor(i / length) ? -Infinity : 0));
	const scores = net.node('Add', [net.node('MatMul', [q, part(key, [0, 2, 3, 1])]), net.floats('mask', [length, length], future)]);
	const mixed = net.node('MatMul', [net.node('Softmax', [scores], { axis: -1 }), part(value, [0, 2, 1, 3])]);
	const attended = linear(net.node('Reshape', [net.node('Transpose', [mixed], { perm: [0, 2, 1, 3] }), rows]), 'out');
	const h = net.node('Add', [net.node('Reshape', [x, rows]), attended]);

	const wide = net.node('Reshape', [linear(norm(h, 'norm2'), 'up'), net.ints('wide', [-1, intermediate])]);
	const active =
		config.activation === 'gelu'
			? net.node('Gelu', [wide])
			: net.node('Mul', [wide, net.node('Sigmoid', [net.node('Mul', [wide, net.floats('quick', [], [1.702])])])]);
	const y = net.node('Add', [h, linear(active, 'down')]);
	net.output(net.node('Reshape', [y, net.ints('shape', [-1, length, width])], {}, 'y'), 'f32', ['n', length, width]);
	return net.encode();
}

/** The final norm over x `[n, 77, width]`. */
function normModel({ length, width }: TextConfig): Promise<Uint8Array> {
	const net = new OnnxModel();
	const x = net.input('x', 'f32', ['n', length, width]);
	for (const name of ['normWeight', 'normBias']) net.input(name, 'f32', [width]);
	net.output(net.node('LayerNormalization', [x, 'normWeight', 'normBias'], { axis: -1, epsilon: { float: 1e-5 } }, 'y'), 'f32', ['n', length, width]);
	return net.encode();
}

/** Rows of end tokens x `[n, width]` → y `[n, projected]`. */
function poolModel({ width }: TextConfig): Promise<Uint8Array> {
	const net = new OnnxModel();
	const x = net.input('x', 'f32', ['n', width]);
	for (const name of ['normWeight', 'normBias']) net.input(name, 'f32', [width]);
	net.input('projection', 'f32', [width, 'projected']);
	const normal = net.node('LayerNormalization', [x, 'normWeight', 'normBias'], { axis: -1, epsilon: { float: 1e-5 } });
	net.output(net.node('MatMul', [normal, 'projection'], {}, 'y'), 'f32', ['n', 'projected']);
	return net.encode();
}
