/**
 * The shapes a gemm kernel can be built in, and which one fits a problem: a small table that a measurement may choose from.
 *
 * `lanes` kernels are for software adapters with subgroups of one size, 4 or 8: an invocation owns 4 columns (or rows) and shares the other side with its subgroup.
 * `fat` kernels are for other software adapters: one invocation holds 4·blocksM × 4·blocksN sums and reads storage directly; the lanes of a
 * vector lie along one side. `tile` kernels are for GPUs: a workgroup stages bm × bk and bk × bn through workgroup memory, each invocation holds tm × tn sums.
 * `matrix` kernels do the same for devices with subgroup matrices (tensor cores), a subgroup holding wm × wn sums; they take halves only.
 * `strip` kernels are for narrow results on GPUs: a workgroup computes bm × bn sums whole, its invocations cutting K among themselves.
 */
import type { Target } from './dispatch';
import { tunedTile } from './tune-table';

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

interface StagedTile {
	readonly kind: 'tile';
	readonly name: string;
	readonly bm: number;
	readonly bn: number;
	readonly bk: number;
	readonly tm: number;
	readonly tn: number;
	/** The next step's numbers are read while one multiplies. */
	readonly ahead: boolean;
	/** TFLOP/s where nothing is wasted (H100, halves); only the ratios matter. */
	readonly rate: number;
	/** The same where the right matrix is not stored along K, which spares turning it. */
	readonly rateAcross: number;
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
	/** TFLOP/s on a large square product (H100); only the ratios matter. */
	readonly rate: number;
}

interface StripTile {
	readonly kind: 'strip';
	readonly name: string;
	readonly bm: number;
	readonly bn: number;
	/** Parts of K that are summed side by side. */
	readonly slices: number;
	/** Four blocks are read before the first is used. */
	readonly deep: boolean;
}

export type Tile = FatTile | LanesTile | StagedTile | MatrixTile | StripTile;

export interface Problem {
	readonly m: number;
	readonly n: number;
	/** Sum over terms. */
	readonly k: number;
	/** Products in one dispatch; absent: one. */
	readonly items?: number;
	/** All terms are stored along the same axes, and a left matrix in halves. */
	readonly halves: boolean;
	/** How the first term reads its matrices (`formOf` in gemm.ts). */
	readonly form: string;
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

interface StagedOptions {
	readonly ahead?: boolean;
	readonly rateAcross?: number;
}

const staged = (
	bm: number,
	bn: number,
	bk: number,
	tm: number,
	tn: number,
	rate: number,
	{ ahead = false, rateAcross = rate }: StagedOptions = {}
): StagedTile => ({
	kind: 'tile',
	name: `tile-${bm}x${bn}x${bk}-${tm}x${tn}`,
	bm,
	bn,
	bk,
	tm,
	tn,
	ahead,
	rate,
	rateAcross
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
	staged(128, 128, 16, 8, 8, 36, { ahead: true, rateAcross: 46 }),
	staged(128, 64, 16, 8, 4, 42, { ahead: true }),
	staged(64, 64, 16, 8, 4, 41.5, { ahead: true }),
	staged(64, 64, 16, 4, 4, 35.6),
	staged(32, 64, 16, 4, 4, 34.4),
	staged(64, 32, 16, 4, 4, 34),
	staged(128, 16, 16, 4, 4, 22),
	staged(16, 128, 16, 4, 4, 22)
];

const strip = (bm: number, bn: number): StripTile => ({ kind: 'strip', name: `strip-${bm}x${bn}`, bm, bn, slices: (256 * 16) / (bm * bn), deep: true });

const STRIP_TILES: readonly StripTile[] = [strip(8, 16), strip(16, 16)];

const matrix = (bm: number, bn: number, bk: number, wm: number, wn: number, rate: number): MatrixTile => ({
	kind: 'matrix',
	name: `matrix-${bm}x${bn}x${bk}-${wm}x${wn}`,
	bm,
	bn,
	bk,
	wm,
	wn,
	rate
});

const MATRIX_TILES: readonly MatrixTile[] = [
	matrix(128, 128, 32, 64, 64, 246),
	matrix(128, 128, 64, 64, 32, 253),
	matrix(128, 128, 64, 32, 32, 247),
	matrix(128, 64, 32, 32, 32, 166),
	matrix(64, 64, 64, 32, 32, 152),
	matrix(32, 64, 64, 16, 32, 131),
	matrix(128, 16, 64, 32, 16, 84),
	matrix(64, 16, 128, 16, 16, 70),
	matrix(16, 128, 64, 16, 32, 81),
	matrix(16, 64, 128, 16, 16, 78)
];

export const allTiles = (): readonly Tile[] => [...STAGED_TILES, ...MATRIX_TILES, ...STRIP_TILES, ...LANES_TILES, ...FAT_TILES];

export function invocationsOf(tile: Tile): number {
	switch (tile.kind) {
		case 'tile':
			return (tile.bm / tile.tm) * (tile.bn / tile.tn);
		case 'matrix':
			return (tile.bm / tile.wm) * (tile.bn / tile.wn) * 32;
		case 'strip':
			return ((tile.bm * tile.bn) / 16) * tile.slices;
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
		case 'strip':
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
	// f32, two quads of padding every four k for each matrix, and where the rows begin.
	if (tile.kind === 'tile') return (tile.bm + tile.bn + 4) * tile.bk * 4 + tile.bm * 4;
	// Halves, padded by 8 along whichever axis; or, at the end, 16 rows of f32 for each subgroup; and where the rows begin.
	if (tile.kind === 'matrix') {
		const staged = Math.max(tile.bm * (tile.bk + 8), tile.bk * (tile.bm + 8)) + Math.max(tile.bn * (tile.bk + 8), tile.bk * (tile.bn + 8));
		return Math.max(2 * staged, (invocationsOf(tile) / 32) * 16 * (tile.wn + 4) * 4) + tile.bm * 4;
	}
	// Every invocation's 16 sums.
	if (tile.kind === 'strip') return invocationsOf(tile) * 64;
	return 0;
}

/** The tile measured best for problems like this one; without a measurement, the one that wastes least and shares most. */
export function chooseTile(problem: Problem, target: Target): Tile {
	const candidates = tilesFor(problem, target);
	const tuned = tunedTile(target.tuning, problem, candidates);
	if (tuned) return tuned;
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

/** Every tile that this machine can compute the problem with. */
export function tilesFor(problem: Problem, target: Target): readonly Tile[] {
	if (target.software) {
		const sharing = LANES_TILES.filter((tile) => tile.lanes === target.subgroupSize);
		return sharing.length > 0 ? sharing : FAT_TILES;
	}
	const narrow = Math.min(problem.m, problem.n) <= NARROW ? STRIP_TILES : [];
	const matrices = target.subgroupMatrix && problem.halves ? MATRIX_TILES.filter((tile) => tileFits(tile, target)) : [];
	return [...(matrices.length > 0 ? matrices : STAGED_TILES), ...narrow].filter((tile) => tileFits(tile, target));
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
		case 'matrix':
			return splitCost(tile, problem, chooseSplit(tile, problem));
		case 'strip':
			return stripCost(tile, problem);
	}
}

/** Results narrower than this may be computed in strips. */
const NARROW = 32;

/** Cores of an H100, whose microseconds the following estimates are; only comparisons of tiles matter. */
const CORES = 132;

/** Workgroups that a core holds at a time, by registers (sums and what else a kernel of that kind needs) and workgroup memory. */
function residentOf(tile: StagedTile | MatrixTile): number {
	const registers = tile.kind === 'tile' ? tile.tm * tile.tn + 60 : (tile.wm * tile.wn) / 32 + 80;
	return Math.max(1, Math.min(16, Math.floor(65536 / registers / invocationsOf(tile)), Math.floor(227_000 / workgroupBytesOf(tile))));
}

/** Microseconds that any kernel takes. */
const START = 3;

/** Share of a core's rate that fewer workgroups than it could hold reach. */
const ALONE = 0.7;

/** The work with what falls beyond the edges, in turns over all cores: the last turn takes as long as its fullest core. Then the sum of the slices. */
function splitCost(tile: StagedTile | MatrixTile, { m, n, k, items = 1, form }: Problem, split: number): number {
	const rate = tile.kind === 'tile' && !form.endsWith(' nk') ? tile.rateAcross : tile.rate;
	const groups = items * split * Math.ceil(m / tile.bm) * Math.ceil(n / tile.bn);
	// Beginning and end of a workgroup cost as much as some steps.
	const one = (2 * tile.bm * tile.bn * (k / split + 64)) / ((rate * 1e6) / CORES);
	const resident = residentOf(tile);
	const turns = Math.floor(groups / (CORES * resident));
	const last = Math.ceil((groups - turns * CORES * resident) / CORES);
	const share = last >= resident ? 1 : ALONE + ((1 - ALONE) * (last - 1)) / Math.max(1, resident - 1);
	const work = START + turns * resident * one + (last * one) / share;
	return split === 1 ? work : work + 2.5 + (items * (2 * split + 1) * m * n * 4) / 4e6;
}

/** Each invocation takes K four at a time: two blocks read for 64 products. Measured: 0.32 µs, and twice that where neighbours read the right matrix in rows far apart. */
function stripCost({ bm, bn, slices }: StripTile, { m, n, k, items = 1, form }: Problem): number {
	const groups = items * Math.ceil(m / bm) * Math.ceil(n / bn);
	return 1.5 * START + (form === 'rows kn' ? 0.62 : 0.32) * Math.ceil(groups / CORES) * Math.ceil(k / (4 * slices));
}

/** Least of K that a slice should have. */
const SLICE = { tile: 128, matrix: 256 } as const;
const SPLITS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

/** Into how many slices K is cut so that a small result with a long reduction still fills the GPU; 1 for none. */
export function chooseSplit(tile: Tile, problem: Problem): number {
	if (tile.kind !== 'tile' && tile.kind !== 'matrix') return 1;
	let [best, bestCost] = [1, splitCost(tile, problem, 1)];
	for (const split of SPLITS) {
		if (split > problem.k / SLICE[tile.kind]) break;
		const cost = splitCost(tile, problem, split);
		if (cost < bestCost) [best, bestCost] = [split, cost];
	}
	return best;
}
