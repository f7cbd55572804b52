/** The storage room inside a real page and a real worker, driven from `storage.test.ts`. */
import { openDatabase } from '../../../src/storage/database';
import { databaseFiles, openFiles } from '../../../src/storage/files';
import { openLibrary, type LibraryDraft } from '../../../src/storage/library';
import { openPlots } from '../../../src/storage/plots';
import { openSettings } from '../../../src/storage/settings';

const draft = (name: string): LibraryDraft => ({ name, role: 'result', run: 'r', step: 3, family: 'mini', recipe: null, metadata: { a: 'b' }, previews: [] });

const bytes = (length: number): ArrayBuffer => Uint8Array.from({ length }, (_, i) => (i * 7) % 256).buffer;

async function digest(blob: Blob): Promise<number> {
	return new Uint8Array(await blob.arrayBuffer()).reduce((sum, byte, i) => (sum * 31 + byte * (i + 1)) % 1_000_003, 0);
}

const steps = {
	/** Adds, lists, reads, renames and removes; what is seen after each. */
	async life() {
		const library = await openLibrary();
		let changes = 0;
		library.onChange(() => changes++);
		const first = await library.add(draft('first.safetensors'), bytes(5000));
		await new Promise((later) => setTimeout(later, 5));
		const second = await library.add({ ...draft('second.safetensors'), previews: [{ seed: 1, strength: 0.5, png: new Blob(['png']) }] }, bytes(7));
		const names = (await library.list()).map(({ name }) => name);
		const same = (await digest(await library.read(first.id))) === (await digest(new Blob([bytes(5000)])));
		const preview = await (await library.list())[0]?.previews[0]?.png.text();
		await library.update(first.id, { name: 'renamed.safetensors' });
		await library.remove(second.id);
		const left = (await library.list()).map(({ name, bytes: size, kept }) => ({ name, size, kept }));
		library.close();
		return { names, same, preview, left, changes };
	},
	/** What the last visit left is still there. */
	async again() {
		const library = await openLibrary();
		const [entry] = await library.list();
		const found = entry ? { name: entry.name, metadata: entry.metadata, length: (await library.read(entry.id)).size } : null;
		library.close();
		return found;
	},
	/** Cells of plots: known by key, the longest unused go when the room is used up. */
	async cells() {
		const plots = await openPlots('plots-test', 1000);
		const png = (size: number) => new Blob([bytes(size)]);
		const pause = () => new Promise((later) => setTimeout(later, 5));
		for (const key of ['a', 'b', 'c']) {
			await plots.write(key, png(300));
			await pause();
		}
		await plots.read(['a']);
		await pause();
		await plots.write('d', png(300));
		const known = [...(await plots.known(['a', 'b', 'c', 'd', 'e']))].sort();
		plots.close();
		const again = await openPlots('plots-test', 1000);
		await again.write('e', png(600));
		const left = [...(await again.read(['a', 'b', 'c', 'd', 'e']))].map(([key, { size }]) => `${key} ${size}`).sort();
		await again.writePlot({ version: 1 });
		const plot = await again.readPlot();
		again.close();
		return { known, left, plot };
	},
	async missing() {
		const library = await openLibrary();
		const entry = await library.add(draft('lost.safetensors'), bytes(10));
		const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('library');
		await folder.removeEntry(entry.id);
		const error: unknown = await library.read(entry.id).catch((thrown: unknown) => thrown);
		await library.remove(entry.id);
		library.close();
		return error instanceof Error ? { text: error.message, code: 'code' in error ? error.code : null } : null;
	},
	/** More than the quota that the test has set. */
	async full(length: number) {
		const library = await openLibrary();
		const before = (await library.list()).length;
		const error: unknown = await library.add(draft('large.safetensors'), bytes(length)).catch((thrown: unknown) => thrown);
		const after = (await library.list()).length;
		const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('library');
		let files = 0;
		for await (const name of folder.keys()) if (!name.startsWith('.')) files++;
		library.close();
		return { left: after - before, files, error: error instanceof Error ? { text: error.message, code: 'code' in error ? error.code : null } : null };
	},
	/** The fallback where there is no private file system. */
	async fallback() {
		const database = await openDatabase('fallback');
		const files = databaseFiles(database);
		await files.write('k', bytes(300));
		const same = (await digest(await files.read('k'))) === (await digest(new Blob([bytes(300)])));
		await files.remove('k');
		const error: unknown = await files.read('k').catch((thrown: unknown) => thrown);
		database.close();
		return { same, code: error instanceof Error && 'code' in error ? error.code : null };
	},
	async settings() {
		const settings = await openSettings();
		await settings.set('language', 'ja');
		const kept = await settings.get('language');
		await settings.remove('language');
		return [kept, await settings.get('language')];
	},
	/** Which kind of store this thread gets, and whether it reads back what it wrote. */
	async files() {
		const database = await openDatabase('threads');
		const { write } = await openFiles(database);
		await write.write('k', bytes(100_000));
		await write.write('k', bytes(50_000));
		const size = (await write.read('k')).size;
		const same = (await digest(await write.read('k'))) === (await digest(new Blob([bytes(50_000)])));
		database.close();
		return { kind: write.kind, size, same };
	}
};
export type Steps = typeof steps;

declare global {
	var storageSteps: Steps | undefined;
}

if (typeof document === 'undefined') {
	addEventListener('message', () => {
		void steps.files().then(
			(result) => postMessage(result),
			(error: unknown) => postMessage(String(error))
		);
	});
} else globalThis.storageSteps = steps;
