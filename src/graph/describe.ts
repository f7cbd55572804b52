/** A graph in numbers, for benchmarks and for people: operations by type, work by family, bytes by kind. */
import type { Family } from './cost';
import { familyOf, flopsOf } from './cost';
import type { Graph, OpType, ValueKind } from './ir';
import { planGraph } from './plan-graph';
import { bytesOf } from './shape';

export interface GraphSummary {
	readonly ops: number;
	readonly opsByType: Partial<Record<OpType, number>>;
	readonly flops: number;
	readonly flopsByFamily: Partial<Record<Family, number>>;
	/** Terms of all gemms: how much was fused into them. */
	readonly gemmTerms: number;
	/** Stored bytes of values that operations read or write, by kind; intermediates as if none shared memory. */
	readonly bytesByKind: Record<ValueKind, number>;
	/** Bytes the intermediates need when they share memory, and the most that is live at once. */
	readonly plannedBytes: number;
	readonly liveBytes: number;
}

export function summarize(graph: Graph): GraphSummary {
	const opsByType: Partial<Record<OpType, number>> = {};
	const flopsByFamily: Partial<Record<Family, number>> = {};
	let flops = 0;
	let gemmTerms = 0;
	for (const op of graph.ops) {
		const family = familyOf(op);
		opsByType[op.type] = (opsByType[op.type] ?? 0) + 1;
		flopsByFamily[family] = (flopsByFamily[family] ?? 0) + flopsOf(op);
		flops += flopsOf(op);
		if (op.type === 'gemm') gemmTerms += op.terms.length;
	}
	const bytesByKind: Record<ValueKind, number> = { input: 0, constant: 0, parameter: 0, intermediate: 0 };
	for (const value of graph.values) bytesByKind[value.kind] += bytesOf(value);
	const plan = planGraph(graph);
	return { ops: graph.ops.length, opsByType, flops, flopsByFamily, gemmTerms, bytesByKind, plannedBytes: plan.peakBytes, liveBytes: plan.lowerBound };
}

function sorted<K extends string>(counts: Partial<Record<K, number>>): [string, number][] {
	return (Object.entries(counts) as [string, number][]).sort(([, a], [, b]) => b - a);
}

const mega = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const giga = (flops: number) => `${(flops / 1e9).toFixed(2)} GFLOP`;

/** The summary in a few lines. */
export function describe(graph: Graph): string {
	const summary = summarize(graph);
	const { bytesByKind } = summary;
	return [
		`${summary.ops} operations: ${sorted(summary.opsByType)
			.map(([type, count]) => `${count} ${type}`)
			.join(', ')} (${summary.gemmTerms} gemm terms)`,
		`${giga(summary.flops)}: ${sorted(summary.flopsByFamily)
			.map(([family, flops]) => `${family} ${giga(flops)}`)
			.join(', ')}`,
		`weights ${mega(bytesByKind.constant)}, factors ${mega(bytesByKind.parameter)}, inputs ${mega(bytesByKind.input)}`,
		`intermediates ${mega(bytesByKind.intermediate)}, in ${mega(summary.plannedBytes)} (at least ${mega(summary.liveBytes)})`
	].join('\n');
}
