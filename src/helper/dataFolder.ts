/**
 * Where a helper keeps runs and snapshots: `$XDG_DATA_HOME/utsushi` (or `~/.local/share/utsushi`), `%LOCALAPPDATA%\Utsushi`, `~/Library/Application Support/Utsushi`, or
 * beside a config folder that was named (`UTSUSHI_CONFIG`). A second helper on this computer gets a folder of its own: two must never take each other's runs for their own.
 */
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

type Environment = Readonly<Record<string, string | undefined>>;

export function dataFolder(env: Environment = process.env, platform: string = process.platform, home = homedir()): string {
	const own = env['UTSUSHI_CONFIG'];
	if (own !== undefined && own !== '') return resolve(own, 'data');
	if (platform === 'win32') return join(env['LOCALAPPDATA'] ?? join(home, 'AppData', 'Local'), 'Utsushi');
	if (platform === 'darwin') return join(home, 'Library', 'Application Support', 'Utsushi', 'data');
	const xdg = env['XDG_DATA_HOME'];
	return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(home, '.local', 'share'), 'utsushi');
}

const MAX_HELPERS = 16;
const LOCK = 'helper.pid';

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return error instanceof Error && 'code' in error && error.code === 'EPERM';
	}
}

export interface HelperFolder {
	readonly path: string;
	release(): Promise<void>;
}

/** The first folder no living helper has. @throws when none can be made */
export async function ownFolder(data = dataFolder()): Promise<HelperFolder> {
	for (let n = 1; n <= MAX_HELPERS; n++) {
		const path = join(data, n === 1 ? 'helper' : `helper-${n}`);
		await mkdir(path, { recursive: true, mode: 0o700 });
		const lock = join(path, LOCK);
		const pid = Number(await readFile(lock, 'utf8').catch(() => ''));
		if (Number.isSafeInteger(pid) && pid > 0 && isAlive(pid)) continue;
		await rm(lock, { force: true });
		const taken = await open(lock, 'wx', 0o600).catch(() => undefined);
		if (!taken) continue; // another one was faster
		await taken.writeFile(String(process.pid));
		await taken.close();
		return { path, release: () => rm(lock, { force: true }) };
	}
	throw new Error(`${MAX_HELPERS} helpers are running already.`);
}

/** How the command line finds a helper that is running: its address and token, for its owner's eyes only. */
export async function writeAccess(folder: string, access: { url: string; token: string }): Promise<() => Promise<void>> {
	const file = join(folder, 'access.json');
	await rm(file, { force: true });
	await writeFile(file, `${JSON.stringify(access)}\n`, { mode: 0o600, flag: 'wx' });
	return () => rm(file, { force: true });
}
