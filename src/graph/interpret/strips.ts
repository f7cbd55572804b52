/** Pictures in strips of rows, and softmax along rows, in float64. */
import type { MomentsOp, PatchesOp, SoftmaxOp, WindowOp } from '../ir';
import { channelsOf, picture, rowsOf } from '../shape';
import { sigmoid } from './pointwise';
import type { Tensors } from './tensors';

export function moments(op: MomentsOp, tensors: Tensors): void {
	const x = tensors.get(op.x);
	const before = op.before && tensors.get(op.before);
	const out = tensors.make(op.out);
	const { height, width, channels } = picture(op.x);
	const group = channels / op.groups;
	const [first, end] = [op.skip[0] * width * channels, (height - op.skip[1]) * width * channels];
	for (let g = 0; g < op.groups; g++) {
		const inGroup = (i: number): boolean => Math.floor((i % channels) / group) === g;
		let [sum, count] = [0, 0];
		for (let i = first; i < end; i++) {
			if (!inGroup(i)) continue;
			sum += x[i] as number;
			count++;
		}
		const mean = sum / count;
		let squares = 0;
		for (let i = first; i < end; i++) if (inGroup(i)) squares += ((x[i] as number) - mean) ** 2;
		const [m, s, n] = before ? [before[4 * g] as number, before[4 * g + 1] as number, before[4 * g + 2] as number] : [0, 0, 0];
		const total = n + count;
		out[4 * g] = (n * m + count * mean) / total;
		out[4 * g + 1] = s + squares + ((n * count) / total) * (mean - m) ** 2;
		out[4 * g + 2] = total;
	}
}

export function window(op: WindowOp, tensors: Tensors): void {
	const out = tensors.make(op.out);
	const { width, channels } = picture(op.out);
	const [statistics, gamma, beta] = [op.moments, op.gamma, op.beta].map((value) => value && tensors.get(value));
	const group = statistics ? channels / (statistics.length / 4) : 1;
	const row = width * channels;
	op.spans.forEach(({ from, to, rows }, part) => {
		const x = tensors.get(op.parts[part] as WindowOp['out']);
		for (let i = 0; i < rows * row; i++) {
			let y = x[from * row + i] as number;
			const c = i % channels;
			if (statistics && gamma && beta) {
				const at = 4 * Math.floor(c / group);
				const [mean, squares, count] = [statistics[at] as number, statistics[at + 1] as number, statistics[at + 2] as number];
				y = ((y - mean) / Math.sqrt(squares / count + op.eps)) * (gamma[c] as number) + (beta[c] as number);
			}
			out[to * row + i] = op.silu ? y * sigmoid(y) : y;
		}
	});
}

export function patches(op: PatchesOp, tensors: Tensors): void {
	const x = tensors.get(op.x);
	const out = tensors.make(op.out);
	const { width, channels } = picture(op.x);
	const columns = channelsOf(op.out);
	const outWidth = width / 2;
	for (let i = 0; i < out.length; i++) {
		const [pixel, column] = [Math.floor(i / columns), i % columns];
		const [tap, c] = [Math.floor(column / channels), column % channels];
		const h = 2 * Math.floor(pixel / outWidth) + Math.floor(tap / 3);
		const w = 2 * (pixel % outWidth) + (tap % 3);
		if (w < width) out[i] = x[(h * width + w) * channels + c] as number;
	}
}

export function softmax(op: SoftmaxOp, tensors: Tensors): void {
	const x = tensors.get(op.x);
	const out = tensors.make(op.out);
	const columns = channelsOf(op.x);
	for (let row = 0; row < rowsOf(op.x); row++) {
		const start = row * columns;
		const seen = x.subarray(start, start + op.valid);
		const max = seen.reduce((most, value) => Math.max(most, value), -Infinity);
		const sum = seen.reduce((total, value) => total + Math.exp(value - max), 0);
		seen.forEach((value, i) => (out[start + i] = Math.exp(value - max) / sum));
	}
}
