/**
 * Models by name: checkpoints and LoRAs in the folders their owner configured, found by an id that says nothing about where they lie.
 *
 * Rules
 * - Whoever asks gives an id of the list or a name; it is looked up in the list and never joined to a path.
 * - Links are resolved; what lies outside of every configured folder after that is left out and counted. Folders are walked once, however often links lead to them.
 * - Before a file is opened its place is resolved again: a link that was swapped meanwhile leads nowhere.
 * - Headers are read once per size and time of change, and remembered in `models-seen.json` beside the list of folders.
 */
import { createHash } from 'node:crypto';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { openFileAsBlob } from '../formats/node';
import type { Problem } from '../jobs/events';
import { errorProblem, warningProblem } from '../jobs/problem';
import { ServiceError } from '../service/errors';
import type { ModelShelf, NamedModel, NamedModels } from '../service/helper-protocol';
import { openFolder } from '../storage/node';
import { configFolder, readConfigFile, writeConfigFile } from './configFolder';
import { folderProblem, settledFolders, type FolderList } from './folders';
import { readModelHeader, type ModelHeader } from './modelHeader';

export type ModelEntry = NamedModel;

interface Seen extends ModelHeader {
	bytes: number;
	modified: number;
}

interface Place {
	entry: ModelEntry;
	path: string;
}

const SEEN_FILE = 'models-seen.json';
const ENDING = '.safetensors';
/** Deep enough for any order people keep; a folder chosen by mistake (a home directory) ends somewhere. */
const MAX_DEPTH = 8;
const MAX_FILES = 20_000;
const AT_ONCE = 8;

/** Both as the file system spells them (`realpath`). */
export function isWithin(path: string, folder: string, between: string = sep): boolean {
	return path === folder || path.startsWith(folder.endsWith(between) ? folder : folder + between);
}

function isSeen(value: unknown): value is Seen {
	return typeof value === 'object' && value !== null && 'bytes' in value && 'modified' in value && 'kind' in value && 'family' in value && 'problem' in value;
}

/** Works through a list with a few at a time. */
async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
	let next = 0;
	const worker = async (): Promise<void> => {
		for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item);
	};
	await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

interface Found {
	/** Real path. */
	path: string;
	/** As it was reached, below its folder. */
	name: string;
	folder: string;
}

/** Walks configured folders; every real folder and file once. */
class Walk {
	readonly files: Found[] = [];
	readonly problems: Problem[] = [];
	readonly #entered = new Set<string>();
	readonly #taken = new Set<string>();
	#outside = 0;

	constructor(
		private readonly roots: readonly string[],
		private readonly shown: (path: string) => string
	) {}

	async folder(path: string): Promise<void> {
		const problem = await folderProblem(path, this.shown(path));
		if (problem) {
			this.problems.push({ ...problem, level: 'warning' });
			return;
		}
		const before = this.files.length;
		await this.#enter(path, path, 0);
		if (this.files.length === before && this.#outside === 0) {
			const message = `The folder ${this.shown(path)} holds no .safetensors files.`;
			this.problems.push(warningProblem('folder.empty', 'models', message, { path: this.shown(path) }));
		}
	}

	async #enter(root: string, path: string, depth: number): Promise<void> {
		const real = await realpath(path).catch(() => undefined);
		if (real === undefined || this.#entered.has(real) || depth > MAX_DEPTH || this.files.length >= MAX_FILES) return;
		if (!this.roots.some((folder) => isWithin(real, folder))) {
			this.#outside++;
			return;
		}
		this.#entered.add(real);
		const entries = await readdir(real, { withFileTypes: true }).catch(() => []);
		for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
			if (entry.name.startsWith('.')) continue;
			const inside = join(path, entry.name);
			const isFolder = entry.isDirectory() || (entry.isSymbolicLink() && (await stat(inside).catch(() => undefined))?.isDirectory());
			if (isFolder) await this.#enter(root, inside, depth + 1);
			else if (entry.name.toLowerCase().endsWith(ENDING) && this.files.length < MAX_FILES) await this.#file(root, inside);
		}
	}

	async #file(root: string, path: string): Promise<void> {
		const real = await realpath(path).catch(() => undefined);
		if (real === undefined || this.#taken.has(real)) return;
		if (!this.roots.some((folder) => isWithin(real, folder))) {
			this.#outside++;
			return;
		}
		this.#taken.add(real);
		const name = relative(root, path).split(sep).join('/').slice(0, -ENDING.length);
		this.files.push({ path: real, name, folder: basename(root) });
	}

	end(): void {
		if (this.#outside > 0) {
			const message = `${this.#outside} links lead out of the configured folders and are left out. Add the folder they lead to with “utsushi models add”.`;
			this.problems.push(warningProblem('folder.links', 'models', message, { count: this.#outside }));
		}
		if (this.files.length >= MAX_FILES) {
			const message = `Only the first ${MAX_FILES} files are listed. Give the folders that hold models instead of one above them.`;
			this.problems.push(warningProblem('folder.tooMany', 'models', message, { limit: MAX_FILES }));
		}
	}
}

/** `a/b\c:d` → `a-b-c-d`: a name that is no path on any system, with the right ending. */
export function plainFileName(name: string): string {
	const stem = [...name.replace(/\.safetensors$/i, '')]
		.map((character) => (character < ' ' || character === '\u007f' ? '-' : character))
		.join('')
		.replace(/[<>:"/\\|?*]+/g, '-')
		.replace(/^[.\s]+|[.\s]+$/g, '')
		.slice(0, 120);
	const reserved = /^(con|prn|aux|nul|com\d|lpt\d)$/i.test(stem);
	return `${stem === '' || reserved ? `lora-${stem}` : stem}${ENDING}`;
}

export class Models implements ModelShelf {
	#places = new Map<string, Place>();
	#listed = false;

	/** `tellPaths`: problems name whole paths (for the owner's terminal) rather than folders' names. */
	constructor(
		private readonly config = configFolder(),
		private readonly tellPaths = false
	) {}

	/** Looks at the folders afresh. */
	async list(): Promise<NamedModels> {
		const folders = await settledFolders(this.config);
		const roots = (await Promise.all(folders.folders.map((folder) => realpath(folder).catch(() => undefined)))).filter((path) => path !== undefined);
		const walk = new Walk(roots, (path) => (this.tellPaths ? path : basename(path)));
		for (const folder of folders.folders) await walk.folder(folder);
		walk.end();
		const places = await this.#describe(walk.files, folders);
		this.#places = new Map(places.map((place) => [place.entry.id, place]));
		this.#listed = true;
		return { entries: places.map(({ entry }) => entry), problems: walk.problems };
	}

	async #describe(files: readonly Found[], { salt }: FolderList): Promise<Place[]> {
		const stored = await readConfigFile(this.config, SEEN_FILE);
		const before = new Map(Object.entries(typeof stored === 'object' && stored !== null ? stored : {}));
		const seen: Record<string, Seen> = {};
		let news = false;
		await eachOf(files, async ({ path, name }) => {
			const info = await stat(path).catch(() => undefined);
			if (!info) return; // gone meanwhile
			const [bytes, modified] = [info.size, Math.floor(info.mtimeMs)];
			const known: unknown = before.get(path);
			const current = isSeen(known) && known.bytes === bytes && known.modified === modified ? known : undefined;
			if (!current) news = true;
			seen[path] = current ?? { ...(await readModelHeader(path, name)), bytes, modified };
		});
		// A list that cannot be remembered is read again next time.
		if (news || before.size !== Object.keys(seen).length) await writeConfigFile(this.config, SEEN_FILE, seen).catch(() => undefined);
		return files.flatMap(({ path, name, folder }): Place[] => {
			const header = seen[path];
			if (!header || header.kind === 'other') return [];
			const { kind, bytes, modified, family, title, rank, problem } = header;
			const id = createHash('sha256').update(`${salt}\0${path}`).digest('hex').slice(0, 24);
			return [{ path, entry: { id, kind, name, folder, bytes, modified, family, title, rank, problem } }];
		});
	}

	/** The place of an id, resolved again. @throws ServiceError when it is none, or no longer where it may be */
	async #resolve(id: string): Promise<Place> {
		if (!this.#listed || !this.#places.has(id)) await this.list();
		const place = this.#places.get(id);
		const gone = (): never => {
			const name = place?.entry.name ?? '';
			const message = `The helper has no model ${name === '' ? 'of this id' : `“${name}”`} any more. Ask for the list again and choose another.`;
			throw new ServiceError(errorProblem('shelf.gone', 'model', message, { name }));
		};
		if (!place) return gone();
		const real = await realpath(place.path).catch(() => undefined);
		return real === place.path ? place : gone();
	}

	/** A file of the list, read lazily where it lies. @throws ServiceError */
	async open(id: string): Promise<{ entry: ModelEntry; blob: Blob }> {
		const { entry, path } = await this.#resolve(id);
		return { entry, blob: await openFileAsBlob(path) };
	}

	/** For the command line, whose user owns the folders. @throws ServiceError */
	async pathOf(id: string): Promise<string> {
		return (await this.#resolve(id)).path;
	}

	/**
	 * Saves a LoRA in the results' folder, under its name or a numbered one; nothing is ever replaced. null: no such folder is configured.
	 * @throws StorageError
	 */
	async save(name: string, bytes: Uint8Array): Promise<string | null> {
		const { results } = await settledFolders(this.config);
		if (results === null) return null;
		return (await openFolder(results)).write(plainFileName(name), bytes);
	}
}

/**
 * The one entry that a person means by `name`: exactly its name (with or without folders and ending), else the only one that contains it.
 * Several: all of them, for the question which one.
 */
export function entriesNamed(entries: readonly ModelEntry[], name: string, kind: ModelEntry['kind']): ModelEntry[] {
	const wanted = name
		.replace(/\\/g, '/')
		.replace(/\.safetensors$/i, '')
		.toLowerCase();
	if (wanted === '') return [];
	const ofKind = entries.filter((entry) => entry.kind === kind);
	const last = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
	const tests: ((entry: string, title: string) => boolean)[] = [
		(entry) => entry === wanted,
		(entry) => last(entry) === wanted,
		(_entry, title) => title === wanted,
		(entry) => entry.includes(wanted)
	];
	for (const test of tests) {
		const found = ofKind.filter((entry) => test(entry.name.toLowerCase(), entry.title.toLowerCase()));
		if (found.length > 0) return found;
	}
	return [];
}
