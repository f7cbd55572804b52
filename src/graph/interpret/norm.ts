/**
 * GroupNorm and LayerNorm with their gradients in float64. Both are the same rule over a set S of n numbers that share mean and variance:
 * with x̂ = (x − mean)/std and g = dy·gamma, dx = (g − mean_S(g) − x̂·mean_S(g·x̂)) / std.
 */
import type { GroupNormGradOp, GroupNormOp, LayerNormGradOp, LayerNormOp, Value } from '../ir';
import { batchOf, channelsOf, rowsOf, rowsPerItem } from '../shape';
import { sigmoid } from './pointwise';
import type { Tensors } from './tensors';

/** One set that is normalised together: `rows` stretches of `width` numbers, `stride` apart; `channel` is the first one's channel. */
interface Stretch {
	readonly start: number;
	readonly rows: number;
	readonly stride: number;
	readonly width: number;
	readonly channel: number;
}

function groupsOf(x: Value, groups: number): Stretch[] {
	const channels = channelsOf(x);
	const rows = rowsPerItem(x);
	const width = channels / groups;
	return Array.from({ length: batchOf(x) * groups }, (_, i) => {
		const channel = (i % groups) * width;
		return { start: Math.floor(i / groups) * rows * channels + channel, rows, stride: channels, width, channel };
	});
}

function rowsAsStretches(x: Value): Stretch[] {
	const width = channelsOf(x);
	return Array.from({ length: rowsOf(x) }, (_, row) => ({ start: row * width, rows: 1, stride: width, width, channel: 0 }));
}

/** Visits the set's numbers as (index into x, channel). */
function visit(set: Stretch, each: (index: number, channel: number) => void): void {
	for (let row = 0; row < set.rows; row++) {
		for (let i = 0; i < set.width; i++) each(set.start + row * set.stride + i, set.channel + i);
	}
}

function normalise(sets: readonly Stretch[], op: GroupNormOp | LayerNormOp, silu: boolean, tensors: Tensors): void {
	const x = tensors.get(op.x);
	const gamma = tensors.get(op.gamma);
	const beta = tensors.get(op.beta);
	const out = tensors.make(op.out);
	const stats = tensors.make(op.stats);
	sets.forEach((set, s) => {
		const count = set.rows * set.width;
		let mean = 0;
		visit(set, (i) => (mean += (x[i] as number) / count));
		let variance = 0;
		visit(set, (i) => (variance += ((x[i] as number) - mean) ** 2 / count));
		const inverse = 1 / Math.sqrt(variance + op.eps);
		stats[2 * s] = mean;
		stats[2 * s + 1] = inverse;
		visit(set, (i, channel) => {
			const y = ((x[i] as number) - mean) * inverse * (gamma[channel] as number) + (beta[channel] as number);
			out[i] = silu ? y * sigmoid(y) : y;
		});
	});
}

function normaliseGrad(sets: readonly Stretch[], op: GroupNormGradOp | LayerNormGradOp, beta: Float64Array | undefined, tensors: Tensors): void {
	const x = tensors.get(op.x);
	const dy = tensors.get(op.dy);
	const gamma = tensors.get(op.gamma);
	const stats = tensors.get(op.stats);
	const out = tensors.make(op.out);
	const residual = op.residual && tensors.get(op.residual);
	const g = new Float64Array(x.length);
	sets.forEach((set, s) => {
		const count = set.rows * set.width;
		const mean = stats[2 * s] as number;
		const inverse = stats[2 * s + 1] as number;
		let meanG = 0;
		let meanGx = 0;
		visit(set, (i, channel) => {
			const hat = ((x[i] as number) - mean) * inverse;
			let upstream = dy[i] as number;
			if (beta) {
				const y = hat * (gamma[channel] as number) + (beta[channel] as number);
				const gate = sigmoid(y);
				upstream *= gate * (1 + y * (1 - gate));
			}
			const value = upstream * (gamma[channel] as number);
			g[i] = value;
			meanG += value / count;
			meanGx += (value * hat) / count;
		});
		visit(set, (i) => (out[i] = ((g[i] as number) - meanG - ((x[i] as number) - mean) * inverse * meanGx) * inverse + (residual?.[i] ?? 0)));
	});
}

export function groupNorm(op: GroupNormOp, tensors: Tensors): void {
	normalise(groupsOf(op.x, op.groups), op, op.silu, tensors);
}

export function groupNormGrad(op: GroupNormGradOp, tensors: Tensors): void {
	normaliseGrad(groupsOf(op.x, op.groups), op, op.silu ? tensors.get(op.beta) : undefined, tensors);
}

export function layerNorm(op: LayerNormOp, tensors: Tensors): void {
	normalise(rowsAsStretches(op.x), op, false, tensors);
}

export function layerNormGrad(op: LayerNormGradOp, tensors: Tensors): void {
	normaliseGrad(rowsAsStretches(op.x), op, undefined, tensors);
}
