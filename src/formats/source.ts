/**
 * Bytes that are read in pieces: a checkpoint of 7 GB never sits in memory as a whole.
 * Offsets are JavaScript numbers (exact to 2^53), so files beyond 2^32 bytes are fine.
 */

export interface ByteSource {
	/** Bytes in total. */
	readonly size: number;
	/**
	 * Exactly `length` bytes from `offset`. The result may share memory with the source: do not write to it.
	 * @throws RangeError when the range leaves the source
	 */
	read(offset: number, length: number): Promise<Uint8Array>;
	/** Fills `target` from `offset` on without memory in between; sources that cannot leave it out. @throws RangeError when the range leaves the source */
	readInto?(offset: number, target: Uint8Array): Promise<void>;
}

/** A Blob whose bytes can be read into memory that is already there: files on disk have it (`node.ts`). */
interface ReadableInto {
	readInto(offset: number, target: Uint8Array): Promise<void>;
}

const readsInto = (blob: Blob): blob is Blob & ReadableInto => 'readInto' in blob && typeof blob.readInto === 'function';

/** Throws when `[offset, offset + length)` is no range of a source of `size` bytes. */
export function checkRange(size: number, offset: number, length: number): void {
	if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0 || offset + length > size) {
		throw new RangeError(`Bytes ${offset}..${offset + length} are outside of 0..${size}`);
	}
}

/** A `Blob` or `File`, read slice by slice. */
export function blobSource(blob: Blob): ByteSource {
	return {
		size: blob.size,
		async read(offset, length) {
			checkRange(blob.size, offset, length);
			return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
		},
		...(readsInto(blob) ? { readInto: (offset, target) => blob.readInto(offset, target) } : {})
	};
}

/** Bytes already in memory; reads are views. */
export function bytesSource(bytes: Uint8Array): ByteSource {
	return {
		size: bytes.length,
		read(offset, length) {
			checkRange(bytes.length, offset, length);
			return Promise.resolve(bytes.subarray(offset, offset + length));
		}
	};
}
