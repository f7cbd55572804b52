/**
 * Where the queue lives in a browser: a database of its own, so that the library's versions and the queue's never wait for each other. One record holds the queue (a
 * transaction replaces it whole or not at all), one store the content its jobs need, one the handles of model files.
 *
 * Rule: one tab at a time owns the queue (`navigator.locks`); another one that opens it is told so. Nothing is merged, so nothing gets lost in merging.
 */
import { openDB, type DBSchema, type IDBPDatabase } from 'idb';
import { asStorageError, asWriteError } from './errors';
import type { ContentStore } from './queue-content';

const NAME = 'utsushi-queue';
const VERSION = 1;
const RECORD = 'queue';
const LOCK = 'utsushi-queue';

interface Schema extends DBSchema {
	queue: { key: string; value: unknown };
	content: { key: string; value: Uint8Array };
	models: { key: string; value: FileSystemFileHandle };
}

export interface QueueStore {
	load(): Promise<unknown>;
	save(queue: unknown): Promise<void>;
	readonly content: ContentStore;
	/** Model files by key; what is stored is a handle, never the gigabytes. */
	models: {
		put(key: string, handle: FileSystemFileHandle): Promise<void>;
		get(key: string): Promise<FileSystemFileHandle | undefined>;
		remove(key: string): Promise<void>;
	};
	close(): void;
}

function contentOf(database: IDBPDatabase<Schema>): ContentStore {
	return {
		has: async (key) => (await database.getKey('content', key)) !== undefined,
		async put(key, bytes) {
			try {
				await database.put('content', bytes, key);
			} catch (error) {
				throw await asWriteError(error, 'queue', bytes.length);
			}
		},
		get: (key) => database.get('content', key),
		keys: () => database.getAllKeys('content'),
		remove: (key) => database.delete('content', key)
	};
}

export async function openQueueStore(): Promise<QueueStore> {
	try {
		const database = await openDB<Schema>(NAME, VERSION, {
			upgrade(fresh) {
				for (const store of ['queue', 'content', 'models'] as const) fresh.createObjectStore(store);
			}
		});
		return {
			load: () => database.get('queue', RECORD),
			async save(queue) {
				try {
					await database.put('queue', queue, RECORD);
				} catch (error) {
					throw asStorageError(error, 'queue');
				}
			},
			content: contentOf(database),
			models: {
				async put(key, handle) {
					await database.put('models', handle, key);
				},
				get: (key) => database.get('models', key),
				remove: (key) => database.delete('models', key)
			},
			close: () => database.close()
		};
	} catch (error) {
		throw asStorageError(error, 'queue');
	}
}

/**
 * Resolves as soon as this tab owns the queue: at once, or when the tab that owns it is closed.
 * @param waiting called when another tab has it
 */
export async function ownQueue(waiting: () => void): Promise<void> {
	if (!('locks' in navigator)) return;
	await new Promise<void>((resolve) => {
		// Held until the page goes away.
		const hold = (): Promise<never> => {
			resolve();
			return new Promise(() => undefined);
		};
		void navigator.locks.request(LOCK, { ifAvailable: true }, (lock) => {
			if (lock) return hold();
			waiting();
			void navigator.locks.request(LOCK, hold);
			return undefined;
		});
	});
}
