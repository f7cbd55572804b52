/**
 * Reads safetensors files lazily: the header is checked in full, tensors are sliced out when asked for.
 * Layout: u64 little-endian header length N, N bytes of UTF-8 JSON, data. Every entry of the header is
 * `name: { dtype, shape, data_offsets: [begin, end] }` relative to the data; `__metadata__` maps strings to strings.
 * The rule: the data must be tiled exactly, without hole, overlap or rest, and everything is checked before anything is allocated.
 * Source: the format description of the safetensors library.
 */
import { FormatError } from './error';
import { bfloatsToFloats, float8ToFloats, floatsToHalves, halvesToFloats } from './half';
import { parseJsonStrictly } from './json';
import { notSafetensors } from './sniff';
import { checkRange, type ByteSource } from './source';

/** Bytes per element, in the order in which the safetensors library sorts a file (last comes first). */
export const DTYPES = { BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, I16: 2, F16: 2, BF16: 2, I32: 4, F32: 4, F64: 8, I64: 8 } as const;
export type TensorType = keyof typeof DTYPES;

export interface TensorEntry {
	readonly dtype: TensorType;
	readonly shape: readonly number[];
	/** Absolute byte offset in the file. */
	readonly offset: number;
	/** Bytes. */
	readonly length: number;
}

export interface SafetensorsFile {
	readonly source: ByteSource;
	readonly metadata: Readonly<Record<string, string>>;
	readonly tensors: ReadonlyMap<string, TensorEntry>;
	/** The stored bytes, aligned to 8. @throws FormatError `missing-tensor` */
	readBytes(name: string): Promise<Uint8Array>;
	/** Any number type as floats (64-bit numbers are rounded). @throws FormatError `missing-tensor` */
	readFloat32(name: string): Promise<Float32Array>;
	/** `count` numbers from the `start`-th on, as floats: rows of a table too large to read. @throws FormatError `missing-tensor`, RangeError beyond the end */
	readPart(name: string, start: number, count: number): Promise<Float32Array>;
	/** As half bits, rounded to nearest even where the file has more. @throws FormatError `missing-tensor` */
	readHalf(name: string): Promise<Uint16Array>;
}

/** The library's own limit on headers. */
const MAX_HEADER = 100_000_000;
const AGAIN = 'Download the file again and compare its size or SHA-256 with the page it came from';

/**
 * Opens a safetensors file and checks its header.
 * @throws FormatError for everything that is not a whole, valid safetensors file
 */
export async function openSafetensors(source: ByteSource): Promise<SafetensorsFile> {
	const start = await source.read(0, Math.min(source.size, 512));
	const stranger = notSafetensors(start, source.size);
	if (stranger) throw stranger;
	const headerLength = Number(new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true));
	if (headerLength > MAX_HEADER) {
		throw new FormatError('header-size', 'header length', `The header claims to have ${headerLength} bytes`, `The file is damaged. ${AGAIN}.`);
	}
	if (8 + headerLength > source.size) {
		throw new FormatError('truncated', 'header', `The file ends after ${source.size} bytes, inside its header`, `${AGAIN}.`, { bytes: source.size });
	}
	const header = parseHeader(await source.read(8, headerLength));
	const dataStart = 8 + headerLength;
	const { metadata, tensors } = readEntries(header, dataStart);
	checkTiling(tensors, dataStart, source.size);

	const readBytes = async (name: string): Promise<Uint8Array> => {
		const entry = tensors.get(name);
		if (!entry) throw missing(name);
		return aligned(await source.read(entry.offset, entry.length));
	};
	const typeOf = (name: string): TensorType | undefined => tensors.get(name)?.dtype;
	return {
		source,
		metadata,
		tensors,
		readBytes,
		readFloat32: async (name) => widen(typeOf(name), await readBytes(name)),
		readPart: async (name, start, count) => {
			const entry = tensors.get(name);
			if (!entry) throw missing(name);
			const size = DTYPES[entry.dtype];
			checkRange(entry.length, start * size, count * size);
			return widen(entry.dtype, await source.read(entry.offset + start * size, count * size).then(aligned));
		},
		readHalf: async (name) => {
			const bytes = await readBytes(name);
			if (typeOf(name) === 'F16') return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
			return floatsToHalves(widen(typeOf(name), bytes));
		}
	};
}

function missing(name: string): FormatError {
	return new FormatError('missing-tensor', name, `The file has no tensor ${name}`, 'Choose a complete model file.');
}

/** Bytes that any typed array can look at. */
function aligned(bytes: Uint8Array): Uint8Array {
	return bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
}

function parseHeader(bytes: Uint8Array): Record<string, unknown> {
	let text: string;
	try {
		text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
	} catch {
		throw new FormatError('header-json', 'header', 'The header is not valid UTF-8', `The file is damaged. ${AGAIN}.`);
	}
	const header = parseJsonStrictly(text);
	if (!isRecord(header)) throw new FormatError('header-json', 'header', 'The header is not a JSON object', `The file is damaged. ${AGAIN}.`);
	return header;
}

function readEntries(header: Record<string, unknown>, dataStart: number): { metadata: Record<string, string>; tensors: Map<string, TensorEntry> } {
	const bad = (where: string, problem: string): FormatError =>
		new FormatError('header-entry', where, problem, `The file is damaged or was written by a faulty program. ${AGAIN}.`);
	const metadata: Record<string, string> = Object.create(null) as Record<string, string>;
	const tensors = new Map<string, TensorEntry>();
	for (const [name, entry] of Object.entries(header)) {
		if (!isRecord(entry)) throw bad(name, 'A header entry is not an object');
		if (name === '__metadata__') {
			for (const [key, value] of Object.entries(entry)) {
				if (typeof value !== 'string') throw bad(`__metadata__.${key}`, 'A metadata value is not a string');
				metadata[key] = value;
			}
			continue;
		}
		const { dtype, shape, data_offsets: offsets } = entry;
		if (typeof dtype !== 'string' || !Object.hasOwn(DTYPES, dtype)) {
			throw new FormatError('dtype', name, `The number type ${String(dtype).slice(0, 40)} is not supported`, 'Convert the file to F16, BF16 or F32.');
		}
		if (!Array.isArray(shape) || !shape.every(isCount)) throw new FormatError('shape', name, 'The shape is not a list of sizes', `${AGAIN}.`);
		if (!Array.isArray(offsets) || offsets.length !== 2) throw new FormatError('offsets', name, 'The offsets are not a pair', `${AGAIN}.`);
		const [begin, end] = offsets as unknown[];
		if (!isCount(begin) || !isCount(end) || end < begin) throw new FormatError('offsets', name, 'The offsets are no range of bytes', `${AGAIN}.`);
		const type = dtype as TensorType;
		const expected = shape.reduce((product: number, size: number) => product * size, DTYPES[type]);
		if (end - begin !== expected) {
			throw new FormatError('shape', name, `${type} [${shape.join(', ')}] takes ${expected} bytes, but the header gives ${end - begin}`, `${AGAIN}.`);
		}
		tensors.set(name, { dtype: type, shape, offset: dataStart + begin, length: end - begin });
	}
	return { metadata, tensors };
}

/** Every byte behind the header belongs to exactly one tensor. */
function checkTiling(tensors: Map<string, TensorEntry>, dataStart: number, size: number): void {
	const order = [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.length - b.length);
	let at = dataStart;
	for (const [name, entry] of order) {
		if (entry.offset + entry.length > size) {
			const values = { bytes: size, needed: Math.max(...order.map(([, e]) => e.offset + e.length)) };
			throw new FormatError('truncated', name, `The file has ${size} bytes but needs ${values.needed}`, `${AGAIN}.`, values);
		}
		if (entry.offset !== at) {
			const what = entry.offset < at ? 'overlaps the tensor before it' : `leaves a hole of ${entry.offset - at} bytes before it`;
			throw new FormatError('offsets', name, `The tensor ${what}`, `The file is damaged. ${AGAIN}.`);
		}
		at += entry.length;
	}
	if (at !== size) {
		throw new FormatError('trailing-data', `byte ${at}`, `${size - at} bytes follow the last tensor`, `The file is damaged. ${AGAIN}.`, { bytes: size - at });
	}
}

function widen(dtype: TensorType | undefined, bytes: Uint8Array): Float32Array {
	const { buffer, byteOffset, length } = bytes;
	switch (dtype) {
		case 'F32':
			return new Float32Array(buffer, byteOffset, length / 4);
		case 'F16':
			return halvesToFloats(new Uint16Array(buffer, byteOffset, length / 2));
		case 'BF16':
			return bfloatsToFloats(new Uint16Array(buffer, byteOffset, length / 2));
		case 'F8_E4M3':
			return float8ToFloats(bytes);
		case 'F64':
			return Float32Array.from(new Float64Array(buffer, byteOffset, length / 8));
		case 'I64':
			return Float32Array.from(new BigInt64Array(buffer, byteOffset, length / 8), Number);
		case 'I32':
			return Float32Array.from(new Int32Array(buffer, byteOffset, length / 4));
		case 'I16':
			return Float32Array.from(new Int16Array(buffer, byteOffset, length / 2));
		case 'I8':
			return Float32Array.from(new Int8Array(buffer, byteOffset, length));
		default:
			return Float32Array.from(bytes);
	}
}

function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
	return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
