/**
 * A graph over the weights as a store really keeps them: matrices in int8 become values of that type, so that kernels read them so. The graph itself is built
 * without knowing, since nothing but the right side of a gemm may be in int8.
 */
import type { Graph, Op, Value } from '../graph/ir';
import { mapValues, readsOf } from '../graph/operands';
import { GraphError, show } from '../graph/shape';
import type { StoredTensor } from './weights';

/** The same graph where nothing is in int8. @throws GraphError when a matrix in int8 is read by anything that cannot */
export function asStored(graph: Graph, weights: { get(name: string): Pick<StoredTensor, 'dtype'> | undefined }): Graph {
	const twins = new Map<Value, Value>();
	for (const value of graph.values) {
		if (value.kind === 'constant' && weights.get(value.name)?.dtype === 'i8') twins.set(value, { ...value, dtype: 'i8' });
	}
	if (twins.size === 0) return graph;
	const rename = (value: Value): Value => twins.get(value) ?? value;
	const ops = graph.ops.map((op) => {
		for (const value of readsOf(op))
			if (twins.has(value) && !multiplies(op, value)) throw new GraphError(`${show(value)} is kept in int8, and '${op.type}' cannot read that.`);
		return mapValues(op, rename);
	});
	return { ...graph, ops, values: graph.values.map(rename) };
}

function multiplies(op: Op, value: Value): boolean {
	if (op.type !== 'gemm' || op.bias === value || op.rowBias === value || op.residual === value) return false;
	return op.terms.every((term) => term.a !== value && (term.b !== value || term.bMode.kind !== 'convPatches'));
}
