/**
 * Everything that was made here: one entry per file, bytes apart from the record so that listing stays fast. A file is written before
 * its entry, so an entry never points at nothing; what was half written is removed.
 */
import { openDatabase, type Database } from './database';
import { asStorageError, asWriteError, StorageError } from './errors';
import { openFiles } from './files';
import { complete, fresh, type LibraryChange, type LibraryDraft, type LibraryEntry } from './library-entry';

export type { LibraryEntry, LibraryDraft, LibraryChange, LoraParent, StoredPreview } from './library-entry';

export interface Library {
	/** Newest first. */
	list(): Promise<LibraryEntry[]>;
	/** Errors: `StorageError` with `storage.quota` when there is no room; nothing is left behind then. */
	add(draft: LibraryDraft, bytes: ArrayBuffer): Promise<LibraryEntry>;
	/** A lazy Blob of the file. */
	read(id: string): Promise<Blob>;
	update(id: string, change: LibraryChange): Promise<LibraryEntry>;
	remove(id: string): Promise<void>;
	/** Called after every change made through this object. */
	onChange(listener: () => void): () => void;
	close(): void;
}

async function askToPersist(): Promise<void> {
	// Without it the browser may clear the library when the disk runs full. A refusal changes nothing else.
	if (!(await navigator.storage.persisted())) await navigator.storage.persist();
}

async function sha256(bytes: ArrayBuffer): Promise<string> {
	return Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export async function openLibrary(opened?: Database): Promise<Library> {
	const database = opened ?? (await openDatabase());
	const files = await openFiles(database);
	const listeners = new Set<() => void>();
	const changed = (): void => {
		for (const listener of listeners) listener();
	};
	const entry = async (id: string): Promise<LibraryEntry> => {
		const found = await database.get('library', id);
		if (!found) throw new StorageError('storage.missing', id, 'This result is no longer in the library.');
		return complete(found);
	};
	return {
		async list() {
			return (await database.getAllFromIndex('library', 'created')).map(complete).reverse();
		},
		async add(draft, bytes) {
			await askToPersist().catch(() => undefined);
			const made: LibraryEntry = {
				...fresh,
				...draft,
				id: crypto.randomUUID(),
				created: Date.now(),
				bytes: bytes.byteLength,
				kept: files.write.kind,
				sha256: await sha256(bytes)
			};
			try {
				await files.write.write(made.id, bytes);
				await database.add('library', made);
			} catch (error) {
				await files.write.remove(made.id).catch(() => undefined);
				const problem = await asWriteError(error, draft.name, bytes.byteLength);
				// The store knows the file by its id; people know it by its name.
				throw problem.where === made.id ? asStorageError(problem.cause, draft.name, bytes.byteLength) : problem;
			}
			changed();
			return made;
		},
		async read(id) {
			const { kept, name } = await entry(id);
			try {
				return await files.of(kept).read(id);
			} catch (error) {
				throw asStorageError(error instanceof StorageError ? error.cause : error, name);
			}
		},
		async update(id, change) {
			const next = { ...(await entry(id)), ...change };
			try {
				await database.put('library', next);
			} catch (error) {
				throw asStorageError(error, next.name);
			}
			changed();
			return next;
		},
		async remove(id) {
			const { kept } = await entry(id);
			await database.delete('library', id);
			await files.of(kept).remove(id);
			changed();
		},
		onChange(listener) {
			listeners.add(listener);
			return () => listeners.delete(listener);
		},
		close: () => database.close()
	};
}
