/**
 * Which shape the subgroup-matrix kernel of attention for wide heads (`shaders/attention_matrix.wesl`) takes, and what it needs to be used at all. Heads of up to 80
 * channels have kernels of their own, `attention-strips.ts`.
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

const SHAPES: readonly MatrixTile[] = [
	{ columns: 32, subgroups: 4, strips: 1 },
	{ columns: 32, subgroups: 2, strips: 1 }
];

/** Whether this machine and this head (in quads) can use matrices with this shape. */
export function matrixTileFits(kind: AttentionKind, quads: number, tile: MatrixTile, target: Target): boolean {
	const { columns, strips, subgroups } = tile;
	const whole = columns % 16 === 0 && columns % (16 * strips) === 0 && quads % 2 === 0;
	return whole && 32 * subgroups <= target.maxWorkgroupInvocations && matrixTileBytes(kind, quads, tile) <= target.maxWorkgroupStorage;
}

/** Devices that clamp accesses do without matrices: that these kernels compile there has not been seen. */
export const usesMatrices = (target: Target): boolean => target.subgroupMatrix && target.f16 && target.unclamped === true;

/** The shape for a head of `quads`, or nothing where another kernel has to do it. */
export function chooseMatrixTile(kind: AttentionKind, quads: number, target: Target): MatrixTile | undefined {
	return usesMatrices(target) ? SHAPES.find((tile) => matrixTileFits(kind, quads, tile, target)) : undefined;
}
