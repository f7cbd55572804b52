/** Files on disk as byte sources (Node only). */
import { open } from 'node:fs/promises';
import { checkRange, type ByteSource } from './source';

export interface FileByteSource extends ByteSource {
	close(): Promise<void>;
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
			for (let done = 0; done < length;) {
				const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
				if (bytesRead === 0) throw new Error(`${path} ended at byte ${offset + done} while being read`);
				done += bytesRead;
			}
			return bytes;
		},
		close: () => handle.close()
	};
}
