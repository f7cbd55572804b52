/**
 * Snapshots of running jobs: two files per job, written in turn, each sealed with a checksum. Whatever ends the process, and when: at least one of the two is whole.
 *
 * Rules
 * - File = magic (8 bytes), sequence number (u64), SHA-256 of sequence and body (32 bytes), body. A file whose seal does not fit its body does not exist.
 * - The newer of the whole files counts. The next snapshot goes into the other one, so the last good one is never touched while its successor is written.
 * - `keep` stores what stays the same over many snapshots (the finished copier) once, under a name of its own, equally sealed.
 */
import { StorageError } from '../errors';

/** Where the files lie: a folder of the origin's private file system, a folder on disk, memory in tests. Nothing here needs to be atomic. */
export interface Slots {
	list(): Promise<string[]>;
	/** Replaces the file; what is there after a crash in the middle may be anything. Errors: `StorageError`. */
	write(key: string, parts: readonly Uint8Array[]): Promise<void>;
	read(key: string): Promise<Uint8Array | undefined>;
	/** Removing what is not there is no error. */
	remove(key: string): Promise<void>;
}

export interface SnapshotStore {
	/** Jobs with anything stored. */
	jobs(): Promise<string[]>;
	/** Errors: `StorageError`, `storage.quota` when there is no room; the snapshot before stays readable. */
	save(job: string, body: Uint8Array): Promise<void>;
	/** The newest whole snapshot; undefined when there is none. */
	load(job: string): Promise<Uint8Array | undefined>;
	keep(job: string, part: string, body: Uint8Array): Promise<void>;
	loadKept(job: string, part: string): Promise<Uint8Array | undefined>;
	remove(job: string): Promise<void>;
}

const MAGIC = new TextEncoder().encode('UTSUSNAP');
const HEAD = 8 + 8 + 32;
const SLOTS = ['a', 'b'] as const;
const END = '.snapshot';

async function digest(sequence: Uint8Array, body: Uint8Array): Promise<Uint8Array> {
	// The body is hashed where it lies: it may have hundreds of megabytes.
	const inner = new Uint8Array(await crypto.subtle.digest('SHA-256', body as Uint8Array<ArrayBuffer>));
	const outer = new Uint8Array(sequence.length + inner.length);
	outer.set(sequence);
	outer.set(inner, sequence.length);
	return new Uint8Array(await crypto.subtle.digest('SHA-256', outer));
}

function sequenceBytes(sequence: number): Uint8Array {
	const bytes = new Uint8Array(8);
	new DataView(bytes.buffer).setBigUint64(0, BigInt(sequence), true);
	return bytes;
}

async function sealed(sequence: number, body: Uint8Array): Promise<Uint8Array[]> {
	const head = new Uint8Array(HEAD);
	const number = sequenceBytes(sequence);
	head.set(MAGIC);
	head.set(number, 8);
	head.set(await digest(number, body), 16);
	return [head, body];
}

async function unseal(file: Uint8Array | undefined): Promise<{ sequence: number; body: Uint8Array } | undefined> {
	if (!file || file.length < HEAD || MAGIC.some((byte, i) => file[i] !== byte)) return undefined;
	const body = file.subarray(HEAD);
	const expected = await digest(file.slice(8, 16), body);
	if (expected.some((byte, i) => file[16 + i] !== byte)) return undefined;
	return { sequence: Number(new DataView(file.buffer, file.byteOffset).getBigUint64(8, true)), body };
}

function keyOf(job: string, part: string): string {
	if (!/^[\w-]{1,100}$/.test(job)) throw new StorageError('storage.failed', job, `“${job}” is no name for a snapshot.`);
	return `${job}.${part}${END}`;
}

export function snapshotStore(slots: Slots): SnapshotStore {
	/** Which slot holds what, per job; read once, then known. */
	const last = new Map<string, { sequence: number; slot: number }>();
	const newest = async (job: string): Promise<{ sequence: number; slot: number; body: Uint8Array } | undefined> => {
		let best: { sequence: number; slot: number; body: Uint8Array } | undefined;
		for (const [slot, name] of SLOTS.entries()) {
			const found = await unseal(await slots.read(keyOf(job, name)));
			if (found && (!best || found.sequence > best.sequence)) best = { ...found, slot };
		}
		last.set(job, best ?? { sequence: 0, slot: 1 });
		return best;
	};
	return {
		async jobs() {
			const names = (await slots.list()).filter((key) => key.endsWith(END)).map((key) => key.slice(0, key.indexOf('.')));
			return [...new Set(names)];
		},
		async save(job, body) {
			if (!last.has(job)) await newest(job);
			const { sequence, slot } = last.get(job) ?? { sequence: 0, slot: 1 };
			const target = 1 - slot;
			await slots.write(keyOf(job, SLOTS[target] ?? 'a'), await sealed(sequence + 1, body));
			last.set(job, { sequence: sequence + 1, slot: target });
		},
		async load(job) {
			return (await newest(job))?.body;
		},
		async keep(job, part, body) {
			await slots.write(keyOf(job, `keep-${part}`), await sealed(0, body));
		},
		async loadKept(job, part) {
			return (await unseal(await slots.read(keyOf(job, `keep-${part}`))))?.body;
		},
		async remove(job) {
			last.delete(job);
			for (const key of await slots.list()) if (key.startsWith(`${job}.`) && key.endsWith(END)) await slots.remove(key);
		}
	};
}

/** For contexts that can keep nothing, and for tests. */
export function memorySlots(): Slots {
	const files = new Map<string, Uint8Array>();
	return {
		list: () => Promise.resolve([...files.keys()]),
		write(key, parts) {
			const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
			let at = 0;
			for (const part of parts) {
				whole.set(part, at);
				at += part.length;
			}
			files.set(key, whole);
			return Promise.resolve();
		},
		read: (key) => Promise.resolve(files.get(key)),
		remove(key) {
			files.delete(key);
			return Promise.resolve();
		}
	};
}
