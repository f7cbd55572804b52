/**
 * Cells of plots by their key, so that no picture is drawn twice, and the plot somebody was working on. A database of its own: what is kept
 * here can be drawn again, so all of it may be lost at any time, and the library must never be touched by its clearing.
 *
 * Rule: at most so many bytes; when they are exceeded, the cells that were looked at longest ago go first.
 */
import { openDB, type DBSchema, type IDBPDatabase } from 'idb';
import { asStorageError, asWriteError } from './errors';

const NAME = 'utsushi-plots';
const VERSION = 1;
/** About 4,000 pictures of 128², 500 of 512². */
export const CELL_BYTES = 256 << 20;

interface Cell {
	key: string;
	/** An encoded picture. */
	png: Blob;
	bytes: number;
	/** Milliseconds since the epoch. */
	used: number;
}

interface Schema extends DBSchema {
	cells: { key: string; value: Cell; indexes: { used: number } };
	plots: { key: string; value: unknown };
}

export interface PlotStore {
	/** The kept pictures among these keys. */
	read(keys: readonly string[]): Promise<Map<string, Blob>>;
	/** Which of these keys are kept. */
	known(keys: readonly string[]): Promise<Set<string>>;
	/** Keeps a picture; makes room first. */
	write(key: string, png: Blob): Promise<void>;
	/** The plot of the last visit, as it was given; whoever reads validates. */
	readPlot(): Promise<unknown>;
	writePlot(plot: unknown): Promise<void>;
	close(): void;
}

export async function openPlots(name = NAME, limit = CELL_BYTES): Promise<PlotStore> {
	let database: IDBPDatabase<Schema>;
	try {
		database = await openDB<Schema>(name, VERSION, {
			upgrade(fresh) {
				fresh.createObjectStore('cells', { keyPath: 'key' }).createIndex('used', 'used');
				fresh.createObjectStore('plots');
			},
			blocking: (_current, _blocked, event) => {
				if (event.target instanceof IDBDatabase) event.target.close();
			}
		});
	} catch (error) {
		throw asStorageError(error, 'plots');
	}
	/** Bytes of all cells; counted once, then kept up to date. */
	let total: number | undefined;
	const count = async (): Promise<number> => {
		let sum = 0;
		for (const { bytes } of await database.getAll('cells')) sum += bytes;
		return sum;
	};

	/** Removes the oldest until `bytes` more fit. */
	async function makeRoom(bytes: number): Promise<void> {
		let left = (total ?? 0) + bytes - limit;
		if (left <= 0) return;
		const transaction = database.transaction('cells', 'readwrite');
		for (let cursor = await transaction.store.index('used').openCursor(); cursor && left > 0; cursor = await cursor.continue()) {
			left -= cursor.value.bytes;
			total = (total ?? 0) - cursor.value.bytes;
			await cursor.delete();
		}
		await transaction.done;
	}

	return {
		async read(keys) {
			const found = new Map<string, Blob>();
			const transaction = database.transaction('cells', 'readwrite');
			for (const key of keys) {
				const cell = await transaction.store.get(key);
				if (!cell) continue;
				found.set(key, cell.png);
				await transaction.store.put({ ...cell, used: Date.now() });
			}
			await transaction.done;
			return found;
		},
		async known(keys) {
			const transaction = database.transaction('cells');
			const found = new Set<string>();
			for (const key of keys) if ((await transaction.store.getKey(key)) !== undefined) found.add(key);
			return found;
		},
		async write(key, png) {
			try {
				total ??= await count();
				const old = await database.get('cells', key);
				await makeRoom(png.size);
				await database.put('cells', { key, png, bytes: png.size, used: Date.now() });
				total += png.size - (old?.bytes ?? 0);
			} catch (error) {
				throw await asWriteError(error, 'plots', png.size);
			}
		},
		readPlot: () => database.get('plots', 'last'),
		async writePlot(plot) {
			try {
				await database.put('plots', plot, 'last');
			} catch (error) {
				throw asStorageError(error, 'plots');
			}
		},
		close: () => database.close()
	};
}
