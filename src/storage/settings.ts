/** Small choices that outlive a visit (language, theme, last recipe). Values are read back as `unknown`: whoever reads validates. */
import { openDatabase, type Database } from './database';
import { asStorageError } from './errors';

export interface Settings {
	get(key: string): Promise<unknown>;
	set(key: string, value: unknown): Promise<void>;
	remove(key: string): Promise<void>;
}

export async function openSettings(opened?: Database): Promise<Settings> {
	const database = opened ?? (await openDatabase());
	return {
		get: (key) => database.get('settings', key),
		async set(key, value) {
			try {
				await database.put('settings', value, key);
			} catch (error) {
				throw asStorageError(error, key);
			}
		},
		remove: (key) => database.delete('settings', key)
	};
}
