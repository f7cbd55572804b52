/**
 * Frozen matrices in few bits: whole numbers of ten bits and a scale for every 32 of them, 10.5 bits a number. (The setting is called `int8`; the two bits are what it took to be of use.)
 *
 * Why: rounding to 8 bits with one scale a row puts weights off by 0.8 to 0.9 %, and seventy transformer blocks in a row make 10 % of a prediction of that. No code of 8.5 bits can be
 * nearer to normal numbers than 0.28 % (rate distortion), scales for every 32 reach 0.53 %; two more bits make that 0.13 %.
 *
 * Rule: of 32 numbers in the order they are stored the largest size, as the next larger half, is the scale a; x is stored as q = round(508·x/a) = 4·high + low, where high is an int8 from
 * −127 to 127 and low is 0 to 3. Layout of n numbers: n bytes of highs, then lows, four to a byte, then the scales as halves; lows and scales are filled up to whole words.
 * The shader's side is int8.wesl and gemm_operands.wesl. Only large matrices are worth it: what is small stays in the storage type, among it the first and last layer.
 */
import { halfBits, halfTable } from '../formats/half';

/** Numbers a matrix must have. */
const WORTH = 1 << 16;
/** Numbers that share a scale. */
const GROUP = 32;
/** Four times the largest high. */
const STEPS = 4 * 127;

/** How frozen weights are kept: all in the run's storage type, or large matrices in few bits. */
export type Base = 'f16' | 'int8';

/** Whether a weight of the graph's shape (`[rows, columns]` of a linear layer or convolution) is kept in few bits. */
export function quantised(shape: readonly number[], base: Base | undefined): boolean {
	const [rows = 0, columns = 0] = shape;
	return base === 'int8' && shape.length === 2 && columns % 4 === 0 && rows * columns >= WORTH;
}

interface Places {
	/** Bytes. */
	readonly lows: number;
	readonly scales: number;
	readonly end: number;
}

/** Where the parts of `count` numbers begin; highs begin at 0. */
export function quantisedPlaces(count: number): Places {
	const scales = count + 4 * Math.ceil(count / 16);
	return { lows: count, scales, end: scales + 4 * Math.ceil(count / (2 * GROUP)) };
}

interface Quantised {
	readonly data: Uint8Array<ArrayBuffer>;
	/** √(Σ error² / Σ x²); 0 for zeros. */
	readonly error: number;
}

/** The smallest half that is not below a size. */
function halfAbove(size: number): number {
	const near = halfBits(size);
	return (halfTable()[near] as number) < size ? near + 1 : near;
}

/**
 * @param source f32 numbers or the bits of halves; their count is a multiple of 4. Numbers that are not finite, or beyond halves, make their group's scale infinite, and with it everything
 * computed from it.
 */
export function quantise(source: Float32Array | Uint16Array): Quantised {
	const count = source.length;
	const places = quantisedPlaces(count);
	const data = new Uint8Array(places.end);
	const scales = new Uint16Array(data.buffer, places.scales);
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
		const bits = Number.isFinite(largest) ? halfAbove(largest) : 0x7c00;
		scales[g] = bits;
		if (bits >= 0x7c00) continue;
		const scale = table[bits] as number;
		const [up, down] = [STEPS / scale, scale / STEPS];
		for (let i = 0; i < length; i++) {
			const x = numbers[i] as number;
			const q = Math.floor(x * up + 0.5);
			const at = start + i;
			data[at] = q >> 2;
			const low = places.lows + (at >> 2);
			data[low] = (data[low] as number) | ((q & 3) << (2 * (at & 3)));
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
	const lows = new Uint8Array(data, places.lows);
	const scales = new Uint16Array(data, places.scales);
	const table = halfTable();
	return Float32Array.from(highs, (high, i) => {
		const low = ((lows[i >> 2] ?? 0) >> (2 * (i & 3))) & 3;
		return ((4 * high + low) / STEPS) * (table[scales[Math.floor(i / GROUP)] ?? 0] ?? NaN);
	});
}
