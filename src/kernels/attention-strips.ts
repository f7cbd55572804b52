/**
 * Attention on subgroup matrices for heads of up to 80 channels, 32 rows a subgroup: `shaders/attention_strips.wesl` forward, `shaders/attention_pairs.wesl`, where two
 * subgroups share their rows, for the gradients.
 *
 * Rule: every matrix is a variable of its own in these kernels, so a head's number of matrices is a set of conditions. Four subgroups were as fast as two or faster
 * on every size of `bench/attention.ts`.
 */
import type { AttentionKind } from './attention-matrix';
import type { Target } from './dispatch';

export const STRIP_COLUMNS = 32;
export const STRIP_SUBGROUPS = 4;
const WIDEST_QUADS = 20;

/** Rows of a workgroup. */
export const stripRows = (kind: AttentionKind): number => (kind === 'forward' ? 32 : 16) * STRIP_SUBGROUPS;

/** Bytes of workgroup memory; `quads` of a head. */
export function stripBytes(kind: AttentionKind, quads: number): number {
	const tile = STRIP_COLUMNS * (Math.ceil(quads / 4) * 32 + 16);
	const scores = stripRows(kind) * (STRIP_COLUMNS / 4 + 1) * 16;
	if (kind === 'forward') return 2 * tile + scores + 16;
	return 4 * tile + 2 * scores + (kind === 'grad_columns' ? 4 * STRIP_COLUMNS * 4 : 0);
}

/** Whether this machine and this head (in quads) can use them. */
export function stripsFit(kind: AttentionKind, quads: number, target: Target): boolean {
	const fits = 32 * STRIP_SUBGROUPS <= target.maxWorkgroupInvocations && stripBytes(kind, quads) <= target.maxWorkgroupStorage;
	return quads % 2 === 0 && quads <= WIDEST_QUADS && fits;
}

/** The conditions k2, k3, …: a head has at least that many matrices of 16 channels. */
export const matricesOf = (quads: number): Record<string, boolean> => Object.fromEntries([2, 3, 4, 5].map((k) => [`k${k}`, Math.ceil(quads / 4) >= k]));
