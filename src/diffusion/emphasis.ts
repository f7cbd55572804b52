/**
 * WebUI's "Original" emphasis on an encoded chunk: rows are multiplied by their weights, then each encoder's part is brought back to the mean it had.
 * @param chunk `[77, Σ widths]`, changed in place @param weights of the rows after the begin token @param widths of the encoders that stand side by side
 */
export function emphasise(chunk: Float32Array, weights: readonly number[], widths: readonly number[]): void {
	if (weights.every((weight) => weight === 1)) return;
	const row = widths.reduce((sum, width) => sum + width, 0);
	let column = 0;
	for (const width of widths) {
		const from = column;
		const each = (change: (x: number, row: number) => number): void => {
			for (let r = 0; r * row < chunk.length; r++) for (let c = r * row + from; c < r * row + from + width; c++) chunk[c] = change(chunk[c] ?? 0, r);
		};
		const sum = (): number => {
			let total = 0;
			each((x) => {
				total += x;
				return x;
			});
			return total;
		};
		const before = sum();
		each((x, r) => x * (weights[r - 1] ?? 1));
		const after = sum();
		if (after !== 0) each((x) => (x * before) / after);
		column += width;
	}
}
