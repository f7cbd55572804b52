/**
 * Makes a graph shorter without changing what it computes: drops what no output needs, computes equal things once, and folds additions,
 * scales and upsampling into the gemms around them (the rules are in `fuse/rules.ts`). Outputs keep their values, so a map of gradients stays
 * valid. Run it before `recompute`: computing equal things once would undo that.
 */
import { Rewriter } from './fuse/rewriter';
import { RULES } from './fuse/rules';
import { checkGemm } from './gemm-shape';
import type { Graph, Op, Value } from './ir';
import { mapValues, readsOf, writesOf } from './operands';

export interface FuseOptions {
	/**
	 * Terms a gemm may get by fusion; more than the kernel can bind at once would only come apart again. 2 fits into WebGPU's guaranteed
	 * 8 storage bindings (two per term, result, bias, row bias, residual). What the builder wrote is never split.
	 */
	readonly maxTerms?: number;
}

/** Drops operations none of whose results reach an output, and values nobody mentions any more (inputs, constants and parameters stay). */
export function removeDead(graph: Graph): Graph {
	const needed = new Set(graph.outputs);
	const ops: Op[] = [];
	for (const op of graph.ops.toReversed()) {
		if (!writesOf(op).some((value) => needed.has(value))) continue;
		ops.push(op);
		for (const value of readsOf(op)) needed.add(value);
	}
	ops.reverse();
	const mentioned = new Set([...graph.outputs, ...ops.flatMap((op) => [...readsOf(op), ...writesOf(op)])]);
	return { ...graph, ops, values: graph.values.filter((value) => value.kind !== 'intermediate' || mentioned.has(value)) };
}

/** What an operation computes, as text: equal text means equal results. */
function signature(op: Op): string {
	const written = new Set(writesOf(op));
	const named = mapValues(op, (value) => (written.has(value) ? { ...value, id: -1, name: '' } : value));
	return JSON.stringify(named, (_key, content: unknown) => {
		if (typeof content !== 'object' || content === null || !('dtype' in content) || !('id' in content)) return content;
		return content.id === -1 && 'shape' in content ? [content.shape, content.dtype] : content.id;
	});
}

/** Equal operations on equal values are done once (the SiLU of the time embedding, read by every block). */
export function shareCommon(graph: Graph): Graph {
	const outputs = new Set(graph.outputs);
	const first = new Map<string, Op>();
	const instead = new Map<Value, Value>();
	const ops: Op[] = [];
	for (const original of graph.ops) {
		const op = mapValues(original, (value) => instead.get(value) ?? value);
		const key = signature(op);
		const known = first.get(key);
		const results = writesOf(op);
		if (known && !results.some((value) => outputs.has(value))) {
			writesOf(known).forEach((value, i) => instead.set(results[i] as Value, value));
			continue;
		}
		if (!known) first.set(key, op);
		ops.push(op);
	}
	return { ...graph, ops };
}

export function fuse(graph: Graph, options: FuseOptions = {}): Graph {
	const shared = removeDead(shareCommon(removeDead(graph)));
	const ops = new Rewriter(shared, options.maxTerms ?? 2).run(RULES);
	for (const op of ops) if (op.type === 'gemm') checkGemm(op);
	return removeDead({ ...shared, ops });
}
