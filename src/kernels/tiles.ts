/**
 * The shapes a gemm kernel can be built in, and which one fits a problem: a small table that a measurement may choose from.
 *
 * `lanes` kernels are for software adapters with subgroups of 8: an invocation owns 4 columns (or rows) and shares the other side with its subgroup.
 * `fat` kernels are for other software adapters: one invocation holds 4·blocksM × 4·blocksN sums and reads storage directly; the lanes of a
 * vector lie along one side. `tile` kernels are for GPUs: a workgroup stages bm × bk and bk × bn through workgroup memory, each invocation holds tm × tn sums.
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
	/** The side that lanes own; the other is shared. */
	readonly lanesOn: 'm' | 'n';
	/** Rows or columns that all lanes share: 4, 8 or 16. */
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

export type Tile = FatTile | LanesTile | StagedTile;

export interface Problem {
	readonly m: number;
	readonly n: number;
	/** Sum over terms. */
	readonly k: number;
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

export const FAT_TILES: readonly FatTile[] = [fat('n', 1, 1), fat('n', 2, 1), fat('m', 1, 1), fat('m', 1, 2)];

const lanes = (lanesOn: 'm' | 'n', shared: number): LanesTile => ({ kind: 'lanes', name: `lanes-${lanesOn}-${shared}`, lanesOn, shared });

export const LANES_TILES: readonly LanesTile[] = [lanes('n', 4), lanes('n', 8), lanes('n', 16), lanes('m', 4), lanes('m', 8), lanes('m', 16)];

export const STAGED_TILES: readonly StagedTile[] = [
	staged(128, 64, 16, 8, 8),
	staged(64, 64, 16, 8, 4),
	staged(64, 64, 16, 4, 4),
	staged(32, 64, 16, 4, 4),
	staged(64, 32, 16, 4, 4),
	staged(128, 16, 16, 4, 4),
	staged(16, 128, 16, 4, 4)
];

export const invocationsOf = (tile: Tile): number => (tile.kind === 'tile' ? (tile.bm / tile.tm) * (tile.bn / tile.tn) : tile.kind === 'fat' ? tile.lanes : 8);

/** Rows and columns a workgroup covers. */
export function coverOf(tile: Tile): { readonly rows: number; readonly columns: number } {
	switch (tile.kind) {
		case 'tile':
			return { rows: tile.bm, columns: tile.bn };
		case 'lanes':
			return tile.lanesOn === 'm' ? { rows: 32, columns: tile.shared } : { rows: tile.shared, columns: 32 };
		case 'fat':
			return {
				rows: tile.blocksM * 4 * (tile.lanesOn === 'm' ? tile.lanes : 1),
				columns: tile.blocksN * 4 * (tile.lanesOn === 'n' ? tile.lanes : 1)
			};
	}
}

/** Bytes of workgroup memory. */
export const workgroupBytesOf = (tile: Tile): number => (tile.kind === 'tile' ? (tile.bm + tile.bn + 8) * tile.bk * 4 : 0);

/** The shape that wastes least and shares most, without measuring. */
export function chooseTile(problem: Problem, target: Target): Tile {
	const candidates: readonly Tile[] = target.software
		? target.subgroupSize === 8
			? LANES_TILES
			: FAT_TILES
		: STAGED_TILES.filter((tile) => fits(tile, target));
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

function fits(tile: Tile, target: Target): boolean {
	return invocationsOf(tile) <= target.maxWorkgroupInvocations && workgroupBytesOf(tile) <= target.maxWorkgroupStorage;
}

function costOf(tile: Tile, problem: Problem): number {
	const { rows, columns } = coverOf(tile);
	const groups = Math.ceil(problem.m / rows) * Math.ceil(problem.n / columns);
	switch (tile.kind) {
		case 'lanes':
			// Per four steps of k: 16 multiply-adds per shared row, and 4 own quads and one shared quad per strip of 8 to load, 16 times as dear.
			return groups * (16 * tile.shared + 16 * (4 + Math.ceil(tile.shared / 8)));
		case 'fat': {
			const mine = 4 * (tile.lanesOn === 'm' ? tile.blocksM : tile.blocksN);
			const shared = 4 * (tile.lanesOn === 'm' ? tile.blocksN : tile.blocksM);
			return groups * (mine * shared + 16 * (mine + shared));
		}
		case 'tile':
			return stagedCost(tile, groups);
	}
}

/** Work including what falls beyond the edges, weighted by how often a staged number is used; too few workgroups count as idle ones. */
function stagedCost(tile: StagedTile, groups: number): number {
	const reuse = 1 + 8 / tile.tm + 8 / tile.tn + 16 / tile.bm + 16 / tile.bn;
	return Math.max(groups, 128) * tile.bm * tile.bn * reuse;
}

/** Enough workgroups for a large GPU, and the fewest steps of K that a slice should have. */
const WANTED_GROUPS = 256;
const SLICE_STEPS = 16;

/** Into how many slices K is cut so that a small result with a long reduction still fills the GPU; 1 for none. */
export function chooseSplit(tile: Tile, problem: Problem): number {
	if (tile.kind !== 'tile') return 1;
	const groups = Math.ceil(problem.m / tile.bm) * Math.ceil(problem.n / tile.bn);
	const steps = Math.ceil(problem.k / tile.bk);
	const useful = Math.floor(steps / SLICE_STEPS);
	if (groups >= WANTED_GROUPS / 2 || useful < 2) return 1;
	return Math.min(useful, Math.ceil(WANTED_GROUPS / groups), 64);
}
