/**
 * Small dense linear algebra in float64, row-major, for matrices of some hundred rows: Gram matrices, Cholesky with pivots, symmetric eigenvalues.
 *
 * Rules
 * - Gram matrices of float32 rows are summed in float64: directions down to 1e-7 of the largest are told apart, far below what a file in halves can hold.
 * - Eigenvalues by Householder's tridiagonal form and implicit QL steps; eigenvectors are kept as rows, so that every inner loop runs along memory.
 * Source: Golub & Van Loan, "Matrix Computations", 4.2.8 (pivoted Cholesky), 8.3 (symmetric QR/QL).
 */

/** Columns that are summed in one go: 4 rows of them stay in the first cache. */
const CHUNK = 1024;
const BLOCK = 4;

/** rows·rowsᵀ, `[R, R]`; rows `[R, L]`. */
export function gram(rows: Float32Array, count: number): Float64Array {
	const length = count === 0 ? 0 : rows.length / count;
	const padded = Math.ceil(count / BLOCK) * BLOCK;
	// Whole blocks of four rows need no special case at the edge: the missing ones are zero.
	const x = padded === count ? rows : new Float32Array(padded * length);
	if (x !== rows) x.set(rows);
	const sums = new Float64Array(padded * padded);
	for (let from = 0; from < length; from += CHUNK) {
		const to = Math.min(length, from + CHUNK);
		for (let i = 0; i < padded; i += BLOCK) for (let j = 0; j <= i; j += BLOCK) addBlock(sums, padded, x, length, i, j, from, to);
	}
	const out = new Float64Array(count * count);
	for (let i = 0; i < count; i++) for (let j = 0; j < count; j++) out[i * count + j] = sums[Math.max(i, j) * padded + Math.min(i, j)] ?? 0;
	return out;
}

/** Sixteen inner products at once: every number that is read is used four times. */
function addBlock(sums: Float64Array, stride: number, x: Float32Array, length: number, i: number, j: number, from: number, to: number): void {
	let s00 = 0,
		s01 = 0,
		s02 = 0,
		s03 = 0,
		s10 = 0,
		s11 = 0,
		s12 = 0,
		s13 = 0;
	let s20 = 0,
		s21 = 0,
		s22 = 0,
		s23 = 0,
		s30 = 0,
		s31 = 0,
		s32 = 0,
		s33 = 0;
	const [a, b] = [i * length, j * length];
	for (let k = from; k < to; k++) {
		const a0 = x[a + k] ?? 0;
		const a1 = x[a + length + k] ?? 0;
		const a2 = x[a + 2 * length + k] ?? 0;
		const a3 = x[a + 3 * length + k] ?? 0;
		const b0 = x[b + k] ?? 0;
		const b1 = x[b + length + k] ?? 0;
		const b2 = x[b + 2 * length + k] ?? 0;
		const b3 = x[b + 3 * length + k] ?? 0;
		s00 += a0 * b0;
		s01 += a0 * b1;
		s02 += a0 * b2;
		s03 += a0 * b3;
		s10 += a1 * b0;
		s11 += a1 * b1;
		s12 += a1 * b2;
		s13 += a1 * b3;
		s20 += a2 * b0;
		s21 += a2 * b1;
		s22 += a2 * b2;
		s23 += a2 * b3;
		s30 += a3 * b0;
		s31 += a3 * b1;
		s32 += a3 * b2;
		s33 += a3 * b3;
	}
	const found = [s00, s01, s02, s03, s10, s11, s12, s13, s20, s21, s22, s23, s30, s31, s32, s33];
	found.forEach((sum, at) => {
		const place = (i + (at >> 2)) * stride + j + (at & 3);
		sums[place] = (sums[place] ?? 0) + sum;
	});
}

/** sum += the next `n` weights times their rows, from column `at` on; four rows at once, so that the sum is read and written a quarter as often. */
function addRows(sum: Float64Array, width: number, weights: Float64Array, first: number, rows: Float32Array, at: number, length: number, n: number): void {
	if (n === BLOCK) {
		const [w0 = 0, w1 = 0, w2 = 0, w3 = 0] = [weights[first], weights[first + 1], weights[first + 2], weights[first + 3]];
		if (w0 === 0 && w1 === 0 && w2 === 0 && w3 === 0) return;
		for (let k = 0; k < width; k++) {
			const low = w0 * (rows[at + k] ?? 0) + w1 * (rows[at + length + k] ?? 0);
			sum[k] = (sum[k] ?? 0) + low + (w2 * (rows[at + 2 * length + k] ?? 0) + w3 * (rows[at + 3 * length + k] ?? 0));
		}
		return;
	}
	for (let i = 0; i < n; i++) {
		const w = weights[first + i] ?? 0;
		for (let k = 0; k < width; k++) sum[k] = (sum[k] ?? 0) + w * (rows[at + i * length + k] ?? 0);
	}
}

/** weights·rows, `[r, L]`; weights `[r, R]`, rows `[R, L]`; summed in float64. */
export function combine(weights: Float64Array, rows: Float32Array, count: number): Float32Array {
	if (count === 0) return new Float32Array(0);
	const length = rows.length / count;
	const results = weights.length / count;
	const out = new Float32Array(results * length);
	const sum = new Float64Array(CHUNK);
	for (let from = 0; from < length; from += CHUNK) {
		const width = Math.min(CHUNK, length - from);
		for (let r = 0; r < results; r++) {
			sum.fill(0);
			for (let i = 0; i < count; i += BLOCK) addRows(sum, width, weights, r * count + i, rows, i * length + from, length, Math.min(BLOCK, count - i));
			out.set(width === CHUNK ? sum : sum.subarray(0, width), r * length + from);
		}
	}
	return out;
}

/** `[R, L]` from `[L, R]`. */
export function transposed<T extends Float32Array | Float64Array>(data: T, columns: number): T {
	const rows = columns === 0 ? 0 : data.length / columns;
	const out = data.slice() as T;
	for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j] ?? 0;
	return out;
}

/** a·b; a `[n, k]`, b `[k, m]`. */
export function product(a: Float64Array, b: Float64Array, k: number): Float64Array {
	if (k === 0) return new Float64Array(0);
	const [n, m] = [a.length / k, b.length / k];
	const out = new Float64Array(n * m);
	for (let i = 0; i < n; i++) {
		for (let j = 0; j < k; j++) {
			const x = a[i * k + j] ?? 0;
			if (x === 0) continue;
			for (let c = 0; c < m; c++) out[i * m + c] = (out[i * m + c] ?? 0) + x * (b[j * m + c] ?? 0);
		}
	}
	return out;
}

export interface Cholesky {
	/** T with G = T·Tᵀ, `[R, p]`, rows in the order of G. */
	readonly factor: Float64Array;
	/** The rows that became pivots, in order: taken from T they are lower triangular. Their number p is the rank of G as far as float64 can tell. */
	readonly pivots: readonly number[];
}

/** What is left of a row, relative to its own length squared, when it counts as a combination of the others. */
const DEPENDENT = 1e-13;

/** Of a positive semidefinite matrix `[R, R]`. Rows of very different length are all taken as seriously. */
export function pivotedCholesky(g: Float64Array, count: number): Cholesky {
	const left = Float64Array.from({ length: count }, (_, i) => g[i * count + i] ?? 0);
	const whole = left.slice();
	const columns: Float64Array[] = [];
	const pivots: number[] = [];
	const taken = new Uint8Array(count);
	for (;;) {
		let pivot = -1;
		let best = DEPENDENT;
		for (let i = 0; i < count; i++) {
			const share = (whole[i] ?? 0) > 0 && !taken[i] ? (left[i] ?? 0) / (whole[i] ?? 1) : 0;
			if (share > best) [best, pivot] = [share, i];
		}
		if (pivot < 0) break;
		taken[pivot] = 1;
		const root = Math.sqrt(left[pivot] ?? 0);
		const column = new Float64Array(count);
		for (let i = 0; i < count; i++) {
			if (taken[i] && i !== pivot) continue;
			let sum = g[i * count + pivot] ?? 0;
			for (const earlier of columns) sum -= (earlier[i] ?? 0) * (earlier[pivot] ?? 0);
			const value = i === pivot ? root : sum / root;
			column[i] = value;
			left[i] = (left[i] ?? 0) - value * value;
		}
		columns.push(column);
		pivots.push(pivot);
	}
	const factor = new Float64Array(count * columns.length);
	columns.forEach((column, j) => {
		for (let i = 0; i < count; i++) factor[i * columns.length + j] = column[i] ?? 0;
	});
	return { factor, pivots };
}

/** X with X·T = B for the pivots' rows of T, `[r, p]`; B `[r, p]`. */
export function solvePivots({ factor, pivots }: Cholesky, right: Float64Array): Float64Array {
	const p = pivots.length;
	const x = right.slice();
	for (let r = 0; r * p < x.length; r++) {
		for (let j = p - 1; j >= 0; j--) {
			const row = (pivots[j] ?? 0) * p;
			const value = (x[r * p + j] ?? 0) / (factor[row + j] ?? 1);
			x[r * p + j] = value;
			for (let k = 0; k < j; k++) x[r * p + k] = (x[r * p + k] ?? 0) - value * (factor[row + k] ?? 0);
		}
	}
	return x;
}

export interface Eigen {
	/** Descending. */
	readonly values: Float64Array;
	/** As rows, `[n, n]`, in the order of the values. */
	readonly vectors: Float64Array;
}

/** Of a symmetric matrix `[n, n]`. @throws Error when it holds something that is not finite */
export function symmetricEigen(matrix: Float64Array, n: number): Eigen {
	const a = matrix.slice();
	const { diagonal, off, vectors } = tridiagonal(a, n);
	implicitQl(diagonal, off, vectors, n);
	const order = Array.from(diagonal.keys()).sort((i, j) => (diagonal[j] ?? 0) - (diagonal[i] ?? 0));
	const sorted = new Float64Array(n * n);
	order.forEach((from, to) => sorted.set(vectors.subarray(from * n, (from + 1) * n), to * n));
	return { values: Float64Array.from(order, (i) => diagonal[i] ?? 0), vectors: sorted };
}

/** A = Q·T·Qᵀ with T tridiagonal; `vectors` is Qᵀ. Overwrites `a`. */
function tridiagonal(a: Float64Array, n: number): { diagonal: Float64Array; off: Float64Array; vectors: Float64Array } {
	const reflectors: { v: Float64Array; beta: number }[] = [];
	const off = new Float64Array(n);
	for (let k = 0; k < n - 2; k++) {
		const v = new Float64Array(n);
		let square = 0;
		for (let i = k + 1; i < n; i++) {
			const x = a[i * n + k] ?? 0;
			v[i] = x;
			square += x * x;
		}
		const head = v[k + 1] ?? 0;
		const alpha = head > 0 ? -Math.sqrt(square) : Math.sqrt(square);
		off[k] = alpha;
		v[k + 1] = head - alpha;
		const norm = square - head * head + (v[k + 1] ?? 0) ** 2;
		const beta = norm > 0 ? 2 / norm : 0;
		reflectors.push({ v, beta });
		if (beta === 0) continue;
		// A ← A − v·wᵀ − w·vᵀ with w = βAv − ½β²(vᵀAv)·v
		const w = new Float64Array(n);
		let dot = 0;
		for (let i = k + 1; i < n; i++) {
			let sum = 0;
			for (let j = k + 1; j < n; j++) sum += (a[i * n + j] ?? 0) * (v[j] ?? 0);
			w[i] = beta * sum;
			dot += (v[i] ?? 0) * beta * sum;
		}
		for (let i = k + 1; i < n; i++) w[i] = (w[i] ?? 0) - 0.5 * beta * dot * (v[i] ?? 0);
		for (let i = k + 1; i < n; i++) {
			const [vi, wi] = [v[i] ?? 0, w[i] ?? 0];
			for (let j = k + 1; j < n; j++) a[i * n + j] = (a[i * n + j] ?? 0) - vi * (w[j] ?? 0) - wi * (v[j] ?? 0);
		}
	}
	if (n > 1) off[n - 2] = a[(n - 1) * n + n - 2] ?? 0;
	const vectors = new Float64Array(n * n);
	for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
	for (let k = n - 3; k >= 0; k--) {
		const { v = new Float64Array(0), beta = 0 } = reflectors[k] ?? {};
		for (let i = k + 1; i < n; i++) {
			let sum = 0;
			for (let j = k + 1; j < n; j++) sum += (vectors[i * n + j] ?? 0) * (v[j] ?? 0);
			sum *= beta;
			for (let j = k + 1; j < n; j++) vectors[i * n + j] = (vectors[i * n + j] ?? 0) - sum * (v[j] ?? 0);
		}
	}
	return { diagonal: Float64Array.from({ length: n }, (_, i) => a[i * n + i] ?? 0), off, vectors };
}

const SWEEPS = 60;

/** Makes `off` vanish by rotations; rows of `vectors` follow. */
function implicitQl(diagonal: Float64Array, off: Float64Array, vectors: Float64Array, n: number): void {
	// Against the largest entry, not the neighbours: where the matrix has no full rank, those are rounding themselves.
	let scale = 0;
	for (let i = 0; i < n; i++) scale = Math.max(scale, Math.abs(diagonal[i] ?? 0) + Math.abs(off[i] ?? 0));
	for (let l = 0; l < n; l++) {
		for (let sweep = 0; ; sweep++) {
			let m = l;
			while (m < n - 1 && !(Math.abs(off[m] ?? 0) <= Number.EPSILON * scale)) m++;
			if (m === l) break;
			if (sweep === SWEEPS) throw new Error('The eigenvalues of a matrix were not found: it holds numbers that are not finite.');
			const dl = diagonal[l] ?? 0;
			const el = off[l] ?? 0;
			const half = ((diagonal[l + 1] ?? 0) - dl) / (2 * el);
			// Wilkinson's shift: the eigenvalue of the first 2×2 block that is nearer to its corner.
			let g = (diagonal[m] ?? 0) - dl + el / (half + (half < 0 ? -1 : 1) * Math.hypot(half, 1));
			let [s, c, p] = [1, 1, 0];
			let i = m - 1;
			for (; i >= l; i--) {
				const f = s * (off[i] ?? 0);
				const b = c * (off[i] ?? 0);
				const r = Math.hypot(f, g);
				off[i + 1] = r;
				if (r === 0) {
					diagonal[i + 1] = (diagonal[i + 1] ?? 0) - p;
					off[m] = 0;
					break;
				}
				s = f / r;
				c = g / r;
				g = (diagonal[i + 1] ?? 0) - p;
				const t = ((diagonal[i] ?? 0) - g) * s + 2 * c * b;
				p = s * t;
				diagonal[i + 1] = g + p;
				g = c * t - b;
				const [low, high] = [i * n, (i + 1) * n];
				for (let k = 0; k < n; k++) {
					const x = vectors[high + k] ?? 0;
					const y = vectors[low + k] ?? 0;
					vectors[high + k] = s * y + c * x;
					vectors[low + k] = c * y - s * x;
				}
			}
			if (i >= l) continue;
			diagonal[l] = (diagonal[l] ?? 0) - p;
			off[l] = g;
			off[m] = 0;
		}
	}
}
