/**
 * Writes safetensors byte for byte as the reference library does: tensors by dtype (widest first), then by name;
 * header `__metadata__` first, padded with spaces so that the data starts at a multiple of 8.
 */
import { DTYPES, type TensorType } from './safetensors';

export interface TensorData {
	readonly name: string;
	readonly dtype: TensorType;
	readonly shape: readonly number[];
	/** Little-endian numbers of that type: a typed array or raw bytes. */
	readonly data: ArrayBufferView;
}

/**
 * @param metadata written in the given order
 * @throws RangeError when the bytes of a tensor do not fit its shape, or a name occurs twice
 */
export function writeSafetensors(tensors: Iterable<TensorData>, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
	const order = [...tensors].sort((a, b) => rank(b.dtype) - rank(a.dtype) || compareUtf8(a.name, b.name));
	const header: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
	if (Object.keys(metadata).length) header['__metadata__'] = metadata;
	let size = 0;
	for (const { name, dtype, shape, data } of order) {
		if (name in header) throw new RangeError(`Tensor ${name} is given twice`);
		const expected = shape.reduce((product, n) => product * n, DTYPES[dtype]);
		if (data.byteLength !== expected) throw new RangeError(`Tensor ${name} has ${data.byteLength} bytes, its shape needs ${expected}`);
		header[name] = { dtype, shape, data_offsets: [size, size + expected] };
		size += expected;
	}
	const json = new TextEncoder().encode(JSON.stringify(header));
	const headerLength = Math.ceil(json.length / 8) * 8;
	const file = new Uint8Array(8 + headerLength + size);
	new DataView(file.buffer).setBigUint64(0, BigInt(headerLength), true);
	file.fill(0x20, 8, 8 + headerLength);
	file.set(json, 8);
	let at = 8 + headerLength;
	for (const { data } of order) {
		file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
		at += data.byteLength;
	}
	return file;
}

function rank(dtype: TensorType): number {
	return Object.keys(DTYPES).indexOf(dtype);
}

/** Order of the UTF-8 bytes, which is the order of code points (UTF-16 order differs above U+FFFF). */
function compareUtf8(a: string, b: string): number {
	const left = Array.from(a);
	const right = Array.from(b);
	for (let i = 0; i < Math.min(left.length, right.length); i++) {
		const difference = (left[i]?.codePointAt(0) ?? 0) - (right[i]?.codePointAt(0) ?? 0);
		if (difference) return difference;
	}
	return left.length - right.length;
}
