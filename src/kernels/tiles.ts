/**
 * The shapes a gemm kernel can be built in, and which one fits a problem: a small table that a measurement may choose from.
 *
 * `lanes` kernels are for software adapters with subgroups of one size, 4 or 8: an invocation owns 4 columns (or rows) and shares the other side with its subgroup.
 * `fat` kernels are for other software adapters: one invocation holds 4·blocksM × 4·blocksN sums and reads storage directly; the lanes of a
 * vector lie along one side. `tile` kernels are for GPUs: a workgroup stages bm × bk and bk × bn through workgroup memory, each invocation holds tm × tn sums.
 * `matrix` kernels do the same for devices with subgroup matrices (tensor cores), a subgroup holding wm × wn sums; they take halves only.
 */
import type { Target } from './dispatch';

export interface FatTile {
	readonly kind: 'fat';
	readonly name: string;
	readonly lanes: number;
	readonly lanesOn: 'm' | 'n';
	readonly blocksM: number;
	readonly blocksN: number;
}

export interface LanesTile {
	readonly kind: 'lanes';
	readonly name: string;
	readonly lanes: 4 | 8;
	/** The side that lanes own; the other is shared. */
	readonly lanesOn: 'm' | 'n';
	/** Rows or columns that all lanes share: a multiple of the lanes. */
	readonly shared: number;
}

export interface StagedTile {
	readonly kind: 'tile';
	readonly name: string;
	readonly bm: number;
	readonly bn: number;
	readonly bk: number;
	readonly tm: number;
	readonly tn: number;
}

export interface MatrixTile {
	readonly kind: 'matrix';
	readonly name: string;
	readonly bm: number;
	readonly bn: number;
	readonly bk: number;
	/** Sums a subgroup keeps. */
	readonly wm: number;
	readonly wn: number;
}

export type Tile = FatTile | LanesTile | StagedTile | MatrixTile;

export interface Problem {
	readonly m: number;
	readonly n: number;
	/** Sum over terms. */
	readonly k: number;
	/** The first term's matrices are stored in halves. */
	readonly halves: boolean;
}

export const FAT_LANES = 8;

const fat = (lanesOn: 'm' | 'n', blocksM: number, blocksN: number): FatTile => ({
	kind: 'fat',
	name: `fat-${lanesOn}-${blocksM * 4}x${blocksN * 4}`,
	lanes: FAT_LANES,
	lanesOn,
	blocksM,
	blocksN
});

const staged = (bm: number, bn: number, bk: number, tm: number, tn: number): StagedTile => ({
	kind: 'tile',
	name: `tile-${bm}x${bn}x${bk}-${tm}x${tn}`,
	bm,
	bn,
	bk,
	tm,
	tn
});

export const FAT_TILES: readonly FatTile[] = [fat('n', 2, 1), fat('m', 1, 1)];

const lanes = (count: 4 | 8, lanesOn: 'm' | 'n', shared: number): LanesTile => ({
	kind: 'lanes',
	name: `lanes${count}-${lanesOn}-${shared}`,
	lanes: count,
	lanesOn,
	shared
});

/** Few on purpose: every shape is another variant to compile, and compilers for CPUs are slow. */
export const LANES_TILES: readonly LanesTile[] = [
	lanes(8, 'n', 16),
	lanes(8, 'm', 16),
	lanes(8, 'm', 8),
	lanes(4, 'n', 16),
	lanes(4, 'm', 16),
	lanes(4, 'm', 8)
];

export const STAGED_TILES: readonly StagedTile[] = [
	staged(128, 64, 16, 8, 8),
	staged(64, 64, 16, 8, 4),
	staged(64, 64, 16, 4, 4),
	staged(32, 64, 16, 4, 4),
	staged(64, 32, 16, 4, 4),
	staged(128, 16, 16, 4, 4),
	staged(16, 128, 16, 4, 4)
];

const matrix = (bm: number, bn: number, bk: number, wm: number, wn: number): MatrixTile => ({
	kind: 'matrix',
	name: `matrix-${bm}x${bn}x${bk}-${wm}x${wn}`,
	bm,
	bn,
	bk,
	wm,
	wn
});

/** H100, 4096³: 128×128×64 with 64×64 a subgroup reached 430 TFLOP/s, 64×64×64 174, both with one workgroup per tile. */
export const MATRIX_TILES: readonly MatrixTile[] = [
	matrix(128, 128, 64, 64, 64),
	matrix(128, 64, 64, 64, 32),
	matrix(64, 128, 64, 32, 64),
	matrix(64, 64, 64, 32, 32),
	matrix(128, 16, 64, 32, 16),
	matrix(16, 128, 64, 16, 32)
];

export function invocationsOf(tile: Tile): number {
	switch (tile.kind) {
		case 'tile':
			return (tile.bm / tile.tm) * (tile.bn / tile.tn);
		case 'matrix':
			return (tile.bm / tile.wm) * (tile.bn / tile.wn) * 32;
		case 'fat':
		case 'lanes':
			return tile.lanes;
	}
}

/** Rows and columns a workgroup covers. */
export function coverOf(tile: Tile): { readonly rows: number; readonly columns: number } {
	switch (tile.kind) {
		case 'tile':
		case 'matrix':
			return { rows: tile.bm, columns: tile.bn };
		case 'lanes':
			return tile.lanesOn === 'm' ? { rows: 4 * tile.lanes, columns: tile.shared } : { rows: tile.shared, columns: 4 * tile.lanes };
		case 'fat':
			return {
				rows: tile.blocksM * 4 * (tile.lanesOn === 'm' ? tile.lanes : 1),
				columns: tile.blocksN * 4 * (tile.lanesOn === 'n' ? tile.lanes : 1)
			};
	}
}

/** Bytes of workgroup memory. */
export function workgroupBytesOf(tile: Tile): number {
	if (tile.kind === 'tile') return (tile.bm + tile.bn + 8) * tile.bk * 4;
	// Halves, padded by 8 along k or n; the rows' beginnings; a 16 × 16 corner of f32 for each subgroup.
	if (tile.kind === 'matrix')
		return 2 * (tile.bm * (tile.bk + 8) + Math.max(tile.bn * (tile.bk + 8), tile.bk * (tile.bn + 8))) + tile.bm * 4 + invocationsOf(tile) * 32;
	return 0;
}

/** The shape that wastes least and shares most, without measuring. */
export function chooseTile(problem: Problem, target: Target): Tile {
	const candidates = candidatesFor(problem, target);
	let best: Tile | undefined;
	let bestCost = Infinity;
	for (const tile of candidates) {
		const cost = costOf(tile, problem);
		if (cost < bestCost) {
			best = tile;
			bestCost = cost;
		}
	}
	if (!best) throw new Error('No gemm kernel fits this GPU.');
	return best;
}

function candidatesFor(problem: Problem, target: Target): readonly Tile[] {
	if (target.software) {
		const sharing = LANES_TILES.filter((tile) => tile.lanes === target.subgroupSize);
		return sharing.length > 0 ? sharing : FAT_TILES;
	}
	const matrices = target.subgroupMatrix && problem.halves ? MATRIX_TILES.filter((tile) => tileFits(tile, target)) : [];
	return matrices.length > 0 ? matrices : STAGED_TILES.filter((tile) => tileFits(tile, target));
}

export function tileFits(tile: Tile, target: Target): boolean {
	return invocationsOf(tile) <= target.maxWorkgroupInvocations && workgroupBytesOf(tile) <= target.maxWorkgroupStorage;
}

function costOf(tile: Tile, problem: Problem): number {
	const { rows, columns } = coverOf(tile);
	const groups = Math.ceil(problem.m / rows) * Math.ceil(problem.n / columns);
	switch (tile.kind) {
		case 'lanes':
			// Per four steps of k: 16 multiply-adds per shared row, and 4 own quads and one shared quad per strip to load, 16 times as dear.
			return groups * (16 * tile.shared + 16 * (4 + tile.shared / tile.lanes));
		case 'fat': {
			const mine = 4 * (tile.lanesOn === 'm' ? tile.blocksM : tile.blocksN);
			const shared = 4 * (tile.lanesOn === 'm' ? tile.blocksN : tile.blocksM);
			return groups * (mine * shared + 16 * (mine + shared));
		}
		case 'tile':
			return stagedCost(tile, groups, 1 + 8 / tile.tm + 8 / tile.tn);
		case 'matrix':
			return stagedCost(tile, groups, 1 + 32 / tile.wm + 32 / tile.wn);
	}
}

/** Work including what falls beyond the edges, weighted by how often a staged number is used; too few workgroups count as idle ones. */
function stagedCost(tile: StagedTile | MatrixTile, groups: number, registers: number): number {
	return Math.max(groups, 128) * tile.bm * tile.bn * (registers + 16 / tile.bm + 16 / tile.bn);
}

/** Enough workgroups for a large GPU, and the fewest steps of K that a slice should have. */
const WANTED_GROUPS = 256;
const SLICE_STEPS = 16;

/** Into how many slices K is cut so that a small result with a long reduction still fills the GPU; 1 for none. */
export function chooseSplit(tile: Tile, problem: Problem): number {
	if (tile.kind !== 'tile' && tile.kind !== 'matrix') return 1;
	const groups = Math.ceil(problem.m / tile.bm) * Math.ceil(problem.n / tile.bn);
	const steps = Math.ceil(problem.k / tile.bk);
	const useful = Math.floor(steps / SLICE_STEPS);
	if (groups >= WANTED_GROUPS / 2 || useful < 2) return 1;
	return Math.min(useful, Math.ceil(WANTED_GROUPS / groups), 64);
}
