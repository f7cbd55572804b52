/**
 * Starting noise for pictures, on the CPU and equal on every machine.
 * - "NV": Philox 4×32-10, what PyTorch on a GPU draws and WebUI calls the NV source. Picture i of a batch has its own stream, seed + i;
 *   the k-th tensor of a stream has counter (k, 0, element, 0). Salmon et al., SC 2011.
 * - "CPU": PyTorch's CPU generator, see `torch-random.ts`.
 * Elements are counted in `[C, H, W]` order, as PyTorch does, and come back channels-last.
 */
import { TorchGenerator } from './torch-random';

export type NoiseKind = 'nv' | 'cpu';

export interface NoiseShape {
	readonly height: number;
	readonly width: number;
	readonly channels: number;
}

/** A stream of noise tensors: the first is the initial latent, further ones are for ancestral samplers. */
export interface NoiseSource {
	/** The next tensor, `[pictures, H, W, C]`. */
	next(): Float32Array;
}

/** One stream for each seed. Seeds are whole numbers from 0 to 2^53. */
export function noiseSource(kind: NoiseKind, seeds: readonly number[], shape: NoiseShape): NoiseSource {
	const size = shape.height * shape.width * shape.channels;
	let drawn = 0;
	const generators = kind === 'cpu' ? seeds.map((seed) => new TorchGenerator(seed)) : [];
	return {
		next() {
			const out = new Float32Array(seeds.length * size);
			seeds.forEach((seed, i) => {
				const drawing = generators[i]?.normal(size) ?? nvNormal(seed, drawn, size);
				out.set(channelsLast(drawing, shape), i * size);
			});
			drawn++;
			return out;
		}
	};
}

/** `[C, H, W]` → `[H, W, C]`. */
export function channelsLast(data: Float32Array, { height, width, channels }: NoiseShape): Float32Array {
	const out = new Float32Array(data.length);
	const area = height * width;
	for (let p = 0, at = 0; p < area; p++) for (let c = 0; c < channels; c++) out[at++] = data[c * area + p] ?? 0;
	return out;
}

/** `[H, W, C]` → `[C, H, W]`. */
export function channelsFirst(data: Float32Array, { height, width, channels }: NoiseShape): Float32Array {
	const out = new Float32Array(data.length);
	const area = height * width;
	for (let p = 0, at = 0; p < area; p++) for (let c = 0; c < channels; c++) out[c * area + p] = data[at++] ?? 0;
	return out;
}

/** n standard normal numbers: tensor number `draw` of the Philox stream `seed`; one Box–Muller sine per element. */
export function nvNormal(seed: number, draw: number, n: number): Float32Array {
	const out = new Float32Array(n);
	const words = new Uint32Array(2);
	for (let i = 0; i < n; i++) {
		philox(draw, i, seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, words);
		const u = ((words[0] ?? 0) + 0.5) / 2 ** 32;
		const angle = (((words[1] ?? 0) + 0.5) / 2 ** 32) * 2 * Math.PI;
		out[i] = Math.sqrt(-2 * Math.log(u)) * Math.sin(angle);
	}
	return out;
}

/** The first two words of ten rounds over the counter (draw, 0, element, 0). */
function philox(draw: number, element: number, keyLow: number, keyHigh: number, out: Uint32Array): void {
	let [c0, c1, c2, c3] = [draw, 0, element, 0];
	let [k0, k1] = [keyLow, keyHigh];
	for (let round = 0; round < 10; round++) {
		const high0 = multiplyHigh(0xd251, 0x1f53, c0);
		const high1 = multiplyHigh(0xcd9e, 0x8d57, c2);
		const low0 = Math.imul(0xd2511f53, c0);
		c0 = high1 ^ c1 ^ k0;
		c1 = Math.imul(0xcd9e8d57, c2);
		c2 = high0 ^ c3 ^ k1;
		c3 = low0;
		k0 = (k0 + 0x9e3779b9) | 0;
		k1 = (k1 + 0xbb67ae85) | 0;
	}
	out[0] = c0;
	out[1] = c1;
}

/** The upper 32 bits of (high·2^16 + low)·b, in 16-bit pieces because doubles hold only 53 bits. */
function multiplyHigh(high: number, low: number, b: number): number {
	const bHigh = b >>> 16;
	const bLow = b & 0xffff;
	const middle = high * bLow + ((low * bLow) >>> 16);
	const other = low * bHigh + (middle & 0xffff);
	return (high * bHigh + Math.floor(middle / 65536) + Math.floor(other / 65536)) >>> 0;
}
