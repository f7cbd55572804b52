/** LoRA files made in tests, and full matrices of what they change. */
import { openMergeFile, type MergeFile } from '../../../src/lora/merge-files';
import type { MergedModule } from '../../../src/lora/merge-types';
import { bytesSource } from '../../../src/formats/source';
import { writeSafetensors, type TensorData } from '../../../src/formats/safetensors-writer';

let state = 12345;
/** Reproducible, about ±1. */
export function random(): number {
	state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
	return state / 2 ** 31 - 1;
}

export const randoms = (count: number, scale = 1): Float32Array => Float32Array.from({ length: count }, () => random() * scale);

export interface TestModule {
	/** As in the file. */
	name: string;
	rows: number;
	/** in, or in and the sides of the kernel. */
	inputs: number[];
	rank: number;
	alpha?: number;
	down?: Float32Array;
	up?: Float32Array;
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export function tensorsOf(modules: readonly TestModule[]): TensorData[] {
	return modules.flatMap(({ name, rows, inputs, rank, alpha, down, up }) => [
		...(alpha === undefined ? [] : [{ name: `${name}.alpha`, dtype: 'F32' as const, shape: [], data: Float32Array.of(alpha) }]),
		{ name: `${name}.lora_down.weight`, dtype: 'F32' as const, shape: [rank, ...inputs], data: down ?? randoms(rank * product(inputs)) },
		{ name: `${name}.lora_up.weight`, dtype: 'F32' as const, shape: [rows, rank, ...inputs.slice(1).map(() => 1)], data: up ?? randoms(rows * rank) }
	]);
}

export const openTensors = (name: string, tensors: readonly TensorData[], metadata: Record<string, string> = {}): Promise<MergeFile> =>
	openMergeFile(name, bytesSource(writeSafetensors(tensors, metadata)));

export const openModules = (name: string, modules: readonly TestModule[], metadata: Record<string, string> = {}): Promise<MergeFile> =>
	openTensors(name, tensorsOf(modules), metadata);

/** scale · up · down in float64, `[rows, columns]`. */
export function change(up: Float32Array, down: Float32Array, rank: number, scale: number): Float64Array {
	const [rows, columns] = [up.length / rank, down.length / rank];
	const out = new Float64Array(rows * columns);
	for (let i = 0; i < rows; i++)
		for (let r = 0; r < rank; r++) {
			const u = scale * (up[i * rank + r] ?? 0);
			for (let k = 0; k < columns; k++) out[i * columns + k] = (out[i * columns + k] ?? 0) + u * (down[r * columns + k] ?? 0);
		}
	return out;
}

export const changeOf = ({ up, down, rank, alpha }: Pick<MergedModule, 'up' | 'down' | 'rank' | 'alpha'>): Float64Array => change(up, down, rank, alpha / rank);

export const norm = (x: Float64Array): number => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
export const minus = (a: Float64Array, b: Float64Array): Float64Array => a.map((v, i) => v - (b[i] ?? 0));

/** The exact weighted sum of one module, straight from the files. */
export async function exactSum(files: readonly MergeFile[], module: (file: MergeFile) => string | undefined, ratios: readonly number[]): Promise<Float64Array> {
	let sum: Float64Array | undefined;
	for (const [i, file] of files.entries()) {
		const raw = file.raw.modules.find(({ name }) => name === module(file));
		if (!raw) continue;
		const [up, down] = [await file.raw.file.readFloat32(raw.up), await file.raw.file.readFloat32(raw.down)];
		const one = change(up, down, raw.rank, ((ratios[i] ?? 0) * raw.alpha) / raw.rank);
		sum = sum ? sum.map((v, k) => v + (one[k] ?? 0)) : one;
	}
	return sum ?? new Float64Array(0);
}
