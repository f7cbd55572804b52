/**
 * Which tile a measurement found best for which products, and the question that lowering asks of it. A table holds a few measured sizes of each form; a product takes the tile of the nearest
 * one of its own form, or the heuristic's where nothing measured is near.
 */
import type { Problem, Tile } from './tiles';

export interface TunedClass {
	readonly form: string;
	readonly m: number;
	readonly n: number;
	readonly k: number;
	/** Names of tiles, and the rates they reached. */
	readonly best: { readonly tile: string; readonly tflops: number };
	readonly heuristic: { readonly tile: string; readonly tflops: number };
}

export interface Tuning {
	/** Of the adapter, its driver or browser, and the kernels: a table of another key says nothing. */
	readonly key: string;
	readonly seconds: number;
	readonly classes: readonly TunedClass[];
}

/** Doublings between two sizes beyond which a measurement says nothing. */
const NEAR = 4;

/** A measured tile must beat the heuristic's by this much, or noise would choose. */
const WORTH = 1.05;

const apart = (a: number, b: number): number => Math.abs(Math.log2(a / b));

/** The tile measured best near this problem, among those that may be used for it. */
export function tunedTile(tuning: Tuning | undefined, problem: Problem, candidates: readonly Tile[]): Tile | undefined {
	let nearest: TunedClass | undefined;
	let distance = NEAR;
	for (const measured of tuning?.classes ?? []) {
		if (measured.form !== problem.form) continue;
		const d = apart(measured.m, problem.m) + apart(measured.n, problem.n) + apart(measured.k, problem.k) / 2;
		if (d < distance) [nearest, distance] = [measured, d];
	}
	if (!nearest || nearest.best.tflops < WORTH * nearest.heuristic.tflops) return undefined;
	return candidates.find((tile) => tile.name === nearest.best.tile);
}

const tunings = new WeakMap<GPUDevice, Tuning>();

/** What programs compiled from now on for this device go by. */
export function useTuning(device: GPUDevice, tuning: Tuning | undefined): void {
	if (tuning) tunings.set(device, tuning);
	else tunings.delete(device);
}

export const tuningOf = (device: GPUDevice): Tuning | undefined => tunings.get(device);
