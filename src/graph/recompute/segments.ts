/**
 * Cuts the forward part of a graph into segments and says, for each, what recomputing it would save and cost.
 *
 * Cuts lie where few bytes cross from one operation to later forward operations: between residual and transformer blocks, where a single
 * picture (and the waiting skip connections) goes on. Values that cross are kept; so are outputs, and noise and what is made of it directly.
 * What remains inside a segment and is read by the backward part may be computed again there, on two levels:
 * - cheap: only norms, activations and moves (their operands are kept);
 * - full: everything, from the segment's own inputs.
 */
import { flopsOf } from '../cost';
import type { Graph, Op, OpType, Value } from '../ir';
import { readsOf, writesOf } from '../operands';
import { bytesOf } from '../shape';

export type Level = 0 | 1 | 2;

export interface Segment {
	/** Forward operations [start, end). */
	readonly start: number;
	readonly end: number;
}

/** One step of saving memory: recompute this segment on this level. */
export interface Candidate {
	readonly segment: number;
	readonly level: 1 | 2;
	/** Bytes saved per extra floating-point operation. */
	readonly worth: number;
}

const NEVER: ReadonlySet<OpType> = new Set<OpType>(['gaussian', 'noised', 'sinusoid', 'loss', 'lossGrad']);
const EXPENSIVE: ReadonlySet<OpType> = new Set<OpType>(['gemm', 'attention']);

export function mayRecompute(op: Op, level: Level): boolean {
	return level > 0 && !NEVER.has(op.type) && (level === 2 || !EXPENSIVE.has(op.type));
}

/** Operations before the backward part begins; all of them when there is none. */
export function forwardLength(graph: Graph): number {
	const at = graph.ops.findIndex((op) => op.type === 'lossGrad');
	return at < 0 ? graph.ops.length : at;
}

/** Bytes that cross position p, written before it and read by forward operations at or after it. */
function crossingBytes(ops: readonly Op[]): Float64Array {
	const last = new Map<Value, number>();
	ops.forEach((op, index) => readsOf(op).forEach((value) => last.set(value, index)));
	const change = new Float64Array(ops.length + 2);
	ops.forEach((op, index) => {
		for (const value of writesOf(op)) {
			const end = last.get(value);
			if (end === undefined) continue;
			change[index + 1] = (change[index + 1] as number) + bytesOf(value);
			change[end + 1] = (change[end + 1] as number) - bytesOf(value);
		}
	});
	let live = 0;
	return change.map((delta) => (live += delta));
}

/** Segments between local minima of what crosses, `merge` of them at a time. */
export function segmentsOf(graph: Graph, merge: number): Segment[] {
	const ops = graph.ops.slice(0, forwardLength(graph));
	const crossing = crossingBytes(ops);
	const cuts: number[] = [];
	for (let p = 1; p < ops.length; p++) {
		const here = crossing[p] as number;
		if (here <= (crossing[p - 1] as number) && here < (crossing[p + 1] as number)) cuts.push(p);
	}
	const starts = [0, ...cuts.filter((_, i) => (i + 1) % merge === 0)];
	return starts.map((start, i) => ({ start, end: starts[i + 1] ?? ops.length }));
}

/** Values that stay whatever is recomputed: read by forward operations of another segment, outputs, or made together with such. */
export function keptValues(graph: Graph, segments: readonly Segment[]): Set<Value> {
	const home = new Map<Value, number>();
	segments.forEach(({ start, end }, index) => graph.ops.slice(start, end).forEach((op) => writesOf(op).forEach((value) => home.set(value, index))));
	const kept = new Set(graph.outputs);
	segments.forEach(({ start, end }, index) => {
		for (const op of graph.ops.slice(start, end)) for (const value of readsOf(op)) if (home.get(value) !== index) kept.add(value);
	});
	for (const op of graph.ops) if (writesOf(op).some((value) => kept.has(value))) writesOf(op).forEach((value) => kept.add(value));
	return kept;
}

/** Bytes no longer kept for the backward part, and the operations done again for it. */
function effect(graph: Graph, segment: Segment, level: 1 | 2, kept: ReadonlySet<Value>, saved: ReadonlySet<Value>): { bytes: number; flops: number } {
	const again = new Map<Value, Op>();
	for (const op of graph.ops.slice(segment.start, segment.end)) {
		const results = writesOf(op);
		if (mayRecompute(op, level) && !results.some((value) => kept.has(value))) results.forEach((value) => again.set(value, op));
	}
	const done = new Set<Op>();
	const redo = (value: Value): void => {
		const op = again.get(value);
		if (!op || done.has(op)) return;
		done.add(op);
		readsOf(op).forEach(redo);
	};
	let bytes = 0;
	for (const value of again.keys()) {
		if (!saved.has(value)) continue;
		bytes += bytesOf(value);
		redo(value);
	}
	return { bytes, flops: [...done].reduce((sum, op) => sum + flopsOf(op), 0) };
}

/** Everything that could be done, best first. A segment's cheap level always comes before its full one. */
export function candidatesOf(graph: Graph, segments: readonly Segment[], kept: ReadonlySet<Value>): Candidate[] {
	const saved = new Set(graph.ops.slice(forwardLength(graph)).flatMap(readsOf));
	const candidates = segments.flatMap((segment, index): Candidate[] => {
		const cheap = effect(graph, segment, 1, kept, saved);
		const full = effect(graph, segment, 2, kept, saved);
		const worthCheap = cheap.bytes / (cheap.flops + 1);
		const worthFull = Math.min(worthCheap || Infinity, (full.bytes - cheap.bytes) / (full.flops - cheap.flops + 1));
		return [
			...(cheap.bytes > 0 ? [{ segment: index, level: 1 as const, worth: worthCheap }] : []),
			...(full.bytes > cheap.bytes ? [{ segment: index, level: 2 as const, worth: worthFull }] : [])
		];
	});
	return candidates.sort((a, b) => b.worth - a.worth || a.level - b.level || a.segment - b.segment);
}
