/** The two layouts of a 3×3 down factor: files keep PyTorch's `[r, in, ky, kx]`, the engine its convolution columns `[r, (ky, kx, in)]`. */

/** `[r, in, 3, 3]` → `[r, (ky, kx, in)]`. */
export function kernelToColumns(data: Float32Array, rank: number, channels: number): Float32Array {
	const out = new Float32Array(data.length);
	for (let r = 0; r < rank; r++)
		for (let c = 0; c < channels; c++) for (let k = 0; k < 9; k++) out[(r * 9 + k) * channels + c] = data[(r * channels + c) * 9 + k] ?? 0;
	return out;
}

/** `[r, (ky, kx, in)]` → `[r, in, 3, 3]`. */
export function columnsToKernel(data: Float32Array, rank: number, channels: number): Float32Array {
	const out = new Float32Array(data.length);
	for (let r = 0; r < rank; r++)
		for (let c = 0; c < channels; c++) for (let k = 0; k < 9; k++) out[(r * channels + c) * 9 + k] = data[(r * 9 + k) * channels + c] ?? 0;
	return out;
}
