/**
 * Writes ONNX models: nodes, initializers, inputs and outputs, serialised as a ModelProto.
 * Values are their names; every node has one or more outputs named after it. Opset 20, no external data (so at most 2 GiB).
 * Source: onnx.proto (field numbers below are its own) and the operator documentation of ONNX.
 */
import { assemble, floatField, intField, messageField, stringField, type Later, type Message } from './protobuf';

/** TensorProto.DataType */
const ELEMENT = { f32: 1, i64: 7, f16: 10 } as const;
export type ElementType = keyof typeof ELEMENT;

/** A size, or a name for a size known only at run time. */
export type Dimension = number | string;

export type Attribute = number | string | readonly number[] | { readonly float: number };

const IR_VERSION = 9;
const OPSET = 20;

export class OnnxModel {
	readonly #nodes: Message[] = [];
	readonly #initializers: Message[] = [];
	readonly #inputs: Message[] = [];
	readonly #outputs: Message[] = [];
	readonly #names = new Set<string>();

	input(name: string, type: ElementType, shape: readonly Dimension[]): string {
		this.#inputs.push(messageField(11, valueInfo(this.#unique(name), type, shape)));
		return name;
	}

	/** Declares that a value is a result, under the name it has. */
	output(value: string, type: ElementType, shape: readonly Dimension[]): void {
		this.#outputs.push(messageField(12, valueInfo(value, type, shape)));
	}

	/** A constant; `data` may be promised for later. Little-endian raw numbers. */
	initializer(name: string, type: ElementType, shape: readonly number[], data: Uint8Array | Later): string {
		const head = [...shape.flatMap((size) => intField(1, size)), ...intField(2, ELEMENT[type]), ...stringField(8, this.#unique(name))];
		this.#initializers.push(messageField(5, [...head, ...messageField(9, [data])]));
		return name;
	}

	/** A small constant of floats. */
	floats(name: string, shape: readonly number[], values: readonly number[]): string {
		return this.initializer(this.#free(name), 'f32', shape, new Uint8Array(Float32Array.from(values).buffer));
	}

	/** A small constant of whole numbers, e.g. a shape. */
	ints(name: string, values: readonly number[]): string {
		return this.initializer(this.#free(name), 'i64', [values.length], new Uint8Array(BigInt64Array.from(values, BigInt).buffer));
	}

	/** A node with one output. @returns the output's name */
	node(type: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}, name: string = type): string {
		return this.nodes(type, inputs, 1, attributes, name)[0] ?? '';
	}

	/** A node with several outputs. */
	nodes(type: string, inputs: readonly string[], outputs: number, attributes: Readonly<Record<string, Attribute>> = {}, name: string = type): string[] {
		const names = Array.from({ length: outputs }, () => this.#unique(this.#free(name)));
		const fields = [
			...inputs.flatMap((input) => stringField(1, input)),
			...names.flatMap((output) => stringField(2, output)),
			...stringField(4, type),
			...Object.entries(attributes).flatMap(([key, value]) => messageField(5, attribute(key, value)))
		];
		this.#nodes.push(messageField(1, fields));
		return names;
	}

	/** The serialised model. @throws what reading a promised initializer throws */
	encode(): Promise<Uint8Array> {
		const graph = [...this.#nodes.flat(), ...stringField(2, 'graph'), ...this.#initializers.flat(), ...this.#inputs.flat(), ...this.#outputs.flat()];
		return assemble([
			...intField(1, IR_VERSION),
			...stringField(2, 'utsushi'),
			...messageField(7, graph),
			...messageField(8, [...stringField(1, ''), ...intField(2, OPSET)])
		]);
	}

	#free(name: string): string {
		let free = name;
		for (let n = 1; this.#names.has(free); n++) free = `${name}.${n}`;
		return free;
	}

	#unique(name: string): string {
		if (this.#names.has(name)) throw new RangeError(`The name ${name} is taken`);
		this.#names.add(name);
		return name;
	}
}

function valueInfo(name: string, type: ElementType, shape: readonly Dimension[]): Message {
	const dimensions = shape.flatMap((size) => messageField(1, typeof size === 'number' ? intField(1, size) : stringField(2, size)));
	const tensor = [...intField(1, ELEMENT[type]), ...messageField(2, dimensions)];
	return [...stringField(1, name), ...messageField(2, messageField(1, tensor))];
}

/** AttributeProto; whole numbers are ints, `{ float }` is a float. */
function attribute(name: string, value: Attribute): Message {
	const head = stringField(1, name);
	if (typeof value === 'number') return [...head, ...intField(3, value), ...intField(20, 2)];
	if (typeof value === 'string') return [...head, ...stringField(4, value), ...intField(20, 3)];
	if ('float' in value) return [...head, ...floatField(2, value.float), ...intField(20, 1)];
	return [...head, ...value.flatMap((item) => intField(8, item)), ...intField(20, 7)];
}
