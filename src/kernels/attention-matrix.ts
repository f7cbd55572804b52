/**
 * Which shape the subgroup-matrix kernel of attention (`shaders/attention_matrix.wesl`) takes, and what it needs to be used at all.
 *
 * Rule: a subgroup's results must fit its registers and a workgroup's tiles its memory; wide heads therefore take fewer columns a step. The shapes were
 * measured with `bench/attention.ts`.
 */
import type { Target } from './dispatch';

export type AttentionKind = 'forward' | 'grad_rows' | 'grad_columns';

/** Columns of a step, subgroups of a workgroup, strips of 16 rows of a subgroup. */
export interface MatrixTile {
	readonly columns: number;
	readonly subgroups: number;
	readonly strips: number;
}

export const rowsOfTile = (tile: MatrixTile): number => 16 * tile.subgroups * tile.strips;

/** Bytes of workgroup memory; `quads` of a head. */
export function matrixTileBytes(kind: AttentionKind, quads: number, tile: MatrixTile): number {
	const padded = Math.ceil(quads / 4) * 2;
	const rows = rowsOfTile(tile) * (tile.columns / 4 + 2);
	const tiles = 2 * tile.columns * (padded + 1) * 16;
	switch (kind) {
		case 'forward':
			return tiles + rows * (16 + 8) + 16;
		case 'grad_rows':
			return tiles + rows * (2 * 16 + 8);
		case 'grad_columns':
			return tiles + rows * (2 * 16 + 2 * 8) + tile.columns * 8;
	}
}

const NARROW: readonly MatrixTile[] = [
	{ columns: 32, subgroups: 4, strips: 1 },
	{ columns: 32, subgroups: 2, strips: 1 }
];
/** 64 columns a step pay for long rows of heads of 64 channels: a fifth less time there, a third more for heads of 40. */
const WIDE: MatrixTile = { columns: 64, subgroups: 4, strips: 1 };
const WIDE_QUADS = 16;
const WIDE_COLUMNS = 256;

/** Whether this machine and this head (in quads) can use matrices with this shape. */
export function matrixTileFits(kind: AttentionKind, quads: number, tile: MatrixTile, target: Target): boolean {
	const { columns, strips, subgroups } = tile;
	const whole = columns % 16 === 0 && columns % (16 * strips) === 0 && quads % 2 === 0;
	return whole && 32 * subgroups <= target.maxWorkgroupInvocations && matrixTileBytes(kind, quads, tile) <= target.maxWorkgroupStorage;
}

/**
 * The shape for a head of `quads` and so many columns, or nothing where another kernel has to do it. Devices that clamp accesses do without: that these kernels
 * compile there has not been seen.
 */
export function chooseMatrixTile(kind: AttentionKind, quads: number, columns: number, target: Target): MatrixTile | undefined {
	if (!target.subgroupMatrix || !target.f16 || target.unclamped !== true) return undefined;
	const wide = kind === 'forward' && quads === WIDE_QUADS && columns >= WIDE_COLUMNS;
	return [...(wide ? [WIDE] : []), ...NARROW].find((tile) => matrixTileFits(kind, quads, tile, target));
}

/** Heads up to this many quads have a kernel of their own for gradients, `shaders/attention_pairs.wesl`. */
const PAIRS_QUADS = 20;
export const PAIRS_COLUMNS = 32;
export const rowsOfPairs = (subgroups: number): number => 16 * subgroups;

export function pairsBytes(kind: AttentionKind, quads: number, subgroups: number): number {
	const pitch = Math.ceil(quads / 4) * 32 + 16;
	return 4 * PAIRS_COLUMNS * pitch + 2 * rowsOfPairs(subgroups) * (PAIRS_COLUMNS / 4 + 1) * 16 + (kind === 'grad_columns' ? 4 * PAIRS_COLUMNS * 4 : 0);
}

/** Whether this machine and this head (in quads) can use it. */
export function pairsFit(kind: AttentionKind, quads: number, subgroups: number, target: Target): boolean {
	const fits = 32 * subgroups <= target.maxWorkgroupInvocations && pairsBytes(kind, quads, subgroups) <= target.maxWorkgroupStorage;
	return kind !== 'forward' && quads % 2 === 0 && quads <= PAIRS_QUADS && subgroups <= 4 && subgroups % 2 === 0 && fits;
}

/** Which of the conditions k2, k3, … hold: a head has that many matrices of 16 channels. */
export const matricesOf = (quads: number): Record<string, boolean> => Object.fromEntries([2, 3, 4, 5].map((k) => [`k${k}`, Math.ceil(quads / 4) >= k]));

export const rowsOfStrips = (subgroups: number): number => 32 * subgroups;

/** Whether this machine and this head (in quads) can use the forward kernel of 32 rows a subgroup, `shaders/attention_strips.wesl`. */
export function stripsFit(kind: AttentionKind, quads: number, subgroups: number, target: Target): boolean {
	const bytes = 2 * PAIRS_COLUMNS * (Math.ceil(quads / 4) * 32 + 16) + rowsOfStrips(subgroups) * (PAIRS_COLUMNS / 4 + 1) * 16 + 16;
	return (
		kind === 'forward' && quads % 2 === 0 && quads <= PAIRS_QUADS && 32 * subgroups <= target.maxWorkgroupInvocations && bytes <= target.maxWorkgroupStorage
	);
}
