/**
 * Frozen matrices in few bits: whole numbers of eleven bits and a scale for every 32 of them, 11.25 bits a number. (The setting is called `int8`; the other bits are what it took to be of use.)
 *
 * Why: rounding to 8 bits with one scale a row puts weights off by 0.8 to 0.9 %, and seventy transformer blocks in a row make 10 % of a prediction of that. No code of 11.25 bits can be
 * nearer to normal numbers than 0.041 % (rate distortion); this one is 0.07 % off. Measured on SDXL's UNet with random weights, gradients are some 23 times as far off as the weights.
 *
 * Rule: of 32 numbers in the order they are stored the largest size, as the next larger number of five bits of exponent and three of mantissa, is the scale a; x is stored as
 * q = round(1016·x/a) = 8·high + 2·two + one, where high is an int8 from −127 to 127, two is 0 to 3 and one 0 or 1. Layout of n numbers: n bytes of highs, then twos, four to a byte, then ones,
 * eight to a byte, then the scales, a byte each (the upper bits of a half without its sign); each is filled up to whole words.
 * The shader's side is int8.wesl and gemm_operands.wesl; weights_load.wesl makes this of a file's numbers on the GPU. Only large matrices are worth it: what is small stays in the storage type,
 * among it the first and last layer.
 */
import { halfTable } from '../formats/half';

/** Numbers a matrix must have. */
const WORTH = 1 << 16;
/** Numbers that share a scale. */
const GROUP = 32;
/** Eight times the largest high. */
const STEPS = 8 * 127;
/** The first scale that is not finite. */
const BEYOND = 0xf8;

/** How frozen weights are kept: all in the run's storage type, or large matrices in few bits. */
export type Base = 'f16' | 'int8';

/** Whether a weight of the graph's shape (`[rows, columns]` of a linear layer or convolution) is kept in few bits. */
export function quantised(shape: readonly number[], base: Base | undefined): boolean {
	const [rows = 0, columns = 0] = shape;
	return base === 'int8' && shape.length === 2 && columns % 4 === 0 && rows * columns >= WORTH;
}

interface Places {
	/** Bytes. */
	readonly twos: number;
	readonly ones: number;
	readonly scales: number;
	readonly end: number;
}

/** Where the parts of `count` numbers begin; highs begin at 0. */
export function quantisedPlaces(count: number): Places {
	const ones = count + 4 * Math.ceil(count / 16);
	const scales = ones + 4 * Math.ceil(count / 32);
	return { twos: count, ones, scales, end: scales + 4 * Math.ceil(count / (4 * GROUP)) };
}

interface Quantised {
	readonly data: Uint8Array<ArrayBuffer>;
	/** √(Σ error² / Σ x²); 0 for zeros. */
	readonly error: number;
}

/** The scale of a byte: a half of which these are all bits that are not zero. */
const scaleOf = (code: number): number => halfTable()[code << 7] ?? NaN;

/** The least scale that is not below a size. */
function scaleCode(size: number): number {
	if (!(size <= scaleOf(BEYOND - 1))) return BEYOND;
	const exponent = Math.max(-14, Math.floor(Math.log2(size)));
	let code = Math.max(1, Math.ceil(size * 2 ** (3 - exponent)) + 8 * (exponent + 14));
	// Where the logarithm was rounded to the other side of a power of two.
	while (scaleOf(code) < size) code++;
	while (code > 1 && scaleOf(code - 1) >= size) code--;
	return code;
}

/**
 * @param source f32 numbers or the bits of halves; their count is a multiple of 4. Numbers that are not finite, or beyond 61440, make their group's scale infinite, and with it everything
 * computed from it.
 */
export function quantise(source: Float32Array | Uint16Array): Quantised {
	const count = source.length;
	const places = quantisedPlaces(count);
	const data = new Uint8Array(places.end);
	const table = halfTable();
	const coded = source instanceof Uint16Array;
	const numbers = new Float32Array(GROUP);
	let [squares, errors] = [0, 0];
	for (let start = 0, g = 0; start < count; start += GROUP, g++) {
		const length = Math.min(GROUP, count - start);
		let largest = 0;
		for (let i = 0; i < length; i++) {
			const x = coded ? (table[source[start + i] as number] as number) : (source[start + i] as number);
			numbers[i] = x;
			const size = Math.abs(x);
			// Written so that NaN is kept.
			if (!(size <= largest)) largest = size;
		}
		if (largest === 0) continue;
		const code = scaleCode(largest);
		data[places.scales + g] = code;
		if (code >= BEYOND) continue;
		const [up, down] = [STEPS / scaleOf(code), scaleOf(code) / STEPS];
		for (let i = 0; i < length; i++) {
			const x = numbers[i] as number;
			const q = Math.floor(x * up + 0.5);
			const at = start + i;
			data[at] = q >> 3;
			const two = places.twos + (at >> 2);
			data[two] = (data[two] as number) | (((q >> 1) & 3) << (2 * (at & 3)));
			const one = places.ones + (at >> 3);
			data[one] = (data[one] as number) | ((q & 1) << (at & 7));
			const error = x - q * down;
			squares += x * x;
			errors += error * error;
		}
	}
	return { data, error: squares > 0 ? Math.sqrt(errors / squares) : 0 };
}

/** The numbers that kernels see. */
export function dequantise(data: ArrayBuffer, count: number): Float32Array {
	const places = quantisedPlaces(count);
	const highs = new Int8Array(data, 0, count);
	const bytes = new Uint8Array(data);
	return Float32Array.from(highs, (high, i) => {
		const two = ((bytes[places.twos + (i >> 2)] ?? 0) >> (2 * (i & 3))) & 3;
		const one = ((bytes[places.ones + (i >> 3)] ?? 0) >> (i & 7)) & 1;
		return ((8 * high + 2 * two + one) / STEPS) * scaleOf(bytes[places.scales + Math.floor(i / GROUP)] ?? 0);
	});
}
