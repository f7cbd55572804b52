/**
 * Whether the tall kernel of attention (`shaders/attention_tall.wesl`) fits a machine and a head, and how it stages.
 *
 * Rule: numbers stored as halves only; rows are staged as halves, which changes nothing for them, columns in f32 where that fits, because they are read more often than
 * converted. Steps of 64 columns forward where they fit, of 32 for gradients, which need two of everything. Measured with `bench/attention.ts`.
 */
import type { AttentionKind } from './attention-matrix';
import type { Target } from './dispatch';

export const TALL_ROWS = 64;
const SIDE = 64;
const WIDEST = 16;
const NARROW = 8;

export interface TallShape {
	/** Columns of a step: 64 only forward. */
	readonly columns: 32 | 64;
	readonly columnsHalf: boolean;
	readonly rowsHalf: boolean;
}

const sidesOf = (kind: AttentionKind): number => (kind === 'forward' ? 1 : 2);

export function tallConstants(kind: AttentionKind, quads: number, { columns }: TallShape): Record<string, number> {
	return { D4: quads, COLUMNS: columns, SIDES: sidesOf(kind), SLOTS: kind === 'grad_columns' ? 2 : 1 };
}

export const tallNarrow = (quads: number): boolean => quads <= NARROW;

export function tallBytes(kind: AttentionKind, quads: number, { columns, columnsHalf, rowsHalf }: TallShape): number {
	const staged = sidesOf(kind) * (tallNarrow(quads) ? NARROW : WIDEST) * (TALL_ROWS * (rowsHalf ? 8 : 16) + columns * (columnsHalf ? 8 : 16));
	return staged + (kind === 'grad_columns' ? 2 : 1) * TALL_ROWS * columns * 4;
}

/** For heads of up to 64 channels. */
export function tallFits(kind: AttentionKind, quads: number, shape: TallShape, target: Target): boolean {
	const threads = sidesOf(kind) * SIDE;
	const fits = tallBytes(kind, quads, shape) <= target.maxWorkgroupStorage && threads <= target.maxWorkgroupInvocations;
	return !target.software && quads <= WIDEST && (kind === 'forward' || shape.columns === 32) && fits;
}

const FORWARD: readonly TallShape[] = [
	{ columns: 64, rowsHalf: true, columnsHalf: false },
	{ columns: 64, rowsHalf: true, columnsHalf: true },
	{ columns: 32, rowsHalf: true, columnsHalf: true }
];
const GRADIENT: readonly TallShape[] = [
	{ columns: 32, rowsHalf: true, columnsHalf: false },
	{ columns: 32, rowsHalf: true, columnsHalf: true }
];

/** The shape for this machine and head, or nothing where the kernel does not fit. */
export const chooseTall = (kind: AttentionKind, quads: number, target: Target): TallShape | undefined =>
	(kind === 'forward' ? FORWARD : GRADIENT).find((shape) => tallFits(kind, quads, shape, target));
