/**
 * Attention and its gradients without the token × token matrix (FlashAttention, Dao et al. 2022): one dispatch forward, two backward
 * (dq, which also makes D = rowsum(dO∘O), then dk and dv). Heads are slices of the channel axis, never moved.
 *
 * Rule: only the head's width is baked (a model has at most four); token counts are `params`. Kernels: subgroup matrices where numbers are stored in
 * halves and the device has them (`attention-strips.ts`; `attention-matrix.ts` for wide heads), blocks where workgroup memory holds them (`attention-block.ts`), smaller tiles where not, and one
 * invocation per four rows on software adapters. All shaders share bindings, explained in `attention_fat.wesl`.
 */
import type { AttentionGradOp, AttentionOp, Value } from '../graph/ir';
import { BLOCK_COLUMNS, BLOCK_ROWS, blockSubgroups, chooseBlock } from './attention-block';
import { chooseMatrixTile, rowsOfTile, usesMatrices, type AttentionKind, type MatrixTile } from './attention-matrix';
import { matricesOf, STRIP_COLUMNS, stripRows, STRIP_SUBGROUPS, stripsFit } from './attention-strips';
import { addSlices, chooseSlices, partialOf, type Slices } from './attention-slices';
import type { Binding, Dispatch, Scratch, Slot, Target } from './dispatch';
import { bytesOf, elementsOf, halves, labelOf, packParams, read, write, type Lowerings } from './lowering';
import { quadColumns } from './pointwise';

const FAMILY = 'attention';
const TILE_ROWS = 64;
const TILE_THREADS = 128;
/** Quads that the tile kernel's staging area holds. */
const TILE_QUADS = 480;
const TILE_STORAGE = (480 + 512) * 16;
/** Eight invocations (the width of a software adapter's vectors) of four rows. */
const FAT_WORKGROUP = 8;
const FAT_ROWS = 4 * FAT_WORKGROUP;
/** Heads of more quads than this share one kernel that leaves its loops rolled: unrolled they take minutes to compile. */
const FAT_UNROLLED = 4;
const LONGEST_HEAD = 40;

interface Kernel {
	readonly label: string;
	readonly kind: AttentionKind;
	/** What the shader calls a1, b1, b2, a2, o, out, out2; for their storage types. */
	readonly roles: Readonly<Record<string, Slot>>;
	readonly bindings: readonly Binding[];
	readonly rows: Value;
	readonly columns: Value;
	readonly causal: boolean;
	/** Products of rows × columns × head, two operations each. */
	readonly products: number;
}

const batchOf = (value: Value): number => value.shape[0] ?? 1;
const tokensOf = (value: Value): number => elementsOf(value) / batchOf(value) / (value.shape[value.shape.length - 1] ?? 1);

/** Kernels chosen by a test or measurement: a matrix shape for each, or one kernel for all. */
export type AttentionChoice = 'tile' | 'block' | 'tight block' | Readonly<Partial<Record<AttentionKind, MatrixTile>>>;

/** Whether matrices can do this at all; `quads` of a head. */
function suitsMatrices(kernel: Kernel, quads: number, target: Target, choice: AttentionChoice | undefined): boolean {
	const stored = Object.values(kernel.roles).every(({ dtype }) => dtype === 'f16');
	return typeof choice !== 'string' && !target.software && !kernel.causal && stored && quads % 2 === 0;
}

function dispatchOf(kernel: Kernel, heads: number, scale: number, target: Target, choice: AttentionChoice | undefined): Dispatch[] {
	const stride = quadColumns(kernel.rows);
	const quads = stride / heads;
	if (!Number.isInteger(quads)) throw new Error(`${kernel.label}: ${stride * 4} channels do not divide into ${heads} heads of whole quads.`);
	const batch = batchOf(kernel.rows);
	const rows = tokensOf(kernel.rows);
	const columns = tokensOf(kernel.columns);
	const common = {
		bindings: kernel.bindings,
		label: kernel.label,
		family: FAMILY,
		// An exponential per score counts as ten operations.
		flops: batch * heads * rows * columns * (2 * kernel.products * quads * 4 + 10),
		bytes: kernel.bindings.reduce((sum, { slot }) => sum + bytesOf(slot), 0)
	};
	const suited = suitsMatrices(kernel, quads, target, choice);
	const chosen = typeof choice === 'object' ? choice[kernel.kind] : undefined;
	const matrix = suited ? (chosen ?? chooseMatrixTile(kernel.kind, quads, target)) : undefined;
	const gradient = { grad_rows: kernel.kind === 'grad_rows', grad_columns: kernel.kind === 'grad_columns' };
	if (suited && !chosen && usesMatrices(target) && stripsFit(kernel.kind, quads, target)) {
		const groups = Math.ceil(rows / stripRows(kernel.kind));
		return inSlices(kernel, chooseSlicesOf(kernel, groups * heads * batch, columns, STRIP_COLUMNS), target, (sliced, { columns: slice, count }) => ({
			...common,
			bindings: sliced.bindings,
			shader: kernel.kind === 'forward' ? 'attention_strips' : 'attention_pairs',
			conditions: { ...gradient, ...matricesOf(quads), f16: true, subgroups: true, subgroup_matrix: true, partial: count > 1 },
			constants: { D8: quads / 2, SUBS: STRIP_SUBGROUPS },
			params: packParams(rows, columns, stride / 2, { f32: scale }, slice, count),
			workgroups: [groups, heads, batch * count]
		}));
	}
	if (matrix) {
		const groups = Math.ceil(rows / rowsOfTile(matrix));
		return inSlices(kernel, chooseSlicesOf(kernel, groups * heads * batch, columns, matrix.columns), target, (sliced, { columns: slice, count }) => ({
			...common,
			bindings: sliced.bindings,
			shader: 'attention_matrix',
			conditions: { ...gradient, f16: true, subgroups: true, subgroup_matrix: true, partial: count > 1 },
			constants: { D8: quads / 2, BN: matrix.columns, SUBS: matrix.subgroups, FR: matrix.strips },
			params: packParams(rows, columns, stride / 2, { f32: scale }, slice, count),
			workgroups: [groups, heads, batch * count]
		}));
	}
	const { a1, a2 = a1, b1, b2 } = kernel.roles;
	const isHalf = (...slots: (Slot | undefined)[]): boolean => slots.every((slot) => slot?.dtype === 'f16');
	const needs = { quads, stays: kernel.kind === 'forward' ? (1 as const) : (2 as const), halves: { rowsHalf: isHalf(a1, a2), columnsHalf: isHalf(b1, b2) } };
	const block = choice === 'tile' ? undefined : chooseBlock(needs, target, choice === 'tight block');
	if (block) {
		const groups = Math.ceil(rows / BLOCK_ROWS);
		return inSlices(kernel, chooseSlicesOf(kernel, groups * heads * batch, columns, BLOCK_COLUMNS), target, (sliced, { columns: slice, count }) => ({
			...common,
			bindings: sliced.bindings,
			shader: 'attention_block',
			conditions: {
				...halves(target, sliced.roles),
				...gradient,
				causal: kernel.causal,
				rows_half: block.rowsHalf,
				columns_half: block.columnsHalf,
				subgroups: blockSubgroups(target)
			},
			constants: { D4: quads, ND: Math.ceil(quads / 8) },
			params: packParams(rows, columns, stride, { f32: scale }, quads, 4, slice, count),
			workgroups: [groups, heads, batch * count]
		}));
	}
	const fat = target.software || target.maxWorkgroupStorage < TILE_STORAGE || target.maxWorkgroupInvocations < TILE_THREADS;
	const longHead = fat && quads > FAT_UNROLLED;
	if (quads > LONGEST_HEAD) throw new Error(`${kernel.label}: heads of ${quads * 4} channels; at most ${LONGEST_HEAD * 4} are supported.`);
	const keys = [32, 16, 8].find((count) => count * quads <= TILE_QUADS) ?? 8;
	const height = fat ? FAT_ROWS : TILE_ROWS;
	return [
		{
			...common,
			shader: fat ? 'attention_fat' : 'attention_tile',
			conditions: { ...halves(target, kernel.roles), ...gradient, causal: kernel.causal, long_head: longHead },
			constants: fat ? { D4: longHead ? LONGEST_HEAD : quads, WORKGROUP: FAT_WORKGROUP } : { D4: quads, ND: Math.ceil(quads / 8), KEYS: keys },
			params: packParams(rows, columns, stride, { f32: scale }, quads, 4, keys),
			workgroups: [Math.ceil(rows / height), heads, batch]
		}
	];
}

/** Only what is summed over the columns in the end, keys' and values' gradients, is cut. */
const chooseSlicesOf = (kernel: Kernel, groups: number, columns: number, step: number): Slices =>
	chooseSlices(kernel.kind === 'grad_columns' ? groups : Infinity, columns, step);

/** The kernel itself, or with more than one slice a kernel that leaves partial sums and the dispatch that adds them. */
function inSlices(kernel: Kernel, slices: Slices, target: Target, dispatch: (kernel: Kernel, slices: Slices) => Dispatch): Dispatch[] {
	const { out, out2 } = kernel.roles;
	if (slices.count === 1 || !out || !out2 || 'scratch' in out || 'scratch' in out2) return [dispatch(kernel, slices)];
	const [partial, partial2] = [partialOf(out, slices), partialOf(out2, slices)];
	const instead = (slot: Slot): Slot => (slot === out ? partial : slot === out2 ? partial2 : slot);
	const sliced = {
		...kernel,
		roles: { ...kernel.roles, out: partial, out2: partial2 },
		bindings: kernel.bindings.map((binding) => ({ ...binding, slot: instead(binding.slot) }))
	};
	const added = addSlices(
		[
			[partial, out],
			[partial2, out2]
		],
		slices,
		kernel.label,
		FAMILY,
		target
	);
	return [dispatch(sliced, slices), added];
}

/** `choice` is for tests and measurements. */
export function lowerAttention({ q, k, v, heads, scale, causal, out, lse }: AttentionOp, target: Target, choice?: AttentionChoice): Dispatch[] {
	const kernel: Kernel = {
		label: labelOf('attention', out),
		kind: 'forward',
		roles: { a1: q, b1: k, b2: v, out },
		bindings: [read(q), read(k), read(v), write(out), write(lse)],
		rows: q,
		columns: k,
		causal: causal === true,
		products: 2
	};
	return dispatchOf(kernel, heads, scale, target, choice);
}

/** `choice` is for tests and measurements. */
export function lowerAttentionGrad(
	{ q, k, v, o, lse, dout, heads, scale, causal, dq, dk, dv }: AttentionGradOp,
	target: Target,
	choice?: AttentionChoice
): Dispatch[] {
	const delta: Scratch = { scratch: 'attention.delta', elements: elementsOf(lse), dtype: 'f32' };
	const rows: Kernel = {
		label: labelOf('attentionGrad', dq),
		kind: 'grad_rows',
		roles: { a1: q, b1: k, b2: v, a2: dout, o, out: dq },
		bindings: [read(q), read(k), read(v), write(dq), read(lse), read(dout), write(delta), read(o)],
		rows: q,
		columns: k,
		causal: causal === true,
		products: 3
	};
	const columns: Kernel = {
		label: labelOf('attentionGrad', dk),
		kind: 'grad_columns',
		roles: { a1: k, b1: q, b2: dout, a2: v, out: dk, out2: dv },
		bindings: [read(k), read(q), read(dout), write(dk), read(lse), read(v), read(delta), write(dv)],
		rows: k,
		columns: q,
		causal: causal === true,
		products: 4
	};
	return [...dispatchOf(rows, heads, scale, target, choice), ...dispatchOf(columns, heads, scale, target, choice)];
}

export const attention = {
	attention: (op, target) => lowerAttention(op, target),
	attentionGrad: (op, target) => lowerAttentionGrad(op, target)
} satisfies Partial<Lowerings>;
