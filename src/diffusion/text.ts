/**
 * Prompts to what the UNet is conditioned on.
 * - SD 1.5 and the mini model: one encoder, its last layer with the final norm (or the N-th from the end, "clip skip").
 * - SDXL: two encoders, the last but one layer of each without the norm, side by side in features; and the second one's pooled vector,
 *   which together with six sizes makes the UNet's extra vector.
 * Prompts of pictures may carry emphasis and be longer than one context (`prompt.ts`): each chunk is encoded on its own, its rows are multiplied by
 * their weights, and the chunk is brought back to the mean it had, per encoder: WebUI's "Original" emphasis.
 */
import type { Checkpoint } from './checkpoint';
import { ClipEncoder, type ClipOutputs, type ClipResult } from './clip';
import type { TextConfig } from './config';
import { emphasise } from './emphasis';
import { promptChunks, type Chunk } from './prompt';
import { BOS, clipTokenizer, EOS } from './tokenizer';

export interface TextConditioning {
	/** `[n, 77, width]` */
	readonly context: Float32Array;
	/** `[n, pooled width]`; empty without a second encoder. */
	readonly pooled: Float32Array;
}

/** Share of the work done, 0 to 1. */
export type Progress = (fraction: number) => void;

export interface TextEncoder {
	/** Width of a context row, of all encoders together. */
	readonly width: number;
	/** Prompts to `[n, 77, width]`; what does not fit 75 tokens is cut off. */
	encode(prompts: readonly string[], onProgress?: Progress): Promise<Float32Array>;
	/** The same with the pooled vectors. */
	condition(prompts: readonly string[], onProgress?: Progress): Promise<TextConditioning>;
	/** Prompts as WebUI reads them, each on its own: context `[77·k, width]` for its k chunks, pooled vector of the first. */
	weighted(prompts: readonly string[], onProgress?: Progress): Promise<TextConditioning[]>;
	/** Frees the networks; they are opened again when needed. */
	close(): Promise<void>;
}

export interface TextEncoderOptions {
	/** 1: the last layer; 2: the last but one, and so on. By default what the model was made for. */
	readonly skip?: number;
	readonly finalNorm?: boolean;
}

/** Networks are built at the first use. */
export function openTextEncoder(checkpoint: Checkpoint, options: TextEncoderOptions = {}): TextEncoder {
	const configs = checkpoint.config.text;
	const several = configs.length > 1;
	const { skip = several ? 2 : 1, finalNorm = !several } = options;
	const encoders = configs.map((config) => new PromptEncoder(checkpoint, config, { skip, finalNorm, pooled: config.layout === 'openclip' }));
	const width = configs.reduce((sum, config) => sum + config.width, 0);
	// Progress goes by the layers' numbers of weights.
	const costs = configs.map((config) => config.layers * config.width * config.width);
	const together = async (one: (encoder: PromptEncoder, onProgress: Progress) => Promise<ClipResult>, onProgress?: Progress): Promise<TextConditioning> => {
		const results: { width: number; context: Float32Array; pooled: Float32Array }[] = [];
		const total = costs.reduce((a, b) => a + b, 0);
		let before = 0;
		for (const [i, encoder] of encoders.entries()) {
			const cost = costs[i] ?? 0;
			const from = before;
			results.push({ width: encoder.config.width, ...(await one(encoder, (fraction) => onProgress?.((from + cost * fraction) / total))) });
			before += cost;
		}
		return { context: sideBySide(results, width), pooled: results.at(-1)?.pooled ?? new Float32Array(0) };
	};
	const condition = (prompts: readonly string[], onProgress?: Progress): Promise<TextConditioning> =>
		together((encoder, progress) => encoder.encode(prompts, progress), onProgress);
	return {
		width,
		condition,
		async weighted(prompts, onProgress) {
			const tokenizer = await clipTokenizer();
			const chunked = prompts.map((prompt) => promptChunks(prompt, tokenizer));
			const total = chunked.flat().length;
			const { context, pooled } = await together((encoder, progress) => encoder.encodeChunks(chunked.flat(), progress), onProgress);
			let row = 0;
			return chunked.map((chunks) => {
				const from = row;
				row += chunks.length;
				const cut = (all: Float32Array, to: number): Float32Array => all.slice((from * all.length) / total, (to * all.length) / total);
				return { context: cut(context, row), pooled: cut(pooled, from + 1) };
			});
		},
		encode: async (prompts, onProgress) => (await condition(prompts, onProgress)).context,
		async close() {
			for (const encoder of encoders) await encoder.close();
		}
	};
}

/** One encoder with its tokenizer. */
class PromptEncoder {
	readonly #clip: ClipEncoder;

	constructor(
		checkpoint: Checkpoint,
		readonly config: TextConfig,
		private readonly outputs: ClipOutputs
	) {
		this.#clip = new ClipEncoder(checkpoint.file, config);
	}

	async encode(prompts: readonly string[], onProgress?: Progress): Promise<ClipResult> {
		const { length, padToken } = this.config;
		const tokenizer = await clipTokenizer();
		return this.#run(
			prompts.map((prompt) => tokenizer.encode(prompt, { length, padToken })),
			onProgress
		);
	}

	async encodeChunks(chunks: readonly Chunk[], onProgress?: Progress): Promise<ClipResult> {
		const { length, padToken, width } = this.config;
		const result = await this.#run(
			chunks.map(({ ids }) => [BOS, ...ids, EOS, ...Array<number>(length - 2 - ids.length).fill(padToken)]),
			onProgress
		);
		chunks.forEach(({ weights }, i) => emphasise(result.context.subarray(i * length * width, (i + 1) * length * width), weights, [width]));
		return result;
	}

	close(): Promise<void> {
		return this.#clip.close();
	}

	#run(ids: readonly (readonly number[])[], onProgress?: Progress): Promise<ClipResult> {
		const ends = ids.map((row) => row.indexOf(EOS));
		return this.#clip.run(ids, ends, this.outputs, onProgress);
	}
}

/** Contexts `[rows, widthᵢ]` to one `[rows, Σ widthᵢ]`. */
function sideBySide(parts: readonly { width: number; context: Float32Array }[], width: number): Float32Array {
	const [first] = parts;
	if (parts.length < 2) return first?.context ?? new Float32Array(0);
	const rows = (first?.context.length ?? 0) / (first?.width ?? 1);
	const out = new Float32Array(rows * width);
	let column = 0;
	for (const part of parts) {
		for (let row = 0; row < rows; row++) out.set(part.context.subarray(row * part.width, (row + 1) * part.width), row * width + column);
		column += part.width;
	}
	return out;
}

/** Pixels; original size of the picture, where it was cropped, and the size it is trained or drawn at. */
export interface SizeConditioning {
	readonly original: readonly [height: number, width: number];
	readonly crop: readonly [top: number, left: number];
	readonly target: readonly [height: number, width: number];
}

/** SDXL's extra vector of one picture: pooled text, then [cos | sin] of 128 frequencies for each of six sizes, 1280 + 6·256. */
export function sizeVector(pooled: Float32Array, { original, crop, target }: SizeConditioning): Float32Array {
	const half = 128;
	const out = new Float32Array(pooled.length + 12 * half);
	out.set(pooled);
	[...original, ...crop, ...target].forEach((size, n) => {
		const start = pooled.length + 2 * half * n;
		for (let i = 0; i < half; i++) {
			const angle = size * Math.exp((-Math.log(10000) * i) / half);
			out[start + i] = Math.cos(angle);
			out[start + half + i] = Math.sin(angle);
		}
	});
	return out;
}
