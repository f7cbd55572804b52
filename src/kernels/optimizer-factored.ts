/**
 * Commands of Adafactor and CAME, which keep squares as running means of rows and columns: shaders/factored_*.wesl, in the order given in factored_common.wesl.
 *
 * Every factor counts as the matrix it is used as, `[rank, inputs]`, `[rank, 9 · inputs]` or `[outputs, rank]`. The libraries would factor a convolution's `[rank, inputs, 3, 3]` over its
 * 3×3 windows, with 6 means for 9 numbers, and a 1×1 convolution's not at all.
 */
import type { OptimizerSettings } from '../recipe/optimizers';
import { factoredTables, MATRIX_WORDS, SCALARS_BYTES, TILE } from './factored-tables';
import type { Share, Span } from './factored-tables';
import { targetOf } from './lower';
import { flatWorkgroups } from './lowering';
import { reads, writes } from './optimizer-commands';
import type { Bound, Commands, Kernel } from './optimizer-commands';
import { lineCount } from './optimizer-state';

export type FactoredSettings = Extract<OptimizerSettings, { kind: 'adafactor' | 'came' }>;

export async function addFactored(commands: Commands, settings: FactoredSettings): Promise<void> {
	const { factors } = commands;
	const tables = factoredTables(commands.ranges);
	const matrices = await commands.scratch('matrices', tables.matrices.byteLength, tables.matrices);
	const tiles = await commands.scratch('tiles', tables.tiles.byteLength, tables.tiles);
	const blocks = await commands.scratch('lines', tables.blocks.byteLength, tables.blocks);
	const sums = await commands.scratch('partial sums', tables.sums * 4);
	const scalars = await commands.scratch('scalars', (tables.matrices.length / MATRIX_WORDS) * SCALARS_BYTES);
	const means = factors.stateBuffer('lines');
	const adafactor = settings.kind === 'adafactor';
	const [scaled, relative] = adafactor ? [settings.scaleParameter, settings.relativeStep] : [false, false];
	const hasMomentum = !adafactor || settings.beta1 > 0;
	const residuals = lineCount(factors.layout);

	const run = (kernel: Kernel, bound: (Bound | undefined)[], { first, count }: Span, rateFactor = 1): Promise<void> =>
		commands.add(kernel, bound, { quads: residuals, first, count, rateFactor }, flatWorkgroups(count, 1, targetOf(commands.gpu)));
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
			return run(
				{ shader: 'factored_tile', conditions: { adafactor, came: !adafactor, ...conditions }, constants: { CAPACITY: TILE.capacity } },
				bound,
				span,
				range.rateFactor
			);
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
				share.matrices,
				share.range.rateFactor
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
