/**
 * What is inside a LoRA file, for `inspect` and the library: ranks, alphas, modules per block, and how strong each module is.
 * The norm of a module's change is computed from r×r products, never from the full matrix: ‖BA‖²_F = Σ (BᵀB) ∘ (AAᵀ).
 */
import type { SafetensorsFile } from '../formats/safetensors';
import { blockOfName } from './keys';
import { readLora } from './read';
import type { Lookalike } from './read';

export interface LoraReport {
	readonly modules: number;
	readonly textEncoderModules: number;
	/** How many modules have this rank (key: the rank). */
	readonly ranks: Record<string, number>;
	readonly alphas: Record<string, number>;
	readonly blocks: Record<string, number>;
	/** Frobenius norm of the change at strength 1, per block and in total. */
	readonly norms: Record<string, number>;
	readonly norm: number;
	readonly looksLike: Lookalike;
	readonly unknownTensors: number;
}

/** Squared Frobenius norm of up·down; down `[r, K]`, up `[N, r]`. */
export function changeNormSquared(down: Float32Array, up: Float32Array, rank: number): number {
	const columns = down.length / rank;
	const rows = up.length / rank;
	let sum = 0;
	for (let i = 0; i < rank; i++) {
		for (let j = i; j < rank; j++) {
			let a = 0;
			for (let k = 0; k < columns; k++) a += (down[i * columns + k] ?? 0) * (down[j * columns + k] ?? 0);
			let b = 0;
			for (let n = 0; n < rows; n++) b += (up[n * rank + i] ?? 0) * (up[n * rank + j] ?? 0);
			sum += (i === j ? 1 : 2) * a * b;
		}
	}
	return Math.max(0, sum);
}

const bump = (counts: Record<string, number>, key: string, by = 1): void => void (counts[key] = (counts[key] ?? 0) + by);

/** @throws LoraError when the file is no ordinary LoRA */
export async function reportLora(file: SafetensorsFile): Promise<LoraReport> {
	const raw = await readLora(file);
	const ranks: Record<string, number> = {};
	const alphas: Record<string, number> = {};
	const blocks: Record<string, number> = {};
	const squares: Record<string, number> = {};
	for (const m of raw.modules) {
		const block = m.part === 'te' ? 'BASE' : blockOfName(m.name);
		bump(ranks, String(m.rank));
		bump(alphas, String(m.alpha));
		bump(blocks, block);
		const scale = m.alpha / m.rank;
		bump(squares, block, changeNormSquared(await raw.file.readFloat32(m.down), await raw.file.readFloat32(m.up), m.rank) * scale * scale);
	}
	const norms = Object.fromEntries(Object.entries(squares).map(([block, square]) => [block, Math.sqrt(square)]));
	const norm = Math.sqrt(Object.values(squares).reduce((a, b) => a + b, 0));
	const textEncoderModules = raw.modules.filter((m) => m.part === 'te').length;
	return { modules: raw.modules.length, textEncoderModules, ranks, alphas, blocks, norms, norm, looksLike: raw.looksLike, unknownTensors: raw.unknown.length };
}
