/**
 * Snapshots in the browser: a folder of the origin's private file system, through a synchronous handle in workers (written in place: no copy is made first, as a
 * writable stream would) and a writable stream elsewhere.
 */
import { asStorageError, asWriteError } from '../errors';
import type { Slots } from './snapshots';

const FOLDER = 'snapshots';
/** A stop of the worker between two writes leaves a piece, not a frozen browser. */
const PIECE = 16 * 2 ** 20;

async function writeSync(handle: FileSystemFileHandle, parts: readonly Uint8Array[]): Promise<void> {
	const access = await handle.createSyncAccessHandle();
	try {
		access.truncate(0);
		let at = 0;
		for (const part of parts) {
			for (let done = 0; done < part.length;) {
				const written = access.write(part.subarray(done, done + PIECE), { at });
				if (written === 0) throw new DOMException('No space left', 'QuotaExceededError');
				done += written;
				at += written;
			}
		}
		access.flush();
	} finally {
		access.close();
	}
}

async function writeStream(handle: FileSystemFileHandle, parts: readonly Uint8Array[]): Promise<void> {
	const stream = await handle.createWritable();
	try {
		for (const part of parts) await stream.write(part as Uint8Array<ArrayBuffer>);
		await stream.close();
	} catch (error) {
		await stream.abort().catch(() => undefined);
		throw error;
	}
}

/** Errors: `StorageError` `storage.unavailable` where the browser keeps nothing (private windows). */
export async function opfsSlots(): Promise<Slots> {
	let folder: FileSystemDirectoryHandle;
	try {
		folder = await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
	} catch (error) {
		throw asStorageError(error, FOLDER);
	}
	return {
		async list() {
			const names: string[] = [];
			for await (const name of folder.keys()) names.push(name);
			return names;
		},
		async write(key, parts) {
			try {
				const handle = await folder.getFileHandle(key, { create: true });
				// What a handle offers depends on thread and browser, whatever the library types say.
				await ('createSyncAccessHandle' in handle ? writeSync : writeStream)(handle, parts);
			} catch (error) {
				throw await asWriteError(
					error,
					key,
					parts.reduce((sum, { length }) => sum + length, 0)
				);
			}
		},
		async read(key) {
			try {
				return new Uint8Array(await (await (await folder.getFileHandle(key)).getFile()).arrayBuffer());
			} catch (error) {
				const problem = asStorageError(error, key);
				if (problem.code === 'storage.missing') return undefined;
				throw problem;
			}
		},
		async remove(key) {
			try {
				await folder.removeEntry(key);
			} catch (error) {
				const problem = asStorageError(error, key);
				if (problem.code !== 'storage.missing') throw problem;
			}
		}
	};
}
