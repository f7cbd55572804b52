/** The ends of a training step in float64: time embedding, noise, the noised latent, the loss and its gradient. */
import type { GaussianOp, LossGradOp, LossOp, NoisedOp, SinusoidOp } from '../ir';
import { batchOf, channelsOf, elementsOf, picture } from '../shape';
import { philoxNormal } from './philox';
import type { Tensors } from './tensors';

export function sinusoid(op: SinusoidOp, tensors: Tensors): void {
	const t = tensors.get(op.t);
	const out = tensors.make(op.out);
	const dim = channelsOf(op.out);
	const half = dim / 2;
	t.forEach((step, b) => {
		for (let i = 0; i < half; i++) {
			const angle = step * Math.exp((-Math.log(10000) * i) / half);
			out[b * dim + i] = Math.cos(angle);
			out[b * dim + half + i] = Math.sin(angle);
		}
	});
}

export function gaussian(op: GaussianOp, tensors: Tensors): void {
	const [offset, , low, high] = tensors.get(op.counter);
	const out = tensors.make(op.out);
	const { batch, height, width, channels } = picture(op.out);
	const pixels = height * width;
	for (let b = 0; b < batch; b++) {
		for (let pixel = 0; pixel < pixels; pixel++) {
			for (let c = 0; c < channels; c++) {
				out[(b * pixels + pixel) * channels + c] = philoxNormal((offset as number) + b, c * pixels + pixel, [low as number, high as number]);
			}
		}
	}
}

export function noised(op: NoisedOp, tensors: Tensors): void {
	const x0 = tensors.get(op.x0);
	const noise = tensors.get(op.noise);
	const coef = tensors.get(op.coef);
	const out = tensors.make(op.out);
	const item = out.length / batchOf(op.out);
	for (let i = 0; i < out.length; i++) {
		const b = Math.floor(i / item);
		out[i] = (coef[2 * b] as number) * (x0[i % x0.length] as number) + (coef[2 * b + 1] as number) * (noise[i] as number);
	}
}

/** f and its derivative at d = pred − target. smoothL1 has β = 1. */
const CURVES: Record<LossOp['kind'], { f: (d: number) => number; df: (d: number) => number }> = {
	mse: { f: (d) => d * d, df: (d) => 2 * d },
	l1: { f: (d) => Math.abs(d), df: (d) => Math.sign(d) },
	smoothL1: { f: (d) => (Math.abs(d) < 1 ? 0.5 * d * d : Math.abs(d) - 0.5), df: (d) => (Math.abs(d) < 1 ? d : Math.sign(d)) }
};

export function loss(op: LossOp, tensors: Tensors): void {
	const pred = tensors.get(op.pred);
	const target = tensors.get(op.target);
	const weight = tensors.get(op.weight);
	const out = tensors.make(op.out);
	const mask = op.mask && tensors.get(op.mask);
	const item = pred.length / out.length;
	const { f } = CURVES[op.kind];
	for (let i = 0; i < pred.length; i++) {
		const b = Math.floor(i / item);
		const share = mask?.[i >> 2] ?? 1;
		out[b] = (out[b] as number) + (share * (weight[b] as number) * f((pred[i] as number) - (target[i] as number))) / item;
	}
}

export function lossGrad(op: LossGradOp, tensors: Tensors): void {
	const pred = tensors.get(op.pred);
	const target = tensors.get(op.target);
	const weight = tensors.get(op.weight);
	const out = tensors.make(op.out);
	const mask = op.mask && tensors.get(op.mask);
	const item = elementsOf(op.pred.shape) / batchOf(op.pred);
	const factor = tensors.scale(op.scale) / pred.length;
	const { df } = CURVES[op.kind];
	for (let i = 0; i < pred.length; i++) {
		out[i] = factor * (mask?.[i >> 2] ?? 1) * (weight[Math.floor(i / item)] as number) * df((pred[i] as number) - (target[i] as number));
	}
}
