/**
 * The state of a fusion pass: operations in order, who makes a value, and how often it is read. A rule looks at one operation and either
 * returns the operation to put in its place, having absorbed operations before it, or nothing. Operations only ever move later, to
 * the place of the one that absorbs them, where all they read is still there (values are never overwritten), so the order stays valid.
 */
import type { Graph, Op, Value } from '../ir';
import { readsOf, writesOf } from '../operands';

export type Rule = (op: Op, rewriter: Rewriter) => Op | undefined;

export class Rewriter {
	private readonly ops: (Op | undefined)[];
	private readonly makers = new Map<Value, number>();
	private readonly uses = new Map<Value, number>();
	private readonly outputs: ReadonlySet<Value>;

	constructor(
		graph: Graph,
		/** Terms a fused gemm may have. */
		readonly maxTerms: number
	) {
		this.ops = [...graph.ops];
		this.outputs = new Set(graph.outputs);
		this.ops.forEach((op, index) => op && this.enter(op, index));
	}

	/** The operation that makes a value, whoever else reads it. */
	maker(value: Value): Op | undefined {
		const index = this.makers.get(value);
		return index === undefined ? undefined : this.ops[index];
	}

	/** The operation that makes a value which nobody else needs: it can be absorbed by its only reader. */
	onlyFor(value: Value): Op | undefined {
		return this.uses.get(value) === 1 && !this.outputs.has(value) ? this.maker(value) : undefined;
	}

	/** Position of the operation that makes a value; -1 for what is there from the start. */
	position(value: Value): number {
		return this.makers.get(value) ?? -1;
	}

	/** Applies the first rule that fits to every operation, in order, until none does. Returns what is left. */
	run(rules: readonly Rule[]): Op[] {
		for (let index = 0; index < this.ops.length; index++) {
			for (let op = this.ops[index]; op;) {
				const before = op;
				const after: Op | undefined = rules.reduce<Op | undefined>((found, rule) => found ?? rule(before, this), undefined);
				if (!after) break;
				this.replace(before, after, index);
				op = after;
			}
		}
		return this.ops.filter((op) => op !== undefined);
	}

	private enter(op: Op, index: number): void {
		for (const value of writesOf(op)) this.makers.set(value, index);
		for (const value of readsOf(op)) this.uses.set(value, (this.uses.get(value) ?? 0) + 1);
	}

	private leave(op: Op): void {
		for (const value of writesOf(op)) this.makers.delete(value);
		for (const value of readsOf(op)) this.uses.set(value, (this.uses.get(value) ?? 0) - 1);
	}

	/** Puts `after` in place of `before`; makers of values that lost their only reader disappear. */
	private replace(before: Op, after: Op, index: number): void {
		this.leave(before);
		this.ops[index] = after;
		this.enter(after, index);
		for (const value of readsOf(before)) this.dropIfUnread(value);
	}

	private dropIfUnread(value: Value): void {
		const index = this.makers.get(value);
		const op = index === undefined ? undefined : this.ops[index];
		if (index === undefined || !op) return;
		if (writesOf(op).some((written) => (this.uses.get(written) ?? 0) > 0 || this.outputs.has(written))) return;
		this.leave(op);
		this.ops[index] = undefined;
		for (const read of readsOf(op)) this.dropIfUnread(read);
	}
}
