/**
 * The folders of models that the owner of this computer gave to Utsushi (`utsushi models add`), kept in `folders.json` of the config folder. Only what lies in them can be
 * seen or opened by name; nobody on the other end of a connection can add one.
 */
import { randomBytes } from 'node:crypto';
import { access, constants, mkdir, readdir, realpath, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { parse, resolve } from 'node:path';
import type { Problem } from '../jobs/events';
import { errorProblem } from '../jobs/problem';
import { configFolder, readConfigFile, writeConfigFile } from './configFolder';
import { InputError } from './inputError';

const FILE = 'folders.json';

export interface FolderList {
	/** Absolute, in the order in which they were added. */
	readonly folders: readonly string[];
	/** Where results are saved; always one of the folders or inside of one. null: results stay with their run until they are fetched. */
	readonly results: string | null;
	/** Makes the ids of models unguessable without telling where they lie. */
	readonly salt: string;
}

function textOf(value: unknown, key: string): string | undefined {
	if (typeof value !== 'object' || value === null || !(key in value)) return undefined;
	const found: unknown = Object(value)[key];
	return typeof found === 'string' && found !== '' ? found : undefined;
}

export async function loadFolders(config = configFolder()): Promise<FolderList> {
	const stored = await readConfigFile(config, FILE);
	const list: unknown = typeof stored === 'object' && stored !== null && 'folders' in stored ? stored.folders : undefined;
	const folders = Array.isArray(list) ? list.filter((item): item is string => typeof item === 'string' && item !== '') : [];
	return { folders, results: textOf(stored, 'results') ?? null, salt: textOf(stored, 'salt') ?? randomBytes(16).toString('hex') };
}

async function save(list: FolderList, config: string): Promise<FolderList> {
	await writeConfigFile(config, FILE, list);
	return list;
}

/** `~` is for shells, but it gets here quoted. */
function absolute(path: string): string {
	return resolve(path.replace(/^~(?=$|[\\/])/, homedir()));
}

/** Why a folder cannot be used, in words; null when it can. `shown`: what it is called there. */
export async function folderProblem(path: string, shown = path): Promise<Problem | null> {
	const refuse = (code: string, message: string, detail?: string): Problem =>
		errorProblem(code, 'models', message, { path: shown, ...(detail === undefined ? {} : { detail }) });
	try {
		if (!(await stat(path)).isDirectory()) return refuse('folder.file', `${shown} is a file, not a folder. Give the folder that holds the model files.`);
		await readdir(path);
		return null;
	} catch (error) {
		const code = error instanceof Error && 'code' in error ? error.code : '';
		if (code === 'ENOENT' || code === 'ENOTDIR')
			return refuse('folder.missing', `The folder ${shown} is not there. Check the path, or connect the disk it is on; “utsushi models remove” forgets it.`);
		if (code === 'EACCES' || code === 'EPERM')
			return refuse(
				'folder.forbidden',
				`The folder ${shown} may not be read by this user. Change its permissions, or start Utsushi as the user it belongs to.`
			);
		const detail = error instanceof Error && 'code' in error ? String(error.code) : String(error);
		return refuse('folder.unreadable', `The folder ${shown} cannot be read (${detail}).`, detail);
	}
}

/**
 * Adds folders; `results`: the last of them is where LoRAs are saved (made when missing). Folders inside of one that is there already add nothing.
 * @throws InputError when one cannot be used, StorageError when the list cannot be written
 */
export async function addFolders(paths: readonly string[], options: { results: boolean }, config = configFolder()): Promise<FolderList> {
	const list = await loadFolders(config);
	const folders = [...list.folders];
	let results = list.results;
	for (const given of paths) {
		const path = absolute(given);
		if (options.results) await mkdir(path, { recursive: true }).catch(() => undefined);
		const problem = await folderProblem(path);
		if (problem) throw new InputError([problem]);
		const real = await realpath(path);
		if (real === parse(real).root) {
			const message = `${path} is a whole disk. Give the folder that holds the model files, so that nothing else can be read through Utsushi.`;
			throw new InputError([errorProblem('folder.root', 'models', message, { path })]);
		}
		if (!folders.includes(path)) folders.push(path);
		if (!options.results) continue;
		await access(path, constants.W_OK).catch(() => {
			throw new InputError([
				errorProblem('folder.readOnly', 'models', `${path} may not be written to, so no results can be saved there. Choose another folder.`, { path })
			]);
		});
		results = path;
	}
	return save({ ...list, folders, results }, config);
}

/** @throws InputError when it was never added */
export async function removeFolder(given: string, config = configFolder()): Promise<FolderList> {
	const list = await loadFolders(config);
	const path = absolute(given);
	if (!list.folders.includes(path)) {
		const message = `${path} is not one of the folders. “utsushi models” lists them.`;
		throw new InputError([errorProblem('folder.unknown', 'models', message, { path })]);
	}
	return save({ ...list, folders: list.folders.filter((folder) => folder !== path), results: list.results === path ? null : list.results }, config);
}

/** The list with its salt on disk, so that ids stay the same from now on. A disk that takes nothing just means new ids next time. */
export async function settledFolders(config = configFolder()): Promise<FolderList> {
	const list = await loadFolders(config);
	const stored = await readConfigFile(config, FILE);
	if (textOf(stored, 'salt') !== list.salt) await save(list, config).catch(() => undefined);
	return list;
}
