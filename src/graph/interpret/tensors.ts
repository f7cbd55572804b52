/** What the interpreter's operations see: the contents of values, and the scalars of this run. */
import type { Scale, Value } from '../ir';
import { elementsOf, GraphError, show } from '../shape';

export class Tensors {
	readonly data = new Map<Value, Float64Array>();

	constructor(private readonly scalars: Readonly<Record<string, number>>) {}

	get(value: Value): Float64Array {
		const data = this.data.get(value);
		if (!data) throw new GraphError(`${show(value)} is read before anything was written to it.`);
		return data;
	}

	/** Fresh zeros for a value that an operation writes. */
	make(value: Value): Float64Array {
		const data = new Float64Array(elementsOf(value.shape));
		this.data.set(value, data);
		return data;
	}

	scale(scale: Scale | undefined): number {
		if (!scale) return 1;
		if (!scale.scalar) return scale.factor;
		const scalar = this.scalars[scale.scalar.name];
		if (scalar === undefined) throw new GraphError(`The scalar '${scale.scalar.name}' was not given.`);
		return scale.factor * scalar;
	}
}
