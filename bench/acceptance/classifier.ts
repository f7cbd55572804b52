/**
 * The mini model's attribute classifier in plain float32 TypeScript: five 3×3 convolutions (stride 2 four times) with GroupNorm(8) and SiLU, then two Linear layers.
 * Judges whether a generated face has its mouth open. Source: `Classifier` in tools/mini-model/evaluate.py.
 */
import { openSafetensors } from '../../src/formats/safetensors';
import type { ByteSource } from '../../src/formats/source';

const CHANNELS = [3, 32, 64, 96, 128, 128] as const;
/** hair, eyes, direction, mouth, style, background, glasses */
const HEADS = [12, 10, 3, 10, 6, 8, 2] as const;
const MOUTH = 3;
const MOUTHS = ['smile', 'neutral', 'frown', 'a', 'i', 'u', 'e', 'o', 'grin', 'round'] as const;
const FIRST_OPEN = 3;
const SHAPE_A = 3;

export interface Judgement {
	readonly open: boolean;
	/** Probability of the vowel shape "a". */
	readonly a: number;
	/** What the mouth reads as. */
	readonly mouth: (typeof MOUTHS)[number];
	readonly hair: number;
	readonly eyes: number;
}

interface Layer {
	readonly weight: Float32Array;
	readonly bias: Float32Array;
}

const silu = (x: number): number => x / (1 + Math.exp(-x));

/** x `[Cin, S, S]` → `[Cout, S/stride, S/stride]`, padding 1. */
function conv(x: Float32Array, size: number, inChannels: number, { weight, bias }: Layer, stride: number): Float32Array {
	const outSize = Math.ceil(size / stride);
	const outChannels = bias.length;
	const out = new Float32Array(outChannels * outSize * outSize);
	for (let o = 0; o < outChannels; o++) {
		const plane = out.subarray(o * outSize * outSize, (o + 1) * outSize * outSize).fill(bias[o] ?? 0);
		for (let c = 0; c < inChannels; c++) {
			for (let ky = 0; ky < 3; ky++) {
				for (let kx = 0; kx < 3; kx++) {
					const w = weight[((o * inChannels + c) * 3 + ky) * 3 + kx] ?? 0;
					const last = Math.min(outSize - 1, Math.floor((size - kx) / stride));
					for (let y = 0; y < outSize; y++) {
						const sy = y * stride + ky - 1;
						if (sy < 0 || sy >= size) continue;
						let from = (c * size + sy) * size + kx - 1 + (kx === 0 ? stride : 0);
						for (let px = kx === 0 ? 1 : 0; px <= last; px++, from += stride) plane[y * outSize + px]! += w * x[from]!;
					}
				}
			}
		}
	}
	return out;
}

/** In place, then SiLU. */
function groupNormSilu(x: Float32Array, channels: number, { weight, bias }: Layer): void {
	const area = x.length / channels;
	const perGroup = channels / 8;
	for (let g = 0; g < 8; g++) {
		const part = x.subarray(g * perGroup * area, (g + 1) * perGroup * area);
		const mean = part.reduce((a, b) => a + b, 0) / part.length;
		const variance = part.reduce((a, b) => a + (b - mean) ** 2, 0) / part.length;
		const scale = 1 / Math.sqrt(variance + 1e-5);
		for (let i = 0; i < part.length; i++) {
			const c = g * perGroup + Math.floor(i / area);
			part[i] = silu(((part[i] ?? 0) - mean) * scale * (weight[c] ?? 0) + (bias[c] ?? 0));
		}
	}
}

function linear(x: Float32Array, { weight, bias }: Layer): Float32Array {
	return bias.map((b, n) => x.reduce((sum, value, k) => sum + value * (weight[n * x.length + k] ?? 0), b));
}

const argmax = (x: ArrayLike<number>): number => Array.from(x).reduce((best, value, i, all) => (value > (all[best] ?? -Infinity) ? i : best), 0);

export class Classifier {
	private constructor(private readonly layers: ReadonlyMap<string, Layer>) {}

	static async open(source: ByteSource): Promise<Classifier> {
		const file = await openSafetensors(source);
		const layers = new Map<string, Layer>();
		for (const name of file.tensors.keys()) {
			if (!name.endsWith('.weight')) continue;
			const stem = name.slice(0, -'.weight'.length);
			layers.set(stem, { weight: await file.readFloat32(name), bias: await file.readFloat32(`${stem}.bias`) });
		}
		return new Classifier(layers);
	}

	/** @param picture planes `[3, 128, 128]` in −1..1 */
	judge(picture: Float32Array): Judgement {
		let x = picture;
		let size = 128;
		for (let i = 0; i < 5; i++) {
			const stride = i < 4 ? 2 : 1;
			x = conv(x, size, CHANNELS[i] ?? 0, this.layer(`f.${3 * i}`), stride);
			size /= stride;
			groupNormSilu(x, CHANNELS[i + 1] ?? 0, this.layer(`f.${3 * i + 1}`));
		}
		const scores = linear(linear(x, this.layer('h.1')).map(silu), this.layer('h.3'));
		const head = (which: number): Float32Array => {
			const start = HEADS.slice(0, which).reduce<number>((a, b) => a + b, 0);
			return scores.subarray(start, start + (HEADS[which] ?? 0));
		};
		const mouth = head(MOUTH);
		const most = Math.max(...mouth);
		const exps = mouth.map((s) => Math.exp(s - most));
		return {
			open: argmax(mouth) >= FIRST_OPEN,
			mouth: MOUTHS[argmax(mouth)] ?? 'neutral',
			a: (exps[SHAPE_A] ?? 0) / exps.reduce((a, b) => a + b, 0),
			hair: argmax(head(0)),
			eyes: argmax(head(1))
		};
	}

	private layer(name: string): Layer {
		const layer = this.layers.get(name);
		if (!layer) throw new Error(`The classifier file has no ${name}.`);
		return layer;
	}
}
