/**
 * The shapes a gemm kernel can be built in, and which one fits a problem: a small table that a measurement may choose from.
 *
 * `fat` kernels are for software adapters: one invocation holds 4·blocksM × 4·blocksN sums and reads storage directly; the lanes of a vector lie
 * along one side. `tile` kernels are for GPUs: a workgroup stages bm × bk and bk × bn through workgroup memory, each invocation holds tm × tn sums.
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

export interface StagedTile {
	readonly kind: 'tile';
	readonly name: string;
	readonly bm: number;
	readonly bn: number;
	readonly bk: number;
	readonly tm: number;
	readonly tn: number;
}

export type Tile = FatTile | StagedTile;

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

export const FAT_TILES: readonly FatTile[] = [fat('n', 1, 1), fat('n', 2, 1), fat('n', 4, 1), fat('m', 1, 1), fat('m', 1, 2), fat('m', 1, 4)];

export const STAGED_TILES: readonly StagedTile[] = [
	staged(128, 64, 16, 8, 8),
	staged(64, 64, 16, 8, 4),
	staged(64, 64, 16, 4, 4),
	staged(32, 64, 16, 4, 4),
	staged(64, 32, 16, 4, 4),
	staged(128, 16, 16, 4, 4),
	staged(16, 128, 16, 4, 4)
];

export const invocationsOf = (tile: Tile): number => (tile.kind === 'fat' ? tile.lanes : (tile.bm / tile.tm) * (tile.bn / tile.tn));

/** Rows and columns a workgroup covers. */
export function coverOf(tile: Tile): { readonly rows: number; readonly columns: number } {
	if (tile.kind === 'tile') return { rows: tile.bm, columns: tile.bn };
	return {
		rows: tile.blocksM * 4 * (tile.lanesOn === 'm' ? tile.lanes : 1),
		columns: tile.blocksN * 4 * (tile.lanesOn === 'n' ? tile.lanes : 1)
	};
}

/** Bytes of workgroup memory. */
export const workgroupBytesOf = (tile: Tile): number => (tile.kind === 'fat' ? 0 : (tile.bm + tile.bn) * tile.bk * 4);

/** The shape that wastes least and shares most, without measuring. */
export function chooseTile(problem: Problem, target: Target): Tile {
	const candidates: readonly Tile[] = target.software ? FAT_TILES : STAGED_TILES.filter((tile) => fits(tile, target));
	let best: Tile | undefined;
	let bestCost = Infinity;
	for (const tile of candidates) {
		const cost = target.software ? fatCost(tile, problem) : stagedCost(tile, problem);
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

/** Per step of k and workgroup: one vector multiply-add per sum, LANES scalar loads per number that differs between lanes, one per shared number. */
function fatCost(tile: Tile, { m, n }: Problem): number {
	if (tile.kind !== 'fat') return Infinity;
	const { rows, columns } = coverOf(tile);
	const groups = Math.ceil(m / rows) * Math.ceil(n / columns);
	const mine = 4 * (tile.lanesOn === 'm' ? tile.blocksM : tile.blocksN);
	const shared = 4 * (tile.lanesOn === 'm' ? tile.blocksN : tile.blocksM);
	return groups * (mine * shared + mine * tile.lanes * 2 + shared * 2);
}

/** Work including what falls beyond the edges, weighted by how often a staged number is used; too few workgroups count as idle ones. */
function stagedCost(tile: Tile, { m, n }: Problem): number {
	if (tile.kind !== 'tile') return Infinity;
	const groups = Math.ceil(m / tile.bm) * Math.ceil(n / tile.bn);
	const reuse = 1 + 8 / tile.tm + 8 / tile.tn + 16 / tile.bm + 16 / tile.bn;
	return Math.max(groups, 128) * tile.bm * tile.bn * reuse;
}

/** Enough workgroups for a large GPU, and the fewest steps of K that a slice should have. */
const WANTED_GROUPS = 256;
const SLICE_STEPS = 16;

/** Into how many slices K is cut so that a small result with a long reduction still fills the GPU; 1 for none. */
export function chooseSplit(tile: Tile, problem: Problem): number {
	if (tile.kind === 'fat') return 1;
	const groups = Math.ceil(problem.m / tile.bm) * Math.ceil(problem.n / tile.bn);
	const steps = Math.ceil(problem.k / tile.bk);
	const useful = Math.floor(steps / SLICE_STEPS);
	if (groups >= WANTED_GROUPS / 2 || useful < 2) return 1;
	return Math.min(useful, Math.ceil(WANTED_GROUPS / groups), 64);
}
