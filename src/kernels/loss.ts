/** The training loss per item and its gradient; the kinds are baked, everything else is `params`. */
import type { LossGradOp, LossOp } from '../graph/ir';
import type { Dispatch, Target } from './dispatch';
import { bytesOf, elementsOf, halves, labelOf, packParams, read, scaleParams, write, type Lowerings } from './lowering';
import { flatDispatch, quadsOf } from './pointwise';

const kindOf = (kind: LossOp['kind']): Record<string, boolean> => ({ l1: kind === 'l1', smooth_l1: kind === 'smoothL1' });

function lowerLoss({ kind, pred, target: aim, weight, mask, out }: LossOp, target: Target): Dispatch[] {
	const items = elementsOf(weight);
	const elements = elementsOf(pred) / items;
	const bindings = [read(pred), read(aim), read(weight), write(out), ...(mask ? [read(mask)] : [])];
	return [
		{
			shader: 'loss',
			conditions: { ...halves(target, { pred, aim }), ...kindOf(kind), masked: mask !== undefined },
			constants: { LANES: target.software ? 64 : 256 },
			bindings,
			params: packParams(quadsOf(pred) / items, { f32: 1 / elements }),
			workgroups: [items, 1, 1],
			label: labelOf('loss', out),
			family: 'loss',
			flops: 4 * elementsOf(pred),
			bytes: bindings.reduce((sum, { slot }) => sum + bytesOf(slot), 0)
		}
	];
}

function lowerLossGrad({ kind, pred, target: aim, weight, mask, scale, out }: LossGradOp, target: Target): Dispatch[] {
	const quads = quadsOf(pred);
	const [factor, scalar] = scaleParams(scale);
	return [
		flatDispatch(
			{
				shader: 'loss_grad',
				label: labelOf('lossGrad', out),
				conditions: { ...halves(target, { pred, aim, out }), ...kindOf(kind), masked: mask !== undefined },
				bindings: [read(pred), read(aim), read(weight), write(out), ...(mask ? [read(mask)] : [])],
				params: packParams(quads, quads / elementsOf(weight), { f32: factor.f32 / elementsOf(pred) }, scalar),
				count: quads,
				work: 16,
				family: 'loss'
			},
			target
		)
	];
}

export const loss = { loss: lowerLoss, lossGrad: lowerLossGrad } satisfies Partial<Lowerings>;
