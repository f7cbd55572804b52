/**
 * Where large files are kept: the origin's private file system, written through a synchronous handle in workers and a writable stream
 * elsewhere; IndexedDB blobs where neither exists (Safari before 26 on the main thread, private windows of Firefox).
 */
import type { Database } from './database';
import { asStorageError, asWriteError } from './errors';

export interface FileStore {
	readonly kind: 'opfs' | 'database';
	write(key: string, bytes: ArrayBuffer): Promise<void>;
	/** A lazy view of the file; rejects with `storage.missing` when there is none. */
	read(key: string): Promise<Blob>;
	/** Removing what is not there is no error. */
	remove(key: string): Promise<void>;
}

const FOLDER = 'library';

/** What a handle offers depends on the thread and the browser, whatever the library types say. */
function canSync(handle: FileSystemFileHandle): boolean {
	return 'createSyncAccessHandle' in handle;
}
function canStream(handle: FileSystemFileHandle): boolean {
	return 'createWritable' in handle;
}

async function writeInto(handle: FileSystemFileHandle, bytes: ArrayBuffer): Promise<void> {
	if (canSync(handle)) {
		const access = await handle.createSyncAccessHandle();
		try {
			access.truncate(0);
			for (let at = 0; at < bytes.byteLength;) {
				const written = access.write(at === 0 ? bytes : bytes.slice(at), { at });
				if (written === 0) throw new DOMException('No space left', 'QuotaExceededError');
				at += written;
			}
			access.flush();
		} finally {
			access.close();
		}
		return;
	}
	const stream = await handle.createWritable();
	try {
		await stream.write(bytes);
		await stream.close(); // only now does the file appear under its name
	} catch (error) {
		await stream.abort().catch(() => undefined);
		throw error;
	}
}

async function openOpfs(): Promise<FileStore | null> {
	let folder: FileSystemDirectoryHandle;
	try {
		folder = await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
		const probe = await folder.getFileHandle('.probe', { create: true });
		if (!canSync(probe) && !canStream(probe)) return null;
	} catch {
		return null;
	}
	const remove = async (key: string): Promise<void> => {
		try {
			await folder.removeEntry(key);
		} catch (error) {
			const problem = asStorageError(error, key);
			if (problem.code !== 'storage.missing') throw problem;
		}
	};
	return {
		kind: 'opfs',
		remove,
		async write(key, bytes) {
			try {
				await writeInto(await folder.getFileHandle(key, { create: true }), bytes);
			} catch (error) {
				await remove(key).catch(() => undefined);
				throw await asWriteError(error, key, bytes.byteLength);
			}
		},
		async read(key) {
			try {
				return await (await folder.getFileHandle(key)).getFile();
			} catch (error) {
				throw asStorageError(error, key);
			}
		}
	};
}

export function databaseFiles(database: Database): FileStore {
	return {
		kind: 'database',
		async write(key, bytes) {
			try {
				await database.put('blobs', new Blob([bytes]), key);
			} catch (error) {
				throw await asWriteError(error, key, bytes.byteLength);
			}
		},
		async read(key) {
			const blob = await database.get('blobs', key);
			if (!blob) throw asStorageError(new DOMException('No such blob', 'NotFoundError'), key);
			return blob;
		},
		async remove(key) {
			await database.delete('blobs', key);
		}
	};
}

/** The best store this thread can write to, and the one for entries that were kept the other way. */
export async function openFiles(database: Database): Promise<{ write: FileStore; of: (kept: FileStore['kind']) => FileStore }> {
	const blobs = databaseFiles(database);
	const opfs = await openOpfs();
	return { write: opfs ?? blobs, of: (kept) => (kept === 'opfs' && opfs ? opfs : blobs) };
}
