/**
 * Pictures in strips of rows (`graph/strips.ts`): statistics over strips, windows of rows, patches for a convolution of stride 2, and softmax along long rows. Everything is f32, forward only.
 * The table is not part of `lower.ts`: only what needs strips loads it (`lowerStrips`).
 */
import type { MomentsOp, Op, PatchesOp, SoftmaxOp, WindowOp } from '../graph/ir';
import { picture, rowsOf } from '../graph/shape';
import type { Dispatch, Scratch, Target } from './dispatch';
import { lower } from './lower';
import { bytesOf, labelOf, packParams, read, write } from './lowering';
import { flatDispatch, quadColumns, quadsOf } from './pointwise';

const CHUNK_ROWS = 64;

function lowerMoments({ x, skip, groups, before, out }: MomentsOp, target: Target): Dispatch[] {
	const { height, width } = picture(x);
	const columns = quadColumns(x);
	const rows = (height - skip[0] - skip[1]) * width;
	const chunks = Math.ceil(rows / CHUNK_ROWS);
	const group = (4 * columns) / groups;
	const sums: Scratch = { scratch: `${out.name} (chunks)`, elements: chunks * 8 * columns, dtype: 'f32' };
	const label = labelOf('moments', out);
	const lanes = target.software ? 1 : 64;
	return [
		flatDispatch(
			{
				shader: 'strip_moments',
				label,
				conditions: {},
				bindings: [read(x), write(sums)],
				params: packParams(columns * chunks, columns, skip[0] * width, rows, CHUNK_ROWS),
				count: columns * chunks,
				work: 16 * CHUNK_ROWS,
				family: 'norm'
			},
			target
		),
		{
			shader: 'strip_moments_merge',
			conditions: { before: before !== undefined },
			constants: { LANES: lanes },
			bindings: [read(sums), write(out), ...(before ? [read(before)] : [])],
			params: packParams(columns, group, chunks, rows, CHUNK_ROWS),
			workgroups: [groups, 1, 1],
			label,
			family: 'norm',
			flops: 8 * sums.elements,
			bytes: bytesOf(sums)
		}
	];
}

function lowerWindow(op: WindowOp, target: Target): Dispatch[] {
	const { parts, spans, moments, gamma, beta, eps, silu, out } = op;
	const { height, width } = picture(out);
	const columns = quadColumns(out);
	const row = width * columns;
	const label = labelOf('window', out);
	const norm = moments && gamma && beta ? [read(moments), read(gamma), read(beta)] : [];
	const group = moments ? (4 * columns) / rowsOf(moments) : 4;
	const dispatches = spans.map(({ from, to, rows }, i) =>
		flatDispatch(
			{
				shader: 'strip_window',
				label,
				conditions: { norm: norm.length > 0, silu },
				bindings: [read(parts[i] as WindowOp['out']), write(out), ...norm],
				params: packParams(rows * row, from * row, to * row, columns, group, { f32: eps }),
				count: rows * row,
				work: norm.length > 0 ? 24 : 1,
				family: 'norm',
				bytes: 32 * rows * row
			},
			target
		)
	);
	let covered = 0;
	const blank = (first: number, end: number): void => {
		if (first >= end) return;
		const [quads, conditions] = [(end - first) * row, { blank: true }];
		const params = packParams(quads, 0, first * row, columns, 4, { f32: 0 });
		dispatches.push(
			flatDispatch(
				{ shader: 'strip_window', label, conditions, bindings: [write(out)], params, count: quads, work: 0, family: 'norm', bytes: 16 * quads },
				target
			)
		);
	};
	for (const { to, rows } of spans.toSorted((a, b) => a.to - b.to)) {
		blank(covered, to);
		covered = to + rows;
	}
	blank(covered, height);
	return dispatches;
}

function lowerPatches({ x, out }: PatchesOp, target: Target): Dispatch[] {
	const quads = quadsOf(out);
	return [
		flatDispatch(
			{
				shader: 'strip_patches',
				label: labelOf('patches', out),
				conditions: {},
				bindings: [read(x), write(out)],
				params: packParams(quads, quadColumns(x), picture(x).width),
				count: quads,
				work: 1
			},
			target
		)
	];
}

function lowerSoftmax({ x, valid, out }: SoftmaxOp, target: Target): Dispatch[] {
	const rows = rowsOf(x);
	const y = Math.ceil(rows / target.maxWorkgroupsPerDimension);
	const quads = quadsOf(x);
	return [
		{
			shader: 'softmax',
			conditions: {},
			constants: { LANES: target.software ? 1 : Math.min(128, target.maxWorkgroupInvocations) },
			bindings: [read(x), write(out)],
			params: packParams(rows, quadColumns(x), valid),
			workgroups: [Math.ceil(rows / y), y, 1],
			label: labelOf('softmax', out),
			family: 'attention',
			flops: 80 * quads,
			bytes: 64 * quads
		}
	];
}

/** `lower`, and what strips need beside it. */
export function lowerStrips(op: Op, target: Target): Dispatch[] {
	switch (op.type) {
		case 'moments':
			return lowerMoments(op, target);
		case 'window':
			return lowerWindow(op, target);
		case 'patches':
			return lowerPatches(op, target);
		case 'softmax':
			return lowerSoftmax(op, target);
		default:
			return lower(op, target);
	}
}
