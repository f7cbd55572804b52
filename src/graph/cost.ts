/**
 * What an operation costs: floating-point operations (a multiply-add counts as two) and its family. Matrix products and attention are
 * counted exactly; the rest by a small number of operations per element, which is enough to see that they are not what takes time.
 */
import type { GemmOp, Graph, Op, Value } from './ir';
import { writesOf } from './operands';
import { batchOf, channelsOf, elementsOf, rowsPerItem } from './shape';

export type Family = 'gemm' | 'conv' | 'norm' | 'attention' | 'pointwise' | 'noise' | 'loss';

/** Operations per element of the (largest) operand. */
const NORM = 8;
const NORM_GRADIENT = 16;
const GELU = 16;
const SILU = 6;
const GAUSSIAN = 120;

function isConv(op: GemmOp): boolean {
	return op.terms.some(({ aMode, bMode }) => aMode.kind === 'conv' || aMode.kind === 'convTransposed' || bMode.kind === 'convPatches');
}

export function familyOf(op: Op): Family {
	switch (op.type) {
		case 'gemm':
			return isConv(op) ? 'conv' : 'gemm';
		case 'groupNorm':
		case 'groupNormGrad':
		case 'layerNorm':
		case 'layerNormGrad':
		case 'moments':
		case 'window':
			return 'norm';
		case 'attention':
		case 'attentionGrad':
		case 'softmax':
			return 'attention';
		case 'gaussian':
		case 'noised':
			return 'noise';
		case 'loss':
		case 'lossGrad':
			return 'loss';
		default:
			return 'pointwise';
	}
}

/** B·Nq·Nk·C: one product of all queries with all keys. */
function scores(q: Value, k: Value): number {
	return batchOf(q) * rowsPerItem(q) * rowsPerItem(k) * channelsOf(q);
}

export function flopsOf(op: Op): number {
	switch (op.type) {
		case 'gemm':
			return 2 * op.m * op.n * op.terms.reduce((sum, term) => sum + term.k, 0);
		case 'attention':
			return 4 * scores(op.q, op.k);
		case 'attentionGrad':
			return 10 * scores(op.q, op.k);
		case 'groupNorm':
		case 'layerNorm':
		case 'moments':
			return NORM * elementsOf(op.x.shape);
		case 'groupNormGrad':
		case 'layerNormGrad':
			return NORM_GRADIENT * elementsOf(op.x.shape);
		case 'geglu':
		case 'gegluGrad':
		case 'gelu':
		case 'geluGrad':
			return GELU * elementsOf(op.x.shape);
		case 'silu':
		case 'siluGrad':
			return SILU * elementsOf(op.x.shape);
		case 'gaussian':
			return GAUSSIAN * elementsOf(op.out.shape);
		case 'concat':
		case 'slice':
		case 'upsample2x':
		case 'cast':
		case 'patches':
			return 0;
		case 'window':
			return op.moments ? NORM * elementsOf(op.out.shape) : 0;
		case 'softmax':
			return GELU * elementsOf(op.out.shape);
		case 'loss':
		case 'lossGrad':
			return 3 * elementsOf(op.pred.shape);
		default:
			return writesOf(op).reduce((sum, value) => sum + elementsOf(value.shape), 0);
	}
}

export function totalFlops(graph: Graph): number {
	return graph.ops.reduce((sum, op) => sum + flopsOf(op), 0);
}
