/**
 * Commands of Adafactor and CAME, which keep squares as running means of rows and columns: shaders/factored_*.wesl, in the order given in factored_common.wesl.
 *
 * Every factor counts as the matrix it is used as, `[rank, inputs]`, `[rank, 9 · inputs]` or `[outputs, rank]`. The libraries would factor a convolution's `[rank, inputs, 3, 3]` over its
 * 3×3 windows, with 6 means for 9 numbers, and a 1×1 convolution's not at all.
 */
import type { OptimizerSettings } from '../recipe/optimizers';
import { targetOf } from './lower';
import { flatWorkgroups } from './lowering';
import { reads, WORKGROUP, writes } from './optimizer-commands';
import type { Bound, Commands, Kernel, Range } from './optimizer-commands';
import { lineCount } from './optimizer-state';

export type FactoredSettings = Extract<OptimizerSettings, { kind: 'adafactor' | 'came' }>;

/** Numbers a tile holds at most, and its largest sides. */
const TILE = { capacity: 2048, across: 64, down: 128 };
const MATRIX_WORDS = 12;

/** Where the parts of a range lie in the lists over all ranges. */
interface Share {
	readonly range: Range;
	readonly tiles: Span;
	readonly blocks: Span;
	readonly matrices: Span;
}

interface Span {
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
			for (let line = 0; line < rows + columns; line += WORKGROUP) blocks.push(number, line, 0, 0);
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

export async function addFactored(commands: Commands, settings: FactoredSettings): Promise<void> {
	const { factors } = commands;
	const tables = factoredTables(commands.ranges);
	const matrices = await commands.scratch('matrices', tables.matrices.byteLength, tables.matrices);
	const tiles = await commands.scratch('tiles', tables.tiles.byteLength, tables.tiles);
	const blocks = await commands.scratch('lines', tables.blocks.byteLength, tables.blocks);
	const sums = await commands.scratch('partial sums', tables.sums * 4);
	const scalars = await commands.scratch('scalars', (tables.matrices.length / MATRIX_WORDS) * 16);
	const means = factors.stateBuffer('lines');
	const adafactor = settings.kind === 'adafactor';
	const [scaled, relative] = adafactor ? [settings.scaleParameter, settings.relativeStep] : [false, false];
	const hasMomentum = !adafactor || settings.beta1 > 0;
	const residuals = lineCount(factors.layout);

	const run = (kernel: Kernel, bound: (Bound | undefined)[], { first, count }: Span): Promise<void> =>
		commands.add(kernel, bound, { quads: residuals, first, count }, flatWorkgroups(count, 1, targetOf(commands.gpu)));
	const each = async (command: (share: Share) => Promise<void>): Promise<void> => {
		for (const share of tables.shares) await command(share);
	};
	type Use = 'values' | 'gradients' | 'means' | 'sums' | 'scalars' | 'momentum';
	const tile = (conditions: Record<string, boolean>, ...uses: Use[]): Promise<void> =>
		each(({ range, tiles: span }) => {
			const use = (name: Use, bound: () => Bound): Bound | undefined => (uses.includes(name) ? bound() : undefined);
			const bound = [
				reads(matrices),
				reads(tiles),
				use('values', () => writes(commands.values, range)),
				use('gradients', () => reads(commands.gradients, range)),
				use('means', () => writes(means)),
				use('sums', () => writes(sums)),
				use('scalars', () => writes(scalars)),
				use('momentum', () => writes(factors.stateBuffer('m'), range))
			];
			return run({ shader: 'factored_tile', conditions: { adafactor, came: !adafactor, ...conditions }, constants: { CAPACITY: TILE.capacity } }, bound, span);
		});
	const lines = (residual: boolean): Promise<void> =>
		each((share) =>
			run({ shader: 'factored_lines', conditions: { adafactor, residual } }, [reads(matrices), reads(blocks), writes(means), writes(sums)], share.blocks)
		);
	const whole = (conditions: Record<string, boolean>, withMeans: boolean, withSums: boolean): Promise<void> =>
		each((share) =>
			run(
				{ shader: 'factored_matrix', conditions },
				[reads(matrices), withMeans ? writes(means) : undefined, withSums ? writes(sums) : undefined, writes(scalars)],
				share.matrices
			)
		);

	const begin = adafactor ? { adafactor, relative, warmup_init: settings.warmupInit } : { plain: true };
	await commands.add({ shader: 'optimizer_begin', conditions: begin }, [], { quads: 0, first: 0, count: 0 }, [1, 1, 1]);
	await tile({ squares: true, lines: true, scaled, total: scaled }, 'gradients', 'sums', ...(scaled ? (['values'] as const) : []));
	await lines(false);
	await whole({ mean: true, scaled }, true, scaled);
	await tile({ norm: true, total: true }, 'gradients', 'means', 'sums', 'scalars');
	await whole({ clip: true }, false, true);
	if (adafactor) {
		await tile({ apply: true, momentum: hasMomentum }, 'values', 'gradients', 'means', 'scalars', ...(hasMomentum ? (['momentum'] as const) : []));
		return;
	}
	await tile({ residual: true, lines: true }, 'gradients', 'means', 'sums', 'scalars', 'momentum');
	await lines(true);
	await whole({ residual: true }, true, false);
	await tile({ apply: true }, 'values', 'means', 'scalars', 'momentum');
}
