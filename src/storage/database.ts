/**
 * The IndexedDB schema. Versions only ever add: `upgrade` runs every step from the version it finds. Large files live in OPFS where
 * there is one (`files.ts`), and in the `blobs` store otherwise.
 */
import { openDB, type DBSchema, type IDBPDatabase } from 'idb';
import { asStorageError } from './errors';
import type { LibraryEntry } from './library-entry';

export const DATABASE_NAME = 'utsushi';
const VERSION = 1;

export interface Schema extends DBSchema {
	library: { key: string; value: LibraryEntry; indexes: { created: number } };
	blobs: { key: string; value: Blob };
	settings: { key: string; value: unknown };
}

export type Database = IDBPDatabase<Schema>;

export async function openDatabase(name = DATABASE_NAME): Promise<Database> {
	try {
		return await openDB<Schema>(name, VERSION, {
			upgrade(database, from) {
				if (from < 1) {
					database.createObjectStore('library', { keyPath: 'id' }).createIndex('created', 'created');
					database.createObjectStore('blobs');
					database.createObjectStore('settings');
				}
			},
			// Another tab with newer code wants to upgrade: let go, the next call there reopens.
			blocking: (_current, _blocked, event) => {
				if (event.target instanceof IDBDatabase) event.target.close();
			}
		});
	} catch (error) {
		throw asStorageError(error, 'library');
	}
}
