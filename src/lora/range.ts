/**
 * The rows that matter of a large matrix: a few orthonormal directions that hold nearly all of its largest singular values, found from its products alone.
 *
 * Rules
 * - X = (WᵀW)^q·Ω for p random directions Ω, made orthonormal after every pass; then W ≈ (W·Xᵀ)·X. Two passes: where singular values fall off slowly, each squares the gap
 *   between what is kept and what is not (twice). A pass that has caught all of W is the last.
 * - The products are ONNX Runtime's, in f32 on all cores: for an SDXL checkpoint they are half a TFLOP, a quarter of an hour in JavaScript. The rest is float64.
 * Source: Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1, on the side of the columns.
 */
import { OnnxModel } from '../onnx/model';
import { openSession, type OnnxSession } from '../onnx/session';
import { combine, gram, symmetricEigen } from './linear';
import { UniformStream } from './random';

const OVERSAMPLING = 8;
const PASSES = 2;
/** Share of ‖W‖² that may be left out when a pass counts as having caught all; halves end at 1e-7. */
const REST = 1e-10;

/** Orthonormal rows that span the same; directions that the rows do not have are left out. Twice, so that they are so to the last digit. */
function orthonormal(rows: Float32Array, count: number): { rows: Float32Array; count: number } {
	let [current, n] = [rows, count];
	for (let round = 0; round < 2 && n > 0; round++) {
		const { values, vectors } = symmetricEigen(gram(current, n), n);
		const kept = values.filter((value) => value > 1e-12 * (values[0] ?? 0) && value > 0).length;
		const weights = vectors.slice(0, kept * n).map((x, i) => x / Math.sqrt(values[Math.floor(i / n)] ?? 1));
		[current, n] = [combine(weights, current, n), kept];
	}
	return { rows: current, count: n };
}

const energy = (x: Float32Array): number => {
	let sum = 0;
	for (const value of x) sum += value * value;
	return sum;
};

/** `images`: x·Wᵀ; `both`: also x·WᵀW. */
async function productModel(both: boolean): Promise<OnnxSession> {
	const model = new OnnxModel();
	const x = model.input('x', 'f32', ['p', 'columns']);
	const w = model.input('w', 'f32', ['rows', 'columns']);
	const images = model.node('Gemm', [x, w], { transB: 1 }, 'images');
	model.output(images, 'f32', ['p', 'rows']);
	if (both) model.output(model.node('MatMul', [images, w], {}, 'back'), 'f32', ['p', 'columns']);
	return openSession(await model.encode());
}

export interface Range {
	readonly count: number;
	/** X `[count, columns]`, orthonormal */
	readonly directions: Float32Array;
	/** X·Wᵀ `[count, rows]` */
	readonly images: Float32Array;
}

export class RangeFinder {
	private constructor(
		private readonly forth: OnnxSession,
		private readonly forthAndBack: OnnxSession
	) {}

	/** @throws Error of the runtime */
	static async open(): Promise<RangeFinder> {
		return new RangeFinder(await productModel(false), await productModel(true));
	}

	/** @param w `[rows, columns]` @param rank how many singular values are wanted @param seed of the random directions */
	async find(w: Float32Array, rows: number, rank: number, seed: number): Promise<Range> {
		const columns = w.length / rows;
		const whole = energy(w);
		let count = Math.min(rank + OVERSAMPLING, rows, columns);
		let directions: Float32Array = Float32Array.from(new UniformStream(seed, [0x45787472, 0]).take(0, count * columns), (x) => x - 0.5);
		for (let pass = 0; pass < PASSES; pass++) {
			const { images, back } = await this.#multiply(this.forthAndBack, directions, count, w, rows);
			if (pass > 0 && images && energy(images) >= (1 - REST) * whole) return { count, directions, images };
			({ rows: directions, count } = orthonormal(back ?? new Float32Array(0), count));
			if (count === 0) return { count, directions, images: new Float32Array(0) };
		}
		const { images = new Float32Array(0) } = await this.#multiply(this.forth, directions, count, w, rows);
		return { count, directions, images };
	}

	async close(): Promise<void> {
		await this.forth.close();
		await this.forthAndBack.close();
	}

	async #multiply(session: OnnxSession, x: Float32Array, count: number, w: Float32Array, rows: number): Promise<Record<string, Float32Array | undefined>> {
		const columns = w.length / rows;
		const results = await session.run({ x: { dims: [count, columns], data: x }, w: { dims: [rows, columns], data: w } });
		return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, data instanceof Float32Array ? data : undefined]));
	}
}
