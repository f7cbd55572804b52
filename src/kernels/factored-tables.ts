/**
 * How the matrices of a network are cut for Adafactor and CAME: tables that shaders/factored_*.wesl read. Pure, so that their memory can be estimated.
 */
import type { FactorLayout } from './factor-layout';
import type { Range } from './optimizer-commands';

/** Numbers a tile holds at most, and its largest sides. */
export const TILE = { capacity: 2048, across: 64, down: 128 };
/** `Matrix` of shaders/factored_common.wesl. */
export const MATRIX_WORDS = 12;

/** `Scalars` there. */
export const SCALARS_BYTES = 16;
/** Rows and columns one workgroup takes. */
const LINES = 64;

/** Where the parts of a range lie in the lists over all ranges. */
export interface Share {
	readonly range: Range;
	readonly tiles: Span;
	readonly blocks: Span;
	readonly matrices: Span;
}

export interface Span {
	readonly first: number;
	readonly count: number;
}

interface Tables {
	readonly matrices: Uint32Array;
	readonly tiles: Uint32Array;
	/** 64 lines each. */
	readonly blocks: Uint32Array;
	/** Floats for the sums of the tiles, then the partial sums of their lines. */
	readonly sums: number;
	readonly shares: readonly Share[];
}

export function factoredTables(ranges: readonly Range[]): Tables {
	const matrices: number[] = [];
	const tiles: number[] = [];
	const blocks: number[] = [];
	const shares: Share[] = [];
	let partials = 0;
	let means = 0;
	for (const range of ranges) {
		const start = { tiles: tiles.length / 4, blocks: blocks.length / 4, matrices: matrices.length / MATRIX_WORDS };
		for (const { offset, rows, columns, storedColumns } of range.places) {
			const number = matrices.length / MATRIX_WORDS;
			const tileColumns = Math.min(columns, TILE.across);
			const tileRows = Math.min(rows, TILE.down, Math.floor(TILE.capacity / tileColumns));
			const [down, across] = [Math.ceil(rows / tileRows), Math.ceil(columns / tileColumns)];
			matrices.push((offset - range.offset) / 4, rows, columns, storedColumns, tileRows, tileColumns, down, across, tiles.length / 4, partials, means, 0);
			for (let i = 0; i < down; i++) for (let j = 0; j < across; j++) tiles.push(number, i * tileRows, j * tileColumns, 0);
			for (let line = 0; line < rows + columns; line += LINES) blocks.push(number, line, 0, 0);
			partials += across * rows + down * columns;
			means += rows + columns;
		}
		const span = (first: number, end: number): Span => ({ first, count: end - first });
		shares.push({
			range,
			tiles: span(start.tiles, tiles.length / 4),
			blocks: span(start.blocks, blocks.length / 4),
			matrices: span(start.matrices, matrices.length / MATRIX_WORDS)
		});
	}
	// The sums of the tiles come first.
	for (let at = 9; at < matrices.length; at += MATRIX_WORDS) matrices[at] = (matrices[at] ?? 0) + tiles.length / 4;
	return { matrices: Uint32Array.from(matrices), tiles: Uint32Array.from(tiles), blocks: Uint32Array.from(blocks), sums: tiles.length / 4 + partials, shares };
}

/** GPU bytes of all tables and partial sums. */
export function factoredBytes({ places, elements }: FactorLayout): number {
	const { matrices, tiles, blocks, sums } = factoredTables([{ offset: 0, size: elements * 4, places, rateFactor: 1 }]);
	return matrices.byteLength + tiles.byteLength + blocks.byteLength + sums * 4 + (matrices.length / MATRIX_WORDS) * SCALARS_BYTES;
}
