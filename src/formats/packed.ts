/**
 * Any value made of plain objects, arrays, texts, numbers and typed arrays as one safetensors file: the typed arrays become tensors, the rest is JSON in the
 * metadata, with `{"$tensor": n}` where an array stood. What comes back is equal bit by bit, also NaN, infinities and -0, which JSON does not know.
 * `undefined` members are left out.
 */
import { FormatError } from './error';
import { openSafetensors } from './safetensors';
import type { TensorType } from './safetensors';
import { writeSafetensors } from './safetensors-writer';
import type { TensorData } from './safetensors-writer';
import type { ByteSource } from './source';

type Packable = Float32Array | Float64Array | Uint8Array | Uint8ClampedArray | Int8Array | Int32Array | Uint32Array | Uint16Array;

/** Unsigned types travel as the signed type of their size; the name says what they were. */
const KINDS: Readonly<Record<string, { dtype: TensorType; view: (bytes: ArrayBuffer) => Packable }>> = {
	Float32Array: { dtype: 'F32', view: (bytes) => new Float32Array(bytes) },
	Float64Array: { dtype: 'F64', view: (bytes) => new Float64Array(bytes) },
	Uint8Array: { dtype: 'U8', view: (bytes) => new Uint8Array(bytes) },
	Uint8ClampedArray: { dtype: 'U8', view: (bytes) => new Uint8ClampedArray(bytes) },
	Int8Array: { dtype: 'I8', view: (bytes) => new Int8Array(bytes) },
	Int32Array: { dtype: 'I32', view: (bytes) => new Int32Array(bytes) },
	Uint32Array: { dtype: 'I32', view: (bytes) => new Uint32Array(bytes) },
	Uint16Array: { dtype: 'I16', view: (bytes) => new Uint16Array(bytes) }
};

const KEY = 'packed';

export function packValue(value: unknown): Uint8Array {
	const tensors: TensorData[] = [];
	const plain = (node: unknown): unknown => {
		if (typeof node === 'number') return Number.isFinite(node) && !Object.is(node, -0) ? node : { $number: Object.is(node, -0) ? '-0' : String(node) };
		if (ArrayBuffer.isView(node)) {
			const kind = node.constructor.name;
			const known = KINDS[kind];
			if (!known) throw new TypeError(`A ${kind} cannot be packed.`);
			const name = String(tensors.length);
			tensors.push({ name, dtype: known.dtype, shape: [(node as Packable).length], data: node });
			return { $tensor: name, kind };
		}
		if (Array.isArray(node)) return node.map(plain);
		if (typeof node === 'object' && node !== null) return Object.fromEntries(Object.entries(node).map(([key, item]) => [key, plain(item)]));
		return node;
	};
	const json = JSON.stringify(plain(value));
	return writeSafetensors(tensors, { [KEY]: json });
}

/** @throws FormatError when the file is none of ours or damaged */
export async function unpackValue(source: ByteSource): Promise<unknown> {
	const file = await openSafetensors(source);
	const damaged = (): FormatError => new FormatError('header-json', KEY, 'The packed value cannot be read', 'The file is damaged.');
	const text = file.metadata[KEY];
	if (text === undefined) throw damaged();
	const fill = async (node: unknown): Promise<unknown> => {
		if (Array.isArray(node)) return Promise.all(node.map(fill));
		if (typeof node !== 'object' || node === null) return node;
		const record = node as Record<string, unknown>;
		if (typeof record['$number'] === 'string') return Number(record['$number']);
		if (typeof record['$tensor'] === 'string') {
			const kind = typeof record['kind'] === 'string' && Object.hasOwn(KINDS, record['kind']) ? KINDS[record['kind']] : undefined;
			if (!kind) throw damaged();
			// A copy of its own: aligned, and nothing else lives in its buffer.
			return kind.view((await file.readBytes(record['$tensor'])).slice().buffer);
		}
		const entries = await Promise.all(Object.entries(record).map(async ([key, item]) => [key, await fill(item)] as const));
		return Object.fromEntries(entries);
	};
	try {
		return await fill(JSON.parse(text));
	} catch (cause) {
		throw cause instanceof SyntaxError ? damaged() : cause;
	}
}
