/**
 * Where Utsushi keeps what its owner configured on this computer, by the custom of each system: `$XDG_CONFIG_HOME/utsushi` (or `~/.config/utsushi`),
 * `%APPDATA%\Utsushi`, `~/Library/Application Support/Utsushi`. `UTSUSHI_CONFIG` names another folder (a portable copy, a test).
 * Files are JSON, readable by their owner only, written aside and then renamed: never half-written.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { asStorageError } from '../storage/errors';

type Environment = Readonly<Record<string, string | undefined>>;

export function configFolder(env: Environment = process.env, platform: string = process.platform, home = homedir()): string {
	const own = env['UTSUSHI_CONFIG'];
	if (own !== undefined && own !== '') return resolve(own);
	if (platform === 'win32') return join(env['APPDATA'] ?? join(home, 'AppData', 'Roaming'), 'Utsushi');
	if (platform === 'darwin') return join(home, 'Library', 'Application Support', 'Utsushi');
	const xdg = env['XDG_CONFIG_HOME'];
	// The XDG rule: a relative path is to be ignored.
	return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(home, '.config'), 'utsushi');
}

/** The stored value; undefined when there is none, or what is there is no JSON. */
export async function readConfigFile(folder: string, name: string): Promise<unknown> {
	const text = await readFile(join(folder, name), 'utf8').catch(() => undefined);
	if (text === undefined) return undefined;
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}

let writes = 0;

/** @throws StorageError */
export async function writeConfigFile(folder: string, name: string, value: unknown): Promise<void> {
	const aside = join(folder, `.${name}.${process.pid}.${++writes}.part`);
	try {
		await mkdir(folder, { recursive: true, mode: 0o700 });
		await writeFile(aside, `${JSON.stringify(value, null, '\t')}\n`, { mode: 0o600 });
		await rename(aside, join(folder, name));
	} catch (error) {
		await rm(aside, { force: true });
		throw asStorageError(error, join(folder, name));
	}
}
