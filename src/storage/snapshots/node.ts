/** Snapshots in Node: files in a folder, made at the first snapshot and removed with the last. */
import { mkdir, open, readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { asStorageError } from '../errors';
import type { Slots } from './snapshots';

export function folderSlots(path: string): Slots {
	return {
		list: () => readdir(path).catch(() => []),
		async write(key, parts) {
			try {
				await mkdir(path, { recursive: true });
				const file = await open(join(path, key), 'w');
				try {
					for (const part of parts) await file.writeFile(part);
					await file.sync();
				} finally {
					await file.close();
				}
			} catch (error) {
				throw asStorageError(
					error,
					key,
					parts.reduce((sum, { length }) => sum + length, 0)
				);
			}
		},
		async read(key) {
			try {
				return new Uint8Array(await readFile(join(path, key)));
			} catch (error) {
				const problem = asStorageError(error, key);
				if (problem.code === 'storage.missing') return undefined;
				throw problem;
			}
		},
		async remove(key) {
			await rm(join(path, key), { force: true });
			// Only the last one leaves an empty folder.
			await rmdir(path).catch(() => undefined);
		}
	};
}
