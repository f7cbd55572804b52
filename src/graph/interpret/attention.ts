/**
 * Softmax attention and its gradient in float64, per (batch, head), one query row at a time.
 * Gradient (FlashAttention, Dao et al. 2022, §B): with P = exp(S − lse) and D_i = Σ dout_i·o_i,
 * dv = Pᵀ·dout, dS = P∘(dout·vᵀ − D)·scale, dq = dS·k, dk = dSᵀ·q. Causal: keys after the query are left out, as if their scores were −∞.
 */
import type { AttentionGradOp, AttentionOp } from '../ir';
import { batchOf, channelsOf, rowsPerItem } from '../shape';
import type { Tensors } from './tensors';

function dot(a: Float64Array, atA: number, b: Float64Array, atB: number, length: number): number {
	let sum = 0;
	for (let i = 0; i < length; i++) sum += (a[atA + i] as number) * (b[atB + i] as number);
	return sum;
}

/** y[at …] += factor·x[from …] */
function accumulate(y: Float64Array, at: number, factor: number, x: Float64Array, from: number, length: number): void {
	for (let i = 0; i < length; i++) y[at + i] = (y[at + i] as number) + factor * (x[from + i] as number);
}

/** Calls back for every query row: where it starts, where its head's keys start, its place in lse, and how many keys it sees. */
function eachQuery(op: AttentionOp | AttentionGradOp, visit: (query: number, keys: number, row: number, seen: number) => void): void {
	const channels = channelsOf(op.q);
	const queries = rowsPerItem(op.q);
	const keys = rowsPerItem(op.k);
	const width = channels / op.heads;
	for (let b = 0; b < batchOf(op.q); b++) {
		for (let head = 0; head < op.heads; head++) {
			for (let i = 0; i < queries; i++) {
				visit((b * queries + i) * channels + head * width, b * keys * channels + head * width, (b * op.heads + head) * queries + i, op.causal ? i + 1 : keys);
			}
		}
	}
}

export function attention(op: AttentionOp, tensors: Tensors): void {
	const [q, k, v] = [tensors.get(op.q), tensors.get(op.k), tensors.get(op.v)];
	const out = tensors.make(op.out);
	const lse = tensors.make(op.lse);
	const channels = channelsOf(op.q);
	const width = channels / op.heads;
	const scores = new Float64Array(rowsPerItem(op.k));
	eachQuery(op, (query, keys, row, count) => {
		let max = -Infinity;
		for (let j = 0; j < count; j++) {
			const score = dot(q, query, k, keys + j * channels, width) * op.scale;
			scores[j] = score;
			max = Math.max(max, score);
		}
		let sum = 0;
		for (let j = 0; j < count; j++) sum += Math.exp((scores[j] as number) - max);
		const total = max + Math.log(sum);
		lse[row] = total;
		for (let j = 0; j < count; j++) accumulate(out, query, Math.exp((scores[j] as number) - total), v, keys + j * channels, width);
	});
}

export function attentionGrad(op: AttentionGradOp, tensors: Tensors): void {
	const [q, k, v, o] = [tensors.get(op.q), tensors.get(op.k), tensors.get(op.v), tensors.get(op.o)];
	const lse = tensors.get(op.lse);
	const dout = tensors.get(op.dout);
	const [dq, dk, dv] = [tensors.make(op.dq), tensors.make(op.dk), tensors.make(op.dv)];
	const channels = channelsOf(op.q);
	const width = channels / op.heads;
	eachQuery(op, (query, keys, row, count) => {
		const delta = dot(dout, query, o, query, width);
		for (let j = 0; j < count; j++) {
			const key = keys + j * channels;
			const p = Math.exp(dot(q, query, k, key, width) * op.scale - (lse[row] as number));
			const ds = p * (dot(dout, query, v, key, width) - delta) * op.scale;
			accumulate(dv, key, p, dout, query, width);
			accumulate(dq, query, ds, k, key, width);
			accumulate(dk, key, ds, q, query, width);
		}
	});
}
