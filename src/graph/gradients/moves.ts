/** Reverse rules of operations that add, multiply, scale or move numbers: their gradients are operations of the same kind. */
import type { AddOp, CastOp, ConcatOp, MultiplyOp, ScaleOp, SliceOp, Upsample2xOp, Value } from '../ir';
import { channelsOf } from '../shape';
import type { GradientContext } from './context';

export function add(op: AddOp, dy: Value, context: GradientContext): void {
	if (context.wants(op.a)) context.give(op.a, dy);
	if (context.wants(op.b)) context.give(op.b, dy);
}

/** da = dy ∘ b, db = dy ∘ a. */
export function multiply(op: MultiplyOp, dy: Value, context: GradientContext): void {
	for (const [one, other] of [
		[op.a, op.b],
		[op.b, op.a]
	] as const) {
		if (!context.wants(one)) continue;
		const out = context.fresh(one);
		context.emitter.push({ type: 'multiply', a: dy, b: other, out });
		context.give(one, out);
	}
}

export function scale(op: ScaleOp, dy: Value, context: GradientContext): void {
	const out = context.fresh(op.x);
	context.emitter.push({ type: 'scale', x: dy, scale: op.scale, out });
	context.give(op.x, out);
}

export function cast(op: CastOp, dy: Value, context: GradientContext): void {
	const out = context.fresh(op.x);
	context.emitter.push({ type: 'cast', x: dy, out });
	context.give(op.x, out);
}

export function concat(op: ConcatOp, dy: Value, context: GradientContext): void {
	let start = 0;
	for (const part of op.parts) {
		if (context.wants(part)) {
			const out = context.fresh(part);
			context.emitter.push({ type: 'slice', x: dy, start, out });
			context.give(part, out);
		}
		start += channelsOf(part);
	}
}

export function slice(op: SliceOp, dy: Value, context: GradientContext): void {
	context.giveChannels(op.x, op.start, dy);
}

export function upsample2x(op: Upsample2xOp, dy: Value, context: GradientContext): void {
	const out = context.fresh(op.x);
	context.emitter.push({ type: 'sumPool2x2', x: dy, out });
	context.give(op.x, out);
}
