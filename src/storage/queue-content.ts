/**
 * What a job needs beside its recipe, by content: pictures, files and masks in a request are replaced by references to their SHA-256 and stored once, however many jobs
 * use them. Works on any request: whatever looks like a picture or a file is one, whatever mode it is for.
 */
import { decodePng, encodePng } from '../formats/png';
import { StorageError } from './errors';

interface Pixels {
	width: number;
	height: number;
	data: Uint8ClampedArray;
}

/** Bytes by key; the same bytes are put once. */
export interface ContentStore {
	has(key: string): Promise<boolean>;
	put(key: string, bytes: Uint8Array): Promise<void>;
	get(key: string): Promise<Uint8Array | undefined>;
	keys(): Promise<string[]>;
	remove(key: string): Promise<void>;
}

type Reference = { $picture: string } | { $bytes: string; buffer: boolean };

function isPixels(node: object): node is Pixels {
	return 'width' in node && 'height' in node && 'data' in node && node.data instanceof Uint8ClampedArray;
}

function isReference(node: object): node is Reference {
	return '$picture' in node || '$bytes' in node;
}

async function hash(bytes: Uint8Array): Promise<string> {
	const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
	return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function store(content: ContentStore, bytes: Uint8Array, encode: (bytes: Uint8Array) => Uint8Array, prefix = new Uint8Array(0)): Promise<string> {
	const whole = new Uint8Array(prefix.length + bytes.length);
	whole.set(prefix);
	whole.set(bytes, prefix.length);
	const key = await hash(whole);
	if (!(await content.has(key))) await content.put(key, encode(bytes));
	return key;
}

/** The value with references instead of pictures, buffers and typed arrays. Errors: `StorageError`, `storage.quota` when there is no room. */
export async function deflateContent(value: unknown, content: ContentStore): Promise<unknown> {
	if (Array.isArray(value)) return Promise.all(value.map((item) => deflateContent(item, content)));
	if (typeof value !== 'object' || value === null) return value;
	if (value instanceof ArrayBuffer) return { $bytes: await store(content, new Uint8Array(value), (b) => b), buffer: true };
	if (value instanceof Uint8Array) return { $bytes: await store(content, value, (b) => b), buffer: false };
	if (isPixels(value)) {
		const { width, height, data } = value;
		const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
		// Two pictures of the same pixels but another shape are two pictures.
		const size = new Uint8Array(Uint32Array.of(width, height).buffer);
		return { $picture: await store(content, bytes, () => encodePng({ width, height, data }), size) };
	}
	const entries: [string, unknown][] = [];
	for (const [key, item] of Object.entries(value)) entries.push([key, await deflateContent(item, content)]);
	return Object.fromEntries(entries);
}

async function read(content: ContentStore, key: string): Promise<Uint8Array> {
	const bytes = await content.get(key);
	if (!bytes)
		throw new StorageError(
			'storage.missing',
			key.slice(0, 8),
			'A picture or file of this job is no longer there. The browser may have cleared it; add the job again.'
		);
	return bytes;
}

/** The other way. Errors: `StorageError` `storage.missing`. */
export async function inflateContent(value: unknown, content: ContentStore): Promise<unknown> {
	if (Array.isArray(value)) return Promise.all(value.map((item) => inflateContent(item, content)));
	if (typeof value !== 'object' || value === null) return value;
	if (isReference(value)) {
		if ('$picture' in value) {
			const { width, height, data } = decodePng(await read(content, value.$picture));
			return { width, height, data };
		}
		const bytes = await read(content, value.$bytes);
		return value.buffer ? bytes.slice().buffer : bytes;
	}
	const entries = await Promise.all(Object.entries(value).map(async ([key, item]) => [key, await inflateContent(item, content)] as const));
	return Object.fromEntries(entries);
}

/** Keys a value refers to. */
export function contentKeys(value: unknown): string[] {
	if (Array.isArray(value)) return value.flatMap(contentKeys);
	if (typeof value !== 'object' || value === null) return [];
	if (isReference(value)) return ['$picture' in value ? value.$picture : value.$bytes];
	return Object.values(value).flatMap(contentKeys);
}
