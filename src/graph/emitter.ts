/**
 * The append-only list behind every graph that is being made: fresh values with unique ids and names, operations in execution order.
 * The builder, `differentiate` and `recompute` all write through it; `gemm` is checked here, whoever makes it.
 */
import type { DType, GemmOp, Graph, Op, ScalarRef, Value, ValueKind } from './ir';
import { checkGemm } from './gemm-shape';
import { GraphError } from './shape';

/** The step's uniform block holds sixteen vec4f. */
export const MAX_SCALARS = 64;

export class Emitter {
	readonly values: Value[];
	readonly ops: Op[];
	readonly scalars: ScalarRef[];
	readonly outputs: Value[];
	private nextId: number;
	private readonly names: Set<string>;

	/** @param from Continue this graph (its lists are copied, its values shared). */
	constructor(from?: Graph) {
		this.values = [...(from?.values ?? [])];
		this.ops = [...(from?.ops ?? [])];
		this.scalars = [...(from?.scalars ?? [])];
		this.outputs = [...(from?.outputs ?? [])];
		this.nextId = this.values.reduce((max, value) => Math.max(max, value.id + 1), 0);
		this.names = new Set(this.values.map((value) => value.name));
	}

	/** A fresh value. A name that is taken gets a number, except for values the host looks up by name: there it is an error. */
	value(name: string, shape: readonly number[], dtype: DType, kind: ValueKind = 'intermediate'): Value {
		if (shape.some((size) => !Number.isInteger(size) || size < 1)) throw new GraphError(`'${name}' cannot have the shape [${shape.join(', ')}].`);
		const id = this.nextId++;
		let unique = name;
		if (this.names.has(name)) {
			if (kind !== 'intermediate') throw new GraphError(`There already is a value named '${name}'.`);
			unique = `${name}#${id}`;
		}
		this.names.add(unique);
		const value: Value = { id, name: unique, shape: [...shape], dtype, kind };
		this.values.push(value);
		return value;
	}

	/** The scalar of this name; the same one every time. */
	scalar(name: string): ScalarRef {
		const known = this.scalars.find((scalar) => scalar.name === name);
		if (known) return known;
		if (this.scalars.length >= MAX_SCALARS) throw new GraphError(`A step has room for ${MAX_SCALARS} scalars; '${name}' is one too many.`);
		const scalar: ScalarRef = { name, index: this.scalars.length };
		this.scalars.push(scalar);
		return scalar;
	}

	push(op: Op): void {
		if (op.type === 'gemm') checkGemm(op);
		this.ops.push(op);
	}

	gemm(op: Omit<GemmOp, 'type'>): Value {
		this.push({ type: 'gemm', ...op });
		return op.out;
	}

	graph(outputs: readonly Value[]): Graph {
		return { values: [...this.values], ops: [...this.ops], scalars: [...this.scalars], outputs: [...outputs] };
	}
}
