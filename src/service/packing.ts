/**
 * Messages as bytes: any value made of plain objects, arrays, texts, numbers, buffers, typed arrays and Blobs.
 *
 *   u32 length of the head │ head: JSON (UTF-8) { value, parts: [{ kind, bytes, type? }] } │ the parts' bytes, one after the other
 *
 * Rules
 * - Bytes stand in the JSON as {"$part": n}; numbers that JSON does not know as {"$number": "NaN"}; an object with a key that begins with `$` as {"$object": [[key, value]…]}.
 * - Reading trusts nothing: lengths must add up exactly, every part is used once, depth is limited, and the result has no prototype surprises (`__proto__` is a plain key).
 * - What is read owns its buffers. `undefined` members are left out.
 */
import { errorProblem, ProblemError } from '../jobs/problem';

/** JSON of a message; what is larger belongs into parts. */
export const MAX_HEAD = 16 * 2 ** 20;
const MAX_DEPTH = 64;
const MAX_PARTS = 100_000;

type View = Uint8Array | Uint8ClampedArray | Float32Array | Float64Array | Int32Array | Uint32Array | Uint16Array | Int8Array;

const VIEWS: Readonly<Record<string, { size: number; of: (bytes: ArrayBuffer) => View }>> = {
	Uint8Array: { size: 1, of: (bytes) => new Uint8Array(bytes) },
	Uint8ClampedArray: { size: 1, of: (bytes) => new Uint8ClampedArray(bytes) },
	Float32Array: { size: 4, of: (bytes) => new Float32Array(bytes) },
	Float64Array: { size: 8, of: (bytes) => new Float64Array(bytes) },
	Int32Array: { size: 4, of: (bytes) => new Int32Array(bytes) },
	Uint32Array: { size: 4, of: (bytes) => new Uint32Array(bytes) },
	Uint16Array: { size: 2, of: (bytes) => new Uint16Array(bytes) },
	Int8Array: { size: 1, of: (bytes) => new Int8Array(bytes) }
};

/** What arrives is not a message. */
export function malformed(detail: string): ProblemError {
	return new ProblemError(errorProblem('wire.malformed', 'connection', `A message on the connection to the helper cannot be read: ${detail}.`, { detail }));
}

interface Part {
	kind: string;
	bytes: Uint8Array;
	type?: string;
}

function bytesOf(view: ArrayBufferView): Uint8Array {
	return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Puts the parts aside; `blobs` holds the bytes of every Blob, read before. */
function detach(value: unknown, parts: Part[], blobs: ReadonlyMap<Blob, Uint8Array>, depth: number): unknown {
	if (depth > MAX_DEPTH) throw malformed('it is nested too deeply');
	const part = (kind: string, bytes: Uint8Array, type?: string): { $part: number } => {
		parts.push({ kind, bytes, ...(type ? { type } : {}) });
		return { $part: parts.length - 1 };
	};
	switch (typeof value) {
		case 'number':
			return Number.isFinite(value) && !Object.is(value, -0) ? value : { $number: Object.is(value, -0) ? '-0' : String(value) };
		case 'object':
			break;
		case 'string':
		case 'boolean':
		case 'undefined':
			return value;
		default:
			throw new TypeError(`A ${typeof value} cannot be sent.`);
	}
	if (value === null) return null;
	if (value instanceof ArrayBuffer) return part('ArrayBuffer', new Uint8Array(value));
	if (ArrayBuffer.isView(value)) {
		const kind = Object.keys(VIEWS).find((name) => name === value.constructor.name);
		if (kind === undefined) throw new TypeError(`A ${value.constructor.name} cannot be sent.`);
		return part(kind, bytesOf(value));
	}
	if (value instanceof Blob) {
		const bytes = blobs.get(value);
		if (!bytes) throw new TypeError('A Blob was not read before it is sent.');
		return part('Blob', bytes, value.type);
	}
	if (Array.isArray(value)) return value.map((item: unknown) => detach(item, parts, blobs, depth + 1) ?? null);
	const entries = Object.entries(value).map(([key, item]: [string, unknown]): [string, unknown] => [key, detach(item, parts, blobs, depth + 1)]);
	if (entries.some(([key]) => key.startsWith('$'))) return { $object: entries.filter(([, item]) => item !== undefined) };
	return Object.fromEntries(entries);
}

function findBlobs(value: unknown, found: Set<Blob>): void {
	if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return;
	if (value instanceof Blob) found.add(value);
	else for (const item of Object.values(value)) findBlobs(item, found);
}

/** All Blobs inside a value. */
export function blobsOf(value: unknown): Blob[] {
	const found = new Set<Blob>();
	findBlobs(value, found);
	return [...found];
}

/** The message in pieces, none of them copied; `length` is their sum. */
export interface Packed {
	pieces: Uint8Array[];
	length: number;
}

function assemble(value: unknown, blobs: ReadonlyMap<Blob, Uint8Array>): Packed {
	const parts: Part[] = [];
	const plain = detach(value, parts, blobs, 0);
	const head = new TextEncoder().encode(
		JSON.stringify({ value: plain, parts: parts.map(({ kind, bytes, type }) => ({ kind, bytes: bytes.length, ...(type ? { type } : {}) })) })
	);
	if (head.length > MAX_HEAD) throw malformed(`its head has ${head.length} bytes`);
	const size = new Uint8Array(4);
	new DataView(size.buffer).setUint32(0, head.length, true);
	const pieces = [size, head, ...parts.map(({ bytes }) => bytes).filter(({ length }) => length > 0)];
	return { pieces, length: pieces.reduce((sum, { length }) => sum + length, 0) };
}

/** Without Blobs; the bytes may change until they are sent only if nobody keeps the value. */
export function pack(value: unknown): Packed {
	return assemble(value, new Map());
}

/** Blobs are read whole; check their sizes first. */
export async function packWithBlobs(value: unknown): Promise<Packed> {
	const blobs = new Map<Blob, Uint8Array>();
	for (const blob of blobsOf(value)) blobs.set(blob, new Uint8Array(await blob.arrayBuffer()));
	return assemble(value, blobs);
}

/** In one piece. */
export function joined({ pieces, length }: Packed): Uint8Array<ArrayBuffer> {
	const whole = new Uint8Array(length);
	let at = 0;
	for (const piece of pieces) {
		whole.set(piece, at);
		at += piece.length;
	}
	return whole;
}

function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

interface Slot {
	kind: string;
	type: string;
	start: number;
	end: number;
	used: boolean;
}

function slotsOf(parts: unknown, start: number, length: number): Slot[] {
	if (!Array.isArray(parts) || parts.length > MAX_PARTS) throw malformed('its parts are not listed');
	let at = start;
	const slots = parts.map((part: unknown): Slot => {
		if (!isRecord(part)) throw malformed('a part is not described');
		const { kind, bytes, type = '' } = part;
		if (typeof kind !== 'string' || typeof type !== 'string' || typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0)
			throw malformed('a part is not described');
		const view = Object.hasOwn(VIEWS, kind) ? VIEWS[kind] : undefined;
		if ((!view && kind !== 'ArrayBuffer' && kind !== 'Blob') || bytes % (view?.size ?? 1) !== 0 || type.length > 100)
			throw malformed('a part has an unknown type');
		const slot = { kind, type, start: at, end: at + bytes, used: false };
		at += bytes;
		if (at > length) throw malformed('its parts are longer than it is');
		return slot;
	});
	if (at !== length) throw malformed('it is longer than its parts');
	return slots;
}

/** The value of a whole message. @throws ProblemError `wire.malformed` */
export function unpack(message: Uint8Array): unknown {
	if (message.length < 4) throw malformed('it is too short');
	const headLength = new DataView(message.buffer, message.byteOffset, message.byteLength).getUint32(0, true);
	if (headLength > MAX_HEAD || 4 + headLength > message.length) throw malformed('its head is longer than it is');
	let head: unknown;
	try {
		head = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(message.subarray(4, 4 + headLength)));
	} catch {
		throw malformed('its head is not JSON');
	}
	if (!isRecord(head) || !Object.hasOwn(head, 'parts')) throw malformed('its head is not one');
	const slots = slotsOf(head['parts'], 4 + headLength, message.length);
	const value = attach(head['value'], slots, message, 0);
	if (slots.some(({ used }) => !used)) throw malformed('a part belongs nowhere');
	return value;
}

function attach(node: unknown, slots: readonly Slot[], message: Uint8Array, depth: number): unknown {
	if (typeof node !== 'object' || node === null) return node;
	if (depth > MAX_DEPTH) throw malformed('it is nested too deeply');
	if (Array.isArray(node)) return node.map((item: unknown) => attach(item, slots, message, depth + 1));
	const keys = Object.keys(node);
	const record = node as Record<string, unknown>;
	const [only] = keys;
	if (only?.startsWith('$')) {
		if (keys.length !== 1) throw malformed('a placeholder has company');
		const given = record[only];
		if (only === '$part' && typeof given === 'number') return take(slots[given], message);
		if (only === '$number' && typeof given === 'string' && /^(NaN|-?Infinity|-0)$/.test(given)) return Number(given);
		if (only === '$object' && Array.isArray(given)) {
			const entries = given.map((entry: unknown): [string, unknown] => {
				if (!Array.isArray(entry) || entry.length !== 2 || typeof entry[0] !== 'string') throw malformed('an object is not one');
				return [entry[0], attach(entry[1], slots, message, depth + 1)];
			});
			return Object.fromEntries(entries);
		}
		throw malformed('a placeholder is unknown');
	}
	return Object.fromEntries(keys.map((key) => [key, attach(record[key], slots, message, depth + 1)]));
}

function take(slot: Slot | undefined, message: Uint8Array): unknown {
	if (!slot || slot.used) throw malformed('a part is missing or used twice');
	slot.used = true;
	const bytes = new Uint8Array(message.subarray(slot.start, slot.end)); // a copy, also of Node's Buffer
	if (slot.kind === 'ArrayBuffer') return bytes.buffer;
	if (slot.kind === 'Blob') return new Blob([bytes], { type: slot.type });
	return VIEWS[slot.kind]?.of(bytes.buffer);
}
