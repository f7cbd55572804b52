/**
 * The events of one run, numbered without gaps and kept, so that whoever comes back can take them up where they stopped.
 *
 * Rules
 * - A record is an event as it goes over the wire; records follow each other in one file (u32 length, then the bytes). A torn last record does not exist.
 * - In memory stay the records that are not written yet and a few recent ones; everything else is read from the file, for each reader at its own pace.
 * - What comes by the thousand and only moves a bar is thinned before it gets a number: in a run of very many steps, and when the disk takes nothing more.
 *   A file, a problem and the end are never left out.
 */
import type { RunEvent } from '../jobs/events';
import { warningProblem } from '../jobs/problem';
import { joined, pack } from './packing';
import type { RunDetail } from './helper-protocol';

/** Where logs lie: a folder on disk, memory in tests. Appends of one key come one after the other. */
export interface RunFiles {
	/** What `saveHead` stored, of every run. */
	heads(): Promise<{ key: string; head: unknown }[]>;
	saveHead(key: string, head: unknown): Promise<void>;
	append(key: string, bytes: Uint8Array): Promise<void>;
	/** Shortens the file. */
	cut(key: string, length: number): Promise<void>;
	/** Fewer bytes than asked for only at the end. */
	read(key: string, offset: number, length: number): Promise<Uint8Array>;
	remove(key: string): Promise<void>;
}

export interface LogLimits {
	/** Bytes of written records that stay in memory. */
	recent: number;
	/** Bytes that wait when the disk is full or slow. */
	waiting: number;
	/** Events that are all kept; beyond, progress is thinned. */
	events: number;
}

export const LOG_LIMITS: LogLimits = { recent: 2 ** 20, waiting: 2 ** 28, events: 100_000 };

const PREFIX = 4;

/** Says something about how far things are, and the next one says it again. */
function isPassing({ type }: RunEvent): boolean {
	return type === 'progress' || type === 'sampleStep' || type === 'plotProgress';
}

export class RunLog {
	/** Where record n begins in the file. */
	readonly #offsets: number[] = [];
	#end = 0;
	/** Records in memory by number. */
	readonly #held = new Map<number, Uint8Array>();
	#heldBytes = 0;
	#written = 0;
	#writing: Promise<void> | undefined;
	#failed = false;
	#loading: Promise<void> | undefined;

	constructor(
		readonly key: string,
		/** Changed in place as the run goes on. */
		readonly head: RunDetail,
		private readonly files: RunFiles,
		private readonly limits: LogLimits = LOG_LIMITS
	) {}

	/** The number the next event gets. */
	get next(): number {
		return this.head.lastSeq + 1;
	}

	/** Bytes of the file so far. */
	get bytes(): number {
		return this.#end;
	}

	/** Whether it has a number now; what is thinned has none. */
	append(event: RunEvent, time: number): boolean {
		if (this.#leavesOut(event)) return false;
		const seq = this.next;
		const record = joined(pack({ type: 'event', message: { run: this.head.run, seq, time, event } }));
		this.#offsets[seq] = this.#end;
		this.#end += PREFIX + record.length;
		this.head.lastSeq = seq;
		if (event.type === 'file') this.head.files.push({ seq, name: event.name, role: event.role, step: event.step, bytes: event.bytes.byteLength });
		this.#held.set(seq, record);
		this.#heldBytes += record.length;
		if (!this.#failed) this.#writing ??= this.#write();
		return true;
	}

	#leavesOut(event: RunEvent): boolean {
		if (this.#heldBytes > this.limits.waiting && (isPassing(event) || event.type === 'preview' || event.type === 'plotCell')) return true;
		if (!isPassing(event) || this.next < this.limits.events) return false;
		const every = 2 ** (1 + Math.floor(Math.log2(this.next / this.limits.events)));
		return 'step' in event && event.step % every !== 0 && !('steps' in event && event.step === event.steps);
	}

	async #write(): Promise<void> {
		try {
			while (this.#written <= this.head.lastSeq) {
				const from = this.#written;
				const batch: Uint8Array[] = [];
				let bytes = 0;
				let seq = from;
				for (; seq <= this.head.lastSeq && bytes < this.limits.recent; seq++) {
					const record = this.#held.get(seq);
					if (!record) throw new RangeError(`Record ${seq} is gone before it was written.`);
					batch.push(record);
					bytes += PREFIX + record.length;
				}
				const whole = new Uint8Array(bytes);
				let at = 0;
				for (const record of batch) {
					new DataView(whole.buffer).setUint32(at, record.length, true);
					whole.set(record, at + PREFIX);
					at += PREFIX + record.length;
				}
				await this.files.append(this.key, whole);
				this.#written = seq;
				this.#forgetRecent();
			}
		} catch (error) {
			this.#failed = true;
			const detail = error instanceof Error ? error.message : String(error);
			const message = `The helper cannot keep the events of this run on disk (${detail}). The run goes on; free some space, and download its results before the helper is closed.`;
			this.append({ type: 'warning', problem: warningProblem('helper.logFailed', 'helper', message, { detail }) }, Date.now());
		} finally {
			this.#writing = undefined;
		}
	}

	#forgetRecent(): void {
		for (const [seq, record] of this.#held) {
			if (this.#heldBytes <= this.limits.recent || seq >= this.#written) return;
			this.#held.delete(seq);
			this.#heldBytes -= record.length;
		}
	}

	/** Everything appended so far is in the file, or never will be. */
	async flushed(): Promise<void> {
		while (this.#writing) await this.#writing;
	}

	/** The record as it is sent; undefined when there is none of this number (any more). */
	async read(seq: number): Promise<Uint8Array | undefined> {
		const held = this.#held.get(seq);
		if (held) return held;
		if (seq < 0 || seq > this.head.lastSeq) return undefined;
		if (this.#offsets.length === 0) await (this.#loading ??= this.load());
		const offset = this.#offsets[seq];
		if (offset === undefined) return undefined;
		const prefix = await this.files.read(this.key, offset, PREFIX);
		if (prefix.length < PREFIX) return undefined;
		const length = new DataView(prefix.buffer, prefix.byteOffset, PREFIX).getUint32(0, true);
		const record = await this.files.read(this.key, offset + PREFIX, length);
		return record.length === length ? record : undefined;
	}

	/** Finds the records of a file from before; `head.lastSeq` becomes what is really there. */
	async load(): Promise<void> {
		let at = 0;
		let count = 0;
		for (;;) {
			const prefix = await this.files.read(this.key, at, PREFIX);
			if (prefix.length < PREFIX) break;
			const length = new DataView(prefix.buffer, prefix.byteOffset, PREFIX).getUint32(0, true);
			// The last byte of a record is there only if all of it is.
			if (length === 0 || (await this.files.read(this.key, at + PREFIX + length - 1, 1)).length === 0) break;
			this.#offsets[count++] = at;
			at += PREFIX + length;
		}
		this.#end = at;
		this.#written = count;
		this.head.lastSeq = count - 1;
		await this.files.cut(this.key, at);
	}
}

/** For tests, and for a helper whose disk cannot be written. */
export function memoryRunFiles(): RunFiles {
	const heads = new Map<string, unknown>();
	const logs = new Map<string, Uint8Array>();
	return {
		heads: () => Promise.resolve([...heads].map(([key, head]) => ({ key, head }))),
		saveHead(key, head) {
			heads.set(key, structuredClone(head));
			return Promise.resolve();
		},
		append(key, bytes) {
			const before = logs.get(key) ?? new Uint8Array(0);
			const whole = new Uint8Array(before.length + bytes.length);
			whole.set(before);
			whole.set(bytes, before.length);
			logs.set(key, whole);
			return Promise.resolve();
		},
		cut(key, length) {
			logs.set(key, (logs.get(key) ?? new Uint8Array(0)).slice(0, length));
			return Promise.resolve();
		},
		read: (key, offset, length) => Promise.resolve((logs.get(key) ?? new Uint8Array(0)).slice(offset, offset + length)),
		remove(key) {
			heads.delete(key);
			logs.delete(key);
			return Promise.resolve();
		}
	};
}
