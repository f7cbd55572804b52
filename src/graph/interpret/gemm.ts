/**
 * The gemm in float64. Every term is brought to the same form, A `[M, K]` and B `[N, K]`, both row by row, so that each result is the dot
 * product of two contiguous rows; gathers (convolution patches, transposes) are made once per term, not inside the loops.
 */
import type { AMode, BMode, GemmOp, GemmTerm } from '../ir';
import { channelsOf, convSize, elementsOf, rowsOf } from '../shape';
import type { Tensors } from './tensors';

/** Rows of `stride` numbers, of which `k` take part from `offset` on. */
interface Matrix {
	readonly data: Float64Array;
	readonly offset: number;
	readonly stride: number;
}

interface Picture {
	readonly stride: 1 | 2;
	readonly upsample: boolean;
	readonly height: number;
	readonly width: number;
	readonly channels: number;
}

/** `[rows, columns]` → `[columns taken, rows]`. */
function transpose(data: Float64Array, rows: number, columns: number, first: number, taken: number): Float64Array {
	const out = new Float64Array(rows * taken);
	for (let r = 0; r < rows; r++) for (let c = 0; c < taken; c++) out[c * rows + r] = data[r * columns + first + c] as number;
	return out;
}

/** `[B, H, W, C]` → `[B·Ho·Wo, (ky, kx, ci)]`, zero padding 1. */
function patches(data: Float64Array, mode: Picture): Float64Array {
	const { stride, height, width, channels } = mode;
	const shift = mode.upsample ? 1 : 0;
	const fullHeight = height << shift;
	const fullWidth = width << shift;
	const outHeight = convSize(fullHeight, stride);
	const outWidth = convSize(fullWidth, stride);
	const batch = data.length / (height * width * channels);
	const out = new Float64Array(batch * outHeight * outWidth * 9 * channels);
	let to = 0;
	for (let b = 0; b < batch; b++) {
		for (let y = 0; y < outHeight; y++) {
			for (let x = 0; x < outWidth; x++) {
				for (let tap = 0; tap < 9; tap++, to += channels) {
					const iy = y * stride + Math.floor(tap / 3) - 1;
					const ix = x * stride + (tap % 3) - 1;
					if (iy < 0 || ix < 0 || iy >= fullHeight || ix >= fullWidth) continue;
					const from = ((b * height + (iy >> shift)) * width + (ix >> shift)) * channels;
					out.set(data.subarray(from, from + channels), to);
				}
			}
		}
	}
	return out;
}

/** dy `[B, Ho, Wo, Co]` → `[B·H·W, (ky, kx, co)]`: for every input pixel the output pixels it took part in. */
function transposedPatches(data: Float64Array, mode: Extract<AMode, { kind: 'convTransposed' }>): Float64Array {
	const { stride, height, width, channels } = mode;
	const outHeight = convSize(height, stride);
	const outWidth = convSize(width, stride);
	const batch = data.length / (outHeight * outWidth * channels);
	const out = new Float64Array(batch * height * width * 9 * channels);
	let to = 0;
	for (let b = 0; b < batch; b++) {
		for (let y = 0; y < height; y++) {
			for (let x = 0; x < width; x++) {
				for (let tap = 0; tap < 9; tap++, to += channels) {
					const oy = (y + 1 - Math.floor(tap / 3)) / stride;
					const ox = (x + 1 - (tap % 3)) / stride;
					if (!Number.isInteger(oy) || !Number.isInteger(ox) || oy < 0 || ox < 0 || oy >= outHeight || ox >= outWidth) continue;
					const from = ((b * outHeight + oy) * outWidth + ox) * channels;
					out.set(data.subarray(from, from + channels), to);
				}
			}
		}
	}
	return out;
}

/** `[Co, (ky, kx, ci)]` → `[ci, (ky, kx, co)]`. */
function swapConvWeight(data: Float64Array, inChannels: number): Float64Array {
	const outChannels = data.length / (9 * inChannels);
	const out = new Float64Array(data.length);
	for (let co = 0; co < outChannels; co++) {
		for (let tap = 0; tap < 9; tap++) {
			for (let ci = 0; ci < inChannels; ci++) out[(ci * 9 + tap) * outChannels + co] = data[(co * 9 + tap) * inChannels + ci] as number;
		}
	}
	return out;
}

function leftMatrix(term: GemmTerm, m: number, data: Float64Array): Matrix {
	const mode = term.aMode;
	switch (mode.kind) {
		case 'rows':
			return { data, offset: 0, stride: term.k };
		case 'cols':
			return { data: transpose(data, term.k, m, 0, m), offset: 0, stride: term.k };
		case 'conv':
			return { data: patches(data, mode), offset: 0, stride: term.k };
		case 'convTransposed':
			return { data: transposedPatches(data, mode), offset: 0, stride: term.k };
	}
}

function rightMatrix(term: GemmTerm, n: number, data: Float64Array): Matrix {
	const mode: BMode = term.bMode;
	const column = term.bColumn ?? 0;
	switch (mode.kind) {
		case 'nk':
			return { data, offset: column, stride: channelsOf(term.b) };
		case 'kn':
			return { data: transpose(data, term.k, channelsOf(term.b), column, n), offset: 0, stride: term.k };
		case 'convWeightTransposed':
			return { data: swapConvWeight(data, mode.channels), offset: 0, stride: term.k };
		case 'convPatches':
			return { data: transpose(patches(data, mode), term.k, n, 0, n), offset: 0, stride: term.k };
	}
}

/** y `[M, N]` += A·Bᵀ, two rows by four columns at a time. */
function multiply(y: Float64Array, m: number, n: number, k: number, a: Matrix, b: Matrix): void {
	const left = a.data;
	const right = b.data;
	for (let row = 0; row < m; row += 2) {
		const a0 = a.offset + row * a.stride;
		const a1 = row + 1 < m ? a0 + a.stride : a0;
		for (let column = 0; column < n; column += 4) {
			const last = n - 1 - column;
			const b0 = b.offset + column * b.stride;
			const b1 = b0 + Math.min(1, last) * b.stride;
			const b2 = b0 + Math.min(2, last) * b.stride;
			const b3 = b0 + Math.min(3, last) * b.stride;
			let s00 = 0;
			let s01 = 0;
			let s02 = 0;
			let s03 = 0;
			let s10 = 0;
			let s11 = 0;
			let s12 = 0;
			let s13 = 0;
			for (let i = 0; i < k; i++) {
				const p = left[a0 + i] as number;
				const q = left[a1 + i] as number;
				const r0 = right[b0 + i] as number;
				const r1 = right[b1 + i] as number;
				const r2 = right[b2 + i] as number;
				const r3 = right[b3 + i] as number;
				s00 += p * r0;
				s01 += p * r1;
				s02 += p * r2;
				s03 += p * r3;
				s10 += q * r0;
				s11 += q * r1;
				s12 += q * r2;
				s13 += q * r3;
			}
			const sums = [s00, s01, s02, s03, s10, s11, s12, s13];
			for (let i = 0; i < 2 && row + i < m; i++) {
				for (let j = 0; j <= Math.min(3, last); j++) {
					const at = (row + i) * n + column + j;
					y[at] = (y[at] as number) + (sums[i * 4 + j] as number);
				}
			}
		}
	}
}

export function gemm(op: GemmOp, tensors: Tensors): void {
	const { m, n } = op;
	const y = tensors.make(op.out);
	for (const term of op.terms) {
		multiply(y, m, n, term.k, leftMatrix(term, m, tensors.get(term.a)), rightMatrix(term, n, tensors.get(term.b)));
	}
	const scale = tensors.scale(op.scale);
	const bias = op.bias && tensors.get(op.bias);
	const rowBias = op.rowBias && tensors.get(op.rowBias);
	const residual = op.residual && tensors.get(op.residual);
	const rows = op.rowBias ? m / rowsOf(op.rowBias) : m;
	for (let i = 0; i < elementsOf(op.out.shape); i++) {
		const column = i % n;
		const item = Math.floor(i / n / rows);
		y[i] = scale * (y[i] as number) + (bias?.[column] ?? 0) + (rowBias?.[item * n + column] ?? 0) + (residual?.[i] ?? 0);
	}
}
