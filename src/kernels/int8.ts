/**
 * Frozen matrices in int8: symmetric, one scale per row (output channel), as LLM.int8() (Dettmers et al. 2022, vector-wise) without its outliers.
 *
 * Rule: a row's largest number a becomes ±127; x is stored as q = round(127·x/a), and read back as a·q/127. On the GPU a row's scale is a itself, since
 * `unpack4x8snorm` divides by 127. Layout: `[rows, columns]` int8, then `[rows]` f32. Only large matrices are worth it: what is small stays in the storage type,
 * among it the first and last layer, where errors would matter most.
 */
import { halfTable } from '../formats/half';

/** Numbers a matrix must have. */
const WORTH = 1 << 16;

/** How frozen weights are kept: all in the run's storage type, or large matrices in int8. */
export type Base = 'f16' | 'int8';

/** Whether a weight of the graph's shape (`[rows, columns]` of a linear layer or convolution) is kept in int8. */
export function quantised(shape: readonly number[], base: Base | undefined): boolean {
	const [rows = 0, columns = 0] = shape;
	return base === 'int8' && shape.length === 2 && columns % 4 === 0 && rows * columns >= WORTH;
}

interface Quantised {
	/** The numbers, then the scales' bytes. */
	readonly data: Uint8Array<ArrayBuffer>;
	/** √(Σ error² / Σ x²); 0 for a matrix of zeros. */
	readonly error: number;
}

/** @param source f32 numbers or the bits of halves, row by row. Numbers that are not finite make the row's scale so too, and with it everything computed from it. */
export function quantise(source: Float32Array | Uint16Array, rows: number, columns: number): Quantised {
	const data = new Uint8Array(rows * columns + rows * 4);
	const numbers = new Int8Array(data.buffer, 0, rows * columns);
	const scales = new Float32Array(rows);
	const table = source instanceof Uint16Array ? halfTable() : undefined;
	const row = new Float32Array(columns);
	let [squares, errors] = [0, 0];
	for (let r = 0, at = 0; r < rows; r++, at += columns) {
		let largest = 0;
		for (let i = 0; i < columns; i++) {
			const x = table ? (table[source[at + i] as number] as number) : (source[at + i] as number);
			row[i] = x;
			const size = Math.abs(x);
			// Written so that NaN is kept.
			if (!(size <= largest)) largest = size;
		}
		scales[r] = largest;
		if (largest === 0 || !Number.isFinite(largest)) continue;
		const scale = scales[r] as number;
		const [up, down] = [127 / scale, scale / 127];
		for (let i = 0; i < columns; i++) {
			const x = row[i] as number;
			const q = Math.floor(x * up + 0.5);
			numbers[at + i] = q;
			const error = x - q * down;
			squares += x * x;
			errors += error * error;
		}
	}
	data.set(new Uint8Array(scales.buffer), rows * columns);
	return { data, error: squares > 0 ? Math.sqrt(errors / squares) : 0 };
}

/** The numbers that kernels see. */
export function dequantise(data: ArrayBuffer, rows: number, columns: number): Float32Array {
	const numbers = new Int8Array(data, 0, rows * columns);
	const scales = new Float32Array(data.slice(rows * columns, rows * columns + rows * 4));
	return Float32Array.from(numbers, (q, i) => (q / 127) * (scales[Math.floor(i / columns)] ?? 0));
}
