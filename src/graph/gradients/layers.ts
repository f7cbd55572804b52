/** Reverse rules of the operations that have a gradient operation of their own. Norm weights are frozen. */
import type { AttentionOp, GegluOp, GeluOp, GroupNormOp, LayerNormOp, LossOp, SiluOp, Value } from '../ir';
import { GraphError, show } from '../shape';
import type { GradientContext } from './context';

export function groupNorm(op: GroupNormOp, dy: Value, context: GradientContext): void {
	const { x, gamma, beta, stats, groups, silu } = op;
	context.refuse(gamma, 'norm weights are frozen');
	context.refuse(beta, 'norm weights are frozen');
	const out = context.fresh(x);
	context.emitter.push({ type: 'groupNormGrad', dy, x, gamma, beta, stats, groups, silu, out });
	context.give(x, out);
}

export function layerNorm(op: LayerNormOp, dy: Value, context: GradientContext): void {
	const { x, gamma, beta, stats } = op;
	context.refuse(gamma, 'norm weights are frozen');
	context.refuse(beta, 'norm weights are frozen');
	const out = context.fresh(x);
	context.emitter.push({ type: 'layerNormGrad', dy, x, gamma, stats, out });
	context.give(x, out);
}

export function attention(op: AttentionOp, dy: Value, context: GradientContext): void {
	const { q, k, v, out: o, lse, heads, scale, causal } = op;
	const [dq, dk, dv] = [context.fresh(q), context.fresh(k), context.fresh(v)];
	context.emitter.push({ type: 'attentionGrad', q, k, v, o, lse, dout: dy, heads, scale, ...(causal ? { causal } : {}), dq, dk, dv });
	if (context.wants(q)) context.give(q, dq);
	if (context.wants(k)) context.give(k, dk);
	if (context.wants(v)) context.give(v, dv);
}

export function geglu(op: GegluOp, dy: Value, context: GradientContext): void {
	const out = context.fresh(op.x);
	context.emitter.push({ type: 'gegluGrad', x: op.x, dy, out });
	context.give(op.x, out);
}

export function gelu(op: GeluOp, dy: Value, context: GradientContext): void {
	const out = context.fresh(op.x);
	context.emitter.push({ type: 'geluGrad', x: op.x, dy, out });
	context.give(op.x, out);
}

export function silu(op: SiluOp, dy: Value, context: GradientContext): void {
	const out = context.fresh(op.x);
	context.emitter.push({ type: 'siluGrad', x: op.x, dy, out });
	context.give(op.x, out);
}

/** The start of the reverse pass: the loss scale and the mean over the batch come in here. */
export function lossGradient(op: LossOp, context: GradientContext): void {
	const { kind, pred, target, weight, mask } = op;
	context.refuse(target, 'the target of a loss is held fixed; list it in `stop`');
	if (!context.wants(pred)) throw new GraphError(`No parameter that is asked for takes part in the prediction ${show(pred)}.`);
	const out = context.fresh(pred);
	context.emitter.push({ type: 'lossGrad', kind, pred, target, weight, ...(mask ? { mask } : {}), scale: context.lossScale, out });
	context.give(pred, out);
}
