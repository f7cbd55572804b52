/**
 * Reverse-mode differentiation over the operation list: walks the forward operations backwards from the loss, hands each one the gradient
 * of its result, and appends what its rule writes. Only what lies between the wanted parameters and the loss is visited: constants
 * never get a gradient, and the time embedding is left alone unless one of its layers is trained.
 *
 * Fuse the forward graph first and the result again: what forward operations share then gets one gradient.
 */
import { GraphBuilder } from './builder';
import { Emitter } from './emitter';
import type { GradientContext } from './gradients/context';
import { gemm } from './gradients/gemm';
import * as layers from './gradients/layers';
import * as moves from './gradients/moves';
import { GradientSums } from './gradients/sums';
import type { Graph, LossOp, Op, Scale, Value } from './ir';
import { readsOf, writesOf } from './operands';
import { GraphError, show } from './shape';

export interface DifferentiateOptions {
	/** The result of a loss operation. */
	readonly loss: Value;
	/** Gradients are of lossScale · mean_b loss[b]. Its scalar is added to the graph's when it is not there yet. */
	readonly lossScale: Scale;
	/** Parameters whose gradients are wanted. */
	readonly wrt: readonly Value[];
	/** Values held fixed: nothing flows back through them (a target made by the network itself). */
	readonly stop?: readonly Value[];
}

export interface Differentiated {
	/** Forward and backward; its outputs are the source's, the loss and the gradients. */
	readonly graph: Graph;
	/** Parameter → its gradient: f32, same shape. */
	readonly gradients: Map<Value, Value>;
}

/** Values through which a wanted parameter can be reached. */
function reachable(ops: readonly Op[], wrt: readonly Value[], stop: ReadonlySet<Value>): Set<Value> {
	const reached = new Set(wrt);
	for (const op of ops) {
		if (!readsOf(op).some((value) => reached.has(value))) continue;
		for (const value of writesOf(op)) if (!stop.has(value)) reached.add(value);
	}
	return reached;
}

/** Calls the rule of one forward operation, with the gradient of its (first) result. */
function applyRule(op: Op, dy: Value, context: GradientContext): void {
	switch (op.type) {
		case 'gemm':
			return gemm(op, dy, context);
		case 'groupNorm':
			return layers.groupNorm(op, dy, context);
		case 'layerNorm':
			return layers.layerNorm(op, dy, context);
		case 'attention':
			return layers.attention(op, dy, context);
		case 'geglu':
			return layers.geglu(op, dy, context);
		case 'gelu':
			return layers.gelu(op, dy, context);
		case 'silu':
			return layers.silu(op, dy, context);
		case 'add':
			return moves.add(op, dy, context);
		case 'multiply':
			return moves.multiply(op, dy, context);
		case 'scale':
			return moves.scale(op, dy, context);
		case 'cast':
			return moves.cast(op, dy, context);
		case 'concat':
			return moves.concat(op, dy, context);
		case 'slice':
			return moves.slice(op, dy, context);
		case 'upsample2x':
			return moves.upsample2x(op, dy, context);
		default:
			throw new GraphError(`A parameter lies behind '${op.type}' ${writesOf(op).map(show).join(', ')}, which has no gradient.`);
	}
}

/** A gradient that only passed through (an add's operand) may be stored in halves or belong to two parameters: then it is copied. */
function own(emitter: Emitter, gradient: Value, fresh: (of: Value) => Value, parameter: Value, taken: Set<Value>): Value {
	if (gradient.dtype === 'f32' && gradient.kind === 'intermediate' && !taken.has(gradient)) {
		taken.add(gradient);
		return gradient;
	}
	const copy = fresh(parameter);
	emitter.push({ type: 'cast', x: gradient, out: copy });
	return copy;
}

/**
 * @returns A graph that ends with the gradients of lossScale · mean loss.
 * @throws GraphError when a wanted parameter does not take part in the loss, or only through something that is frozen.
 */
export function differentiate(source: GraphBuilder | Graph, options: DifferentiateOptions): Differentiated {
	const forward = source instanceof GraphBuilder ? source.finish([]) : source;
	const at = forward.ops.findIndex((op) => op.type === 'loss' && op.out === options.loss);
	if (at < 0) throw new GraphError(`${show(options.loss)} is not the result of a loss.`);
	const emitter = new Emitter(forward);
	const before = forward.ops.slice(0, at);
	const reached = reachable(before, options.wrt, new Set(options.stop));
	const fresh = (of: Value): Value => emitter.value(`d.${of.name}`, of.shape, of.kind === 'parameter' ? 'f32' : of.dtype);
	const sums = new GradientSums(emitter, fresh);
	const { factor, scalar } = options.lossScale;
	const context: GradientContext = {
		emitter,
		lossScale: scalar ? { factor, scalar: emitter.scalar(scalar.name) } : { factor },
		fresh,
		wants: (value) => reached.has(value),
		give: (value, gradient) => sums.add(value, gradient),
		giveChannels: (value, start, gradient) => sums.addChannels(value, start, gradient),
		refuse(value, why) {
			if (reached.has(value)) throw new GraphError(`No gradient can flow into ${show(value)}: ${why}.`);
		}
	};
	layers.lossGradient(forward.ops[at] as LossOp, context);
	for (const op of before.toReversed()) {
		const result = writesOf(op)[0] as Value;
		if (!reached.has(result)) continue;
		const dy = sums.take(result);
		if (dy) applyRule(op, dy, context);
	}
	const gradients = new Map<Value, Value>();
	const taken = new Set<Value>();
	for (const parameter of options.wrt) {
		const gradient = sums.take(parameter);
		if (!gradient) throw new GraphError(`The parameter ${show(parameter)} takes no part in the loss ${show(options.loss)}.`);
		gradients.set(parameter, own(emitter, gradient, fresh, parameter, taken));
	}
	return { graph: emitter.graph([...new Set([...forward.outputs, options.loss, ...gradients.values()])]), gradients };
}
