/**
 * Where the factors of a network lie in its flat buffers. Pure, so that memory can be estimated without a GPU.
 *
 * Rules
 * - Every matrix starts at a 256-byte boundary in all twins alike, so a parameter, its gradient and its state share one offset. With 8-bit state it starts at
 *   a block of 256 numbers, so that no block holds numbers of two matrices. The gaps stay zero (every optimizer leaves zeros with zero gradient at zero).
 * - A matrix may be stored larger than it is (rank rounded up to a multiple of 4); the rest is zero, and stays zero for the same reason:
 *   a zero row of one factor makes the other factor's gradient column zero.
 */
import { ALIGNMENT, alignUp } from '../gpu/buffers';
import type { OptimizerSettings } from '../recipe/optimizers';

export interface FactorEntry {
	readonly name: string;
	/** As the user and the file see it. */
	readonly shape: readonly number[];
	/** As the graph sees it, when padded: `[rows, columns]` with at least as many rows and columns. */
	readonly storedShape?: readonly number[];
	/** Its learning rate as a multiple of the step's; absent: 1. Not for optimizers that find their own (`optimizer-params.ts`). */
	readonly rateFactor?: number;
}

export interface Place {
	readonly entry: FactorEntry;
	/** In bytes. */
	readonly offset: number;
	readonly rows: number;
	readonly columns: number;
	readonly storedRows: number;
	readonly storedColumns: number;
}

export interface FactorLayout {
	readonly places: readonly Place[];
	/** Numbers in each flat buffer. */
	readonly elements: number;
}

/** Numbers that share a scale in 8-bit state. */
export const BLOCK = 256;

export const eightBit = (settings: OptimizerSettings | undefined): boolean => settings !== undefined && 'stateBits' in settings && settings.stateBits === 8;

const columnsOf = (shape: readonly number[]): number => shape.slice(1).reduce((product, size) => product * size, 1);

/** @throws Error when a name is listed twice or a matrix is stored smaller than it is */
export function layoutFactors(entries: readonly FactorEntry[], optimizer: OptimizerSettings | undefined): FactorLayout {
	const alignment = eightBit(optimizer) ? BLOCK * 4 : ALIGNMENT;
	const names = new Set<string>();
	let bytes = 0;
	const places = entries.map((entry): Place => {
		const rows = entry.shape[0] ?? 1;
		const columns = columnsOf(entry.shape);
		const storedRows = entry.storedShape?.[0] ?? rows;
		const storedColumns = entry.storedShape ? columnsOf(entry.storedShape) : columns;
		if (storedRows < rows || storedColumns < columns) throw new Error(`Factor ${entry.name}: stored smaller than it is.`);
		if (names.has(entry.name)) throw new Error(`Factor ${entry.name} is listed twice.`);
		names.add(entry.name);
		const place = { entry, offset: bytes, rows, columns, storedRows, storedColumns };
		bytes = alignUp(bytes + storedRows * storedColumns * 4, alignment);
		return place;
	});
	return { places, elements: Math.max(bytes, alignment) / 4 };
}
