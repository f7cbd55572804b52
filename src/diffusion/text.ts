/**
 * Prompts to what the UNet is conditioned on.
 * - SD 1.5 and the mini model: one encoder, its last layer with the final norm (or the N-th from the end, "clip skip").
 * - SDXL: two encoders, the last but one layer of each without the norm, side by side in features; and the second one's pooled vector,
 *   which together with six sizes makes the UNet's extra vector.
 */
import { openSession, type OnnxSession } from '../onnx/session';
import type { Checkpoint } from './checkpoint';
import { clipModel, type ClipOutputs } from './clip';
import type { TextConfig } from './config';
import { clipTokenizer, EOS } from './tokenizer';

export interface TextConditioning {
	/** `[n, 77, width]` */
	readonly context: Float32Array;
	/** `[n, pooled width]`; empty without a second encoder. */
	readonly pooled: Float32Array;
}

export interface TextEncoder {
	/** Width of a context row, of all encoders together. */
	readonly width: number;
	/** Prompts to `[n, 77, width]`; what does not fit 75 tokens is cut off. */
	encode(prompts: readonly string[]): Promise<Float32Array>;
	/** The same with the pooled vectors. */
	condition(prompts: readonly string[]): Promise<TextConditioning>;
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
	const encoders = configs.map((config) => new ClipEncoder(checkpoint, config, { skip, finalNorm, pooled: config.layout === 'openclip' }));
	const width = configs.reduce((sum, config) => sum + config.width, 0);
	const condition = async (prompts: readonly string[]): Promise<TextConditioning> => {
		const results: { width: number; context: Float32Array; pooled: Float32Array }[] = [];
		for (const encoder of encoders) results.push({ width: encoder.config.width, ...(await encoder.encode(prompts)) });
		return { context: sideBySide(results, width), pooled: results.at(-1)?.pooled ?? new Float32Array(0) };
	};
	return {
		width,
		condition,
		encode: async (prompts) => (await condition(prompts)).context,
		async close() {
			for (const encoder of encoders) await encoder.close();
		}
	};
}

class ClipEncoder {
	#session: Promise<OnnxSession> | undefined;

	constructor(
		private readonly checkpoint: Checkpoint,
		readonly config: TextConfig,
		private readonly outputs: ClipOutputs
	) {}

	async encode(prompts: readonly string[]): Promise<TextConditioning> {
		const { length, padToken } = this.config;
		const tokenizer = await clipTokenizer();
		const ids = prompts.map((prompt) => tokenizer.encode(prompt, { length, padToken }));
		const inputs = { ids: { dims: [ids.length, length], data: BigInt64Array.from(ids.flat(), BigInt) } };
		const ends = BigInt64Array.from(ids, (row, i) => BigInt(i * length + row.indexOf(EOS)));
		const session = await this.#open();
		const { context, pooled } = await session.run(this.outputs.pooled ? { ...inputs, ends: { dims: [ids.length], data: ends } } : inputs);
		return { context: context?.data as Float32Array, pooled: (pooled?.data as Float32Array | undefined) ?? new Float32Array(0) };
	}

	async close(): Promise<void> {
		const closing = this.#session;
		this.#session = undefined;
		await (await closing)?.close();
	}

	#open(): Promise<OnnxSession> {
		this.#session ??= clipModel(this.checkpoint.file, this.config, this.outputs).then(openSession);
		this.#session.catch(() => (this.#session = undefined));
		return this.#session;
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
