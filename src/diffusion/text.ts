/**
 * The CLIP text encoder: prompts to contexts, as an ONNX graph written from the checkpoint's tensors.
 *   x = token + position;  x += attn(ln1 x) (causal);  x += fc2(act(fc1(ln2 x)));  context = final_norm(x)
 * SD 1.5 takes the last layer (or the N-th from the end, "clip skip") with the final norm.
 * Source: Radford et al. 2021 (arXiv 2103.00020); layer names as in transformers' CLIPTextModel.
 */
import { openSession, type OnnxSession } from '../onnx/session';
import type { Checkpoint } from './checkpoint';
import type { TextConfig } from './config';
import { Network } from './network';
import { clipTokenizer } from './tokenizer';

export interface TextEncoder {
	/** Width of a context row. */
	readonly width: number;
	/** Prompts to `[n, 77, width]`; what does not fit 75 tokens is cut off. */
	encode(prompts: readonly string[]): Promise<Float32Array>;
	/** The same from token ids, 77 of them for each prompt. */
	encodeIds(ids: readonly (readonly number[])[]): Promise<Float32Array>;
	/** Frees the network; it is opened again when needed. */
	close(): Promise<void>;
}

export interface TextEncoderOptions {
	/** 1: the last layer; 2: the last but one, and so on. */
	readonly skip?: number;
	/** Whether the final norm is applied; SDXL's first encoder does without. */
	readonly finalNorm?: boolean;
}

/** The encoder of SD 1.5 and the mini model, and the first of SDXL. The network is built at the first use. */
export function openTextEncoder(checkpoint: Checkpoint, options: TextEncoderOptions = {}): TextEncoder {
	const config = checkpoint.config.text[0];
	if (config?.layout !== 'hf') throw new RangeError('This checkpoint has no CLIP text encoder');
	let session: Promise<OnnxSession> | undefined;
	const open = (): Promise<OnnxSession> => {
		session ??= clipModel(checkpoint, config, options).then(openSession);
		session.catch(() => (session = undefined));
		return session;
	};
	const encodeIds = async (ids: readonly (readonly number[])[]): Promise<Float32Array> => {
		const data = BigInt64Array.from(ids.flat(), BigInt);
		const { context } = await (await open()).run({ ids: { dims: [ids.length, config.length], data } });
		return context?.data as Float32Array;
	};
	return {
		width: config.width,
		encodeIds,
		async encode(prompts) {
			const tokenizer = await clipTokenizer();
			return encodeIds(prompts.map((prompt) => tokenizer.encode(prompt, { length: config.length, padToken: config.padToken })));
		},
		async close() {
			const closing = session;
			session = undefined;
			await (await closing)?.close();
		}
	};
}

/** ids `[n, 77]` → context `[n, 77, width]`. */
function clipModel({ file }: Checkpoint, config: TextConfig, { skip = 1, finalNorm = true }: TextEncoderOptions): Promise<Uint8Array> {
	const { length, width, heads } = config;
	const net = new Network(file, config.prefix);
	const ids = net.input('ids', 'i64', ['n', length]);
	// Rows are gathered as stored and only then widened: the table of all tokens is the largest tensor.
	const table = net.stored('embeddings.token_embedding.weight');
	const rows = net.node('Gather', [table.value, ids], { axis: 0 });
	let x = net.node('Add', [table.half ? net.node('Cast', [rows], { to: 1 }) : rows, net.weight('embeddings.position_embedding.weight')]);
	const mask = net.floats(
		'mask',
		[length, length],
		Array.from({ length: length * length }, (_, i) => (i % length > Math.floor(i / length) ? -Infinity : 0))
	);
	const split = net.ints('heads', [0, length, heads, width / heads]);
	const join = net.ints('joined', [0, length, width]);
	for (let layer = 0; layer <= config.layers - skip; layer++) {
		const path = `encoder.layers.${layer}`;
		const normal = net.layerNorm(x, `${path}.layer_norm1`);
		const part = (name: string, perm: readonly number[]): string =>
			net.node('Transpose', [net.node('Reshape', [net.linear(normal, `${path}.self_attn.${name}`), split])], { perm });
		const q = net.scaled(part('q_proj', [0, 2, 1, 3]), (width / heads) ** -0.5);
		const scores = net.node('Add', [net.node('MatMul', [q, part('k_proj', [0, 2, 3, 1])]), mask]);
		const mixed = net.node('MatMul', [net.node('Softmax', [scores], { axis: -1 }), part('v_proj', [0, 2, 1, 3])]);
		const joined = net.node('Reshape', [net.node('Transpose', [mixed], { perm: [0, 2, 1, 3] }), join]);
		x = net.node('Add', [x, net.linear(joined, `${path}.self_attn.out_proj`)]);
		const hidden = net.linear(net.layerNorm(x, `${path}.layer_norm2`), `${path}.mlp.fc1`);
		const active = net.node('Mul', [hidden, net.node('Sigmoid', [net.scaled(hidden, 1.702)])]);
		x = net.node('Add', [x, net.linear(active, `${path}.mlp.fc2`)]);
	}
	net.output(net.node('Identity', [finalNorm ? net.layerNorm(x, 'final_layer_norm') : x], {}, 'context'), 'f32', ['n', length, width]);
	return net.encode();
}
