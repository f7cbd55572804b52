/** Measurements of the GPU by their key, in a small database of their own: all of it can be measured again. */
import { openDB, type DBSchema } from 'idb';

interface Schema extends DBSchema {
	tunings: { key: string; value: string };
}

const NAME = 'utsushi-tuning';

export function tuningDatabase(): { read(key: string): Promise<string | undefined>; write(key: string, text: string): Promise<void> } {
	const database = openDB<Schema>(NAME, 1, { upgrade: (fresh) => void fresh.createObjectStore('tunings') });
	// Whoever reads or writes hears of a failure; nobody else needs to.
	database.catch(() => undefined);
	return {
		read: async (key) => (await database).get('tunings', key),
		write: async (key, text) => void (await (await database).put('tunings', text, key))
	};
}
