/**
 * Files on disk as byte sources and as Blobs (Node only).
 * Node's own `openAsBlob` counts sizes in 32 bits before Node 22: a 6.9 GB checkpoint would look 4 GiB shorter than it is.
 */
import { createReadStream } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { checkRange, type ByteSource } from './source';

export interface FileByteSource extends ByteSource {
	close(): Promise<void>;
}

async function fill(path: string, handle: FileHandle, offset: number, target: Uint8Array): Promise<void> {
	for (let done = 0; done < target.length;) {
		const { bytesRead } = await handle.read(target, done, target.length - done, offset + done);
		if (bytesRead === 0) throw new Error(`${path} ended at byte ${offset + done} while being read`);
		done += bytesRead;
	}
}

/**
 * Opens a file for reading in pieces; `close` gives the descriptor back.
 * @throws the error of `open` when the file cannot be opened, or an Error when it shrinks while being read
 */
export async function fileSource(path: string): Promise<FileByteSource> {
	const handle = await open(path, 'r');
	const { size } = await handle.stat();
	return {
		size,
		async read(offset, length) {
			checkRange(size, offset, length);
			const bytes = new Uint8Array(length);
			await fill(path, handle, offset, bytes);
			return bytes;
		},
		readInto(offset, target) {
			checkRange(size, offset, target.length);
			return fill(path, handle, offset, target);
		},
		close: () => handle.close()
	};
}

/** A range of a file as a Blob, read when asked for. */
class DiskBlob extends Blob {
	constructor(
		private readonly path: string,
		private readonly start: number,
		private readonly end: number,
		type = ''
	) {
		super([], { type });
	}

	override get size(): number {
		return this.end - this.start;
	}

	override slice(from = 0, to = this.size, type = ''): Blob {
		const at = (offset: number): number => this.start + Math.min(this.size, Math.max(0, offset < 0 ? this.size + offset : offset));
		return new DiskBlob(this.path, at(from), Math.max(at(from), at(to)), type);
	}

	override async arrayBuffer(): Promise<ArrayBuffer> {
		const source = await fileSource(this.path);
		try {
			if (source.size < this.end) throw new Error(`${this.path} became shorter while it was open`);
			const bytes = await source.read(this.start, this.size);
			return bytes.buffer instanceof ArrayBuffer ? bytes.buffer : bytes.slice().buffer;
		} finally {
			await source.close();
		}
	}

	async readInto(offset: number, target: Uint8Array): Promise<void> {
		checkRange(this.size, offset, target.length);
		const handle = await open(this.path, 'r');
		try {
			await fill(this.path, handle, this.start + offset, target);
		} finally {
			await handle.close();
		}
	}

	override async text(): Promise<string> {
		return new TextDecoder().decode(await this.arrayBuffer());
	}

	override stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
		if (this.size === 0) return new Blob([]).stream();
		// Node's and the browser's types of the same stream differ in name only.
		return Readable.toWeb(createReadStream(this.path, { start: this.start, end: this.end - 1 })) as ReadableStream<Uint8Array<ArrayBuffer>>;
	}
}

/** A file of any size as a Blob; its bytes stay on disk. @throws the error of `stat` when there is no such file */
export async function openFileAsBlob(path: string): Promise<Blob> {
	return new DiskBlob(path, 0, (await stat(path)).size);
}
