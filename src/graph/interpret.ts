/**
 * The reference: runs a graph in float64 on the CPU, one operation after the other, ignoring how values are stored. Kernels are tested
 * against it, and it is tested against finite differences. Slow and plain on purpose, yet quick enough for the whole mini UNet.
 */
import * as attention from './interpret/attention';
import * as diffusion from './interpret/diffusion';
import { gemm } from './interpret/gemm';
import * as norm from './interpret/norm';
import * as pointwise from './interpret/pointwise';
import * as strips from './interpret/strips';
import { Tensors } from './interpret/tensors';
import type { Graph, Op, OpType, Value } from './ir';
import { writesOf } from './operands';
import { elementsOf, GraphError, show } from './shape';

/** Contents of inputs, constants and parameters, by value or by name. */
export type Feeds = ReadonlyMap<Value | string, ArrayLike<number>>;

type Runners = { readonly [T in OpType]: (op: Extract<Op, { type: T }>, tensors: Tensors) => void };

const RUNNERS: Runners = { gemm, ...norm, ...attention, ...pointwise, ...diffusion, ...strips };

function runOp<T extends OpType>(op: Extract<Op, { type: T }>, tensors: Tensors): void {
	const run = RUNNERS[op.type];
	run(op, tensors);
}

function feed(graph: Graph, feeds: Feeds, tensors: Tensors): void {
	for (const value of graph.values) {
		if (value.kind === 'intermediate') continue;
		const data = feeds.get(value) ?? feeds.get(value.name);
		if (!data) continue;
		if (data.length !== elementsOf(value.shape)) throw new GraphError(`${show(value)} was fed ${data.length} numbers.`);
		tensors.data.set(value, Float64Array.from(data));
	}
}

/**
 * @param feeds Numbers for everything the operations read that no operation writes.
 * @param scalars Values of the named scalars.
 * @returns The contents of every value, fed ones included.
 * @throws GraphError when something read was never fed, or has the wrong length.
 */
export function interpret(graph: Graph, feeds: Feeds, scalars: Readonly<Record<string, number>> = {}): Map<Value, Float64Array> {
	const tensors = new Tensors(scalars);
	feed(graph, feeds, tensors);
	for (const op of graph.ops) {
		for (const value of writesOf(op)) {
			if (tensors.data.has(value)) throw new GraphError(`${show(value)} is written twice.`);
		}
		runOp(op, tensors);
	}
	return tensors.data;
}
