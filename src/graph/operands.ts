/**
 * What an operation reads and writes, and the same operation over other values. Liveness, fusion, differentiation and recomputation
 * all ask this, so that none of them needs to know every operation.
 */
import type { Op, Value } from './ir';

/** The fields of an operation that hold values it writes; every other field holding a value is read. */
const WRITTEN: ReadonlySet<string> = new Set(['out', 'stats', 'lse', 'dq', 'dk', 'dv']);

/** `stats` and `lse` are results of the forward operation, but inputs of its gradient. */
function isWritten(op: Op, field: string): boolean {
	if (!WRITTEN.has(field)) return false;
	if (op.type === 'groupNormGrad' || op.type === 'layerNormGrad') return field === 'out';
	if (op.type === 'attentionGrad') return field !== 'lse';
	return true;
}

function isValue(candidate: unknown): candidate is Value {
	return typeof candidate === 'object' && candidate !== null && 'kind' in candidate && 'dtype' in candidate && 'shape' in candidate;
}

/** Operations never change, so what they read and write is worked out once: large graphs are walked many times. */
const reads = new WeakMap<Op, readonly Value[]>();
const writes = new WeakMap<Op, readonly Value[]>();

function remember(known: WeakMap<Op, readonly Value[]>, op: Op, find: (op: Op) => readonly Value[]): readonly Value[] {
	const before = known.get(op);
	if (before) return before;
	const found = find(op);
	known.set(op, found);
	return found;
}

function findReads(op: Op): Value[] {
	if (op.type === 'gemm') {
		return [...op.terms.flatMap((term) => [term.a, term.b]), op.bias, op.rowBias, op.residual].filter((value) => value !== undefined);
	}
	if (op.type === 'concat') return [...op.parts];
	if (op.type === 'window') return [...op.parts, op.moments, op.gamma, op.beta].filter((value) => value !== undefined);
	return Object.entries(op).flatMap(([field, value]) => (isValue(value) && !isWritten(op, field) ? [value] : []));
}

function findWrites(op: Op): Value[] {
	return Object.entries(op).flatMap(([field, value]) => (isValue(value) && isWritten(op, field) ? [value] : []));
}

/** Values read, each as often as it is read, in field order. */
export function readsOf(op: Op): readonly Value[] {
	return remember(reads, op, findReads);
}

export function writesOf(op: Op): readonly Value[] {
	return remember(writes, op, findWrites);
}

/** The same operation over other values: each value v becomes `rename(v)`. The operation itself when nothing changes. */
export function mapValues<T extends Op>(op: T, rename: (value: Value) => Value): T {
	if ([...readsOf(op), ...writesOf(op)].every((value) => rename(value) === value)) return op;
	const entries = Object.entries(op).map(([field, content]): [string, unknown] => {
		if (isValue(content)) return [field, rename(content)];
		if (op.type === 'gemm' && field === 'terms') return [field, op.terms.map((term) => ({ ...term, a: rename(term.a), b: rename(term.b) }))];
		if ((op.type === 'concat' || op.type === 'window') && field === 'parts') return [field, op.parts.map(rename)];
		return [field, content];
	});
	return Object.fromEntries(entries) as unknown as T;
}
