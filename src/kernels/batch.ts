/**
 * Which products share a dispatch. A training step has thousands of small ones (two skinny products and two gradients for each module of a LoRA), and queries, keys and values of a layer come in
 * threes: of one shape, and ready at one time. Each dispatch costs recording and a barrier, and small products alone leave most of a GPU idle.
 *
 * Rules
 * - A product joins the first one like it that may still grow, if all it reads is there by then: it moves to an earlier place, where what it writes is kept longer and nothing else. Small results may
 *   move far, larger ones a few operations.
 * - Gradients of parameters live outside of the memory plan and nothing in the step waits for them. They move to a later place instead, until enough are alike; what they read is kept that long,
 *   so there is a limit to how much may wait, and how long.
 * - Alike means the same kernel, the same sizes and the same scale; each product has the bits it would have alone with the same tile and slices.
 * - Software adapters take one after the other: a dispatch costs little beside its arithmetic there, and every number of products is one more kernel to compile.
 */
import type { GemmOp, Op, Value } from '../graph/ir';
import { readsOf, writesOf } from '../graph/operands';
import type { Dispatch, Target } from './dispatch';
import { lowerBatch, MAX_TERMS } from './gemm';
import { lower } from './lower';
import { bytesOf } from './lowering';

/** Results up to this size may wait for their reader. */
const SMALL = 256 << 10;
/** Operations that a larger one may move. */
const NEAR = 8;
/** What gradients that wait may keep in memory, and for how many operations. */
const KEPT = 64 << 20;
const PATIENCE = 160;

type Group = readonly [Op, ...Op[]];

/** What must be equal; undefined for what stays alone. */
function likeness(op: Op): string | undefined {
	if (op.type !== 'gemm' || op.bias || op.rowBias || op.residual || 2 * op.terms.length > MAX_TERMS) return undefined;
	const { m, n, scale, out, terms } = op;
	const parts: (string | number)[] = [m, n, out.dtype, scale?.factor ?? 1, scale?.scalar?.name ?? ''];
	for (const { a, aMode, b, bMode, k, bColumn } of terms) {
		const gathered = aMode.kind === 'conv' || aMode.kind === 'convTransposed' || bMode.kind === 'convWeightTransposed' || bMode.kind === 'convPatches';
		if (gathered) return undefined;
		parts.push(aMode.kind, bMode.kind, k, bColumn ?? 0, a.dtype, b.dtype, a.shape.at(-1) ?? 1, b.shape.at(-1) ?? 1);
	}
	return parts.join(' ');
}

/** What products read beside each other: a matrix that all have in common is bound once if it is the first term's, and no other may come twice. */
function bindable(ops: readonly GemmOp[], target: Target): boolean {
	const terms = ops.flatMap((op) => op.terms);
	if (terms.length > MAX_TERMS) return false;
	const [a, b] = [terms.map((term) => term.a), terms.map((term) => term.b)];
	const bound = [a[0], ...a.filter((value) => value !== a[0]), b[0], ...b.filter((value) => value !== b[0])];
	return new Set(bound).size === bound.length && bound.length + ops.length <= target.maxStorageBuffers;
}

/** Products of one kind, still open for more. */
interface Open {
	readonly ops: [GemmOp, ...GemmOp[]];
	/** Place of the first operation, in the list and among the groups. */
	readonly at: number;
	readonly place: number;
}

/** Gradients that wait for others like them. */
class Waiting {
	readonly #open = new Map<string, Open>();

	constructor(
		readonly target: Target,
		readonly leave: (ops: Group) => void
	) {}

	add(like: string, op: GemmOp, at: number): void {
		const open = this.#open.get(like);
		if (open && bindable([...open.ops, op], this.target)) open.ops.push(op);
		else {
			if (open) this.#end(like, open);
			this.#open.set(like, { ops: [op], at, place: 0 });
		}
		const grown = this.#open.get(like);
		if (grown && grown.ops.length === MAX_TERMS) this.#end(like, grown);
	}

	/** Lets go of those that have waited long, and of the oldest while they keep too much. */
	patience(at: number): void {
		for (const [like, open] of this.#open) if (at - open.at > PATIENCE || this.#kept() > KEPT) this.#end(like, open);
	}

	end(): void {
		for (const [like, open] of this.#open) this.#end(like, open);
	}

	#kept(): number {
		const values = new Set([...this.#open.values()].flatMap(({ ops }) => ops.flatMap(readsOf)).filter(({ kind }) => kind === 'intermediate'));
		return [...values].reduce((sum, value) => sum + bytesOf(value), 0);
	}

	#end(like: string, open: Open): void {
		this.#open.delete(like);
		this.leave(open.ops);
	}
}

/** Operations in order, those that share dispatches together. */
export function groupOps(ops: readonly Op[], target: Target, external: ReadonlySet<Value>): readonly Group[] {
	const groups: Group[] = [];
	if (target.software) return ops.map((op) => [op]);
	const read = new Set(ops.flatMap(readsOf));
	const waiting = new Waiting(target, (group) => groups.push(group));
	const open = new Map<string, Open>();
	/** Number of the group that writes a value. */
	const written = new Map<Value, number>();
	ops.forEach((op, at) => {
		waiting.patience(at);
		const like = likeness(op);
		if (like === undefined || op.type !== 'gemm') {
			for (const value of writesOf(op)) written.set(value, groups.length);
			groups.push([op]);
			return;
		}
		if (external.has(op.out) && !read.has(op.out)) {
			waiting.add(like, op, at);
			return;
		}
		const known = open.get(like);
		const ready = known && readsOf(op).every((value) => (written.get(value) ?? -1) < known.place);
		if (ready && (at - known.at <= NEAR || bytesOf(op.out) <= SMALL) && bindable([...known.ops, op], target)) {
			known.ops.push(op);
			written.set(op.out, known.place);
			return;
		}
		const own: Open = { ops: [op], at, place: groups.length };
		written.set(op.out, groups.length);
		groups.push(own.ops);
		open.set(like, own);
	});
	waiting.end();
	return groups;
}

export function lowerGroup([first, ...rest]: Group, target: Target): Dispatch[] {
	const others = rest.filter((op) => op.type === 'gemm');
	return first.type === 'gemm' && others.length > 0 ? lowerBatch([first, ...others], target) : lower(first, target);
}

/** All dispatches of a graph, alike products together. `external`: values that live outside of the memory plan. */
export function lowerTogether(ops: readonly Op[], target: Target, external: ReadonlySet<Value>): Dispatch[] {
	return groupOps(ops, target, external).flatMap((group) => lowerGroup(group, target));
}
