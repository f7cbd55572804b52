/**
 * Looks for the model folders of the usual programs (WebUI, Forge, ComfyUI, StabilityMatrix, SwarmUI, Fooocus), to be offered at set-up. Only looks at names two or three levels
 * below the usual places; opens no file.
 */
import { readdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

export interface KnownFolder {
	path: string;
	/** The program it belongs to, as its folder is called. */
	program: string;
	kind: 'checkpoints' | 'loras';
}

const PROGRAM = /webui|forge|comfy|stability.?matrix|swarm|fooocus|automatic1111|a1111|sdnext|pinokio/i;
/** Where programs keep themselves inside of their own folder. */
const INSIDE = ['', 'webui', 'ComfyUI', 'Data', 'app'];
const LAYOUTS: readonly (readonly [path: readonly string[], kind: KnownFolder['kind']])[] = [
	[['models', 'Stable-diffusion'], 'checkpoints'],
	[['models', 'Lora'], 'loras'],
	[['models', 'checkpoints'], 'checkpoints'],
	[['models', 'loras'], 'loras'],
	[['Models', 'StableDiffusion'], 'checkpoints'],
	[['Models', 'Stable-Diffusion'], 'checkpoints'],
	[['Models', 'Lora'], 'loras']
];

async function foldersIn(path: string): Promise<string[]> {
	const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
	return entries.filter((entry) => entry.isDirectory() || entry.isSymbolicLink()).map(({ name }) => name);
}

/** Where people put such programs. */
export async function usualPlaces(platform: string = process.platform, home = homedir()): Promise<string[]> {
	const own = [
		home,
		...['Documents', 'Desktop', 'Downloads', 'AI', 'ai', 'git', 'src', 'Projects', 'projects', 'Programs', 'apps'].map((name) => join(home, name))
	];
	if (platform === 'win32') {
		const drives = [...'CDEFGH'].map((letter) => `${letter}:\\`);
		return [
			...own,
			join(home, 'AppData', 'Roaming'),
			...drives,
			...drives.flatMap((drive) => ['AI', 'ai', 'Programs', 'apps'].map((name) => join(drive, name)))
		];
	}
	if (platform === 'darwin') return [...own, '/Applications', join(home, 'Applications')];
	const user = await foldersIn('/media').then((names) => names.map((name) => join('/media', name)));
	const disks = (await Promise.all([...user, '/mnt'].map(async (path) => (await foldersIn(path)).map((name) => join(path, name))))).flat();
	return [...own, '/opt', join(home, '.local', 'share'), ...disks];
}

/** Folders as they are spelled on disk: some file systems know `models` and `Models` as one. */
async function present(base: string, parts: readonly string[]): Promise<string | undefined> {
	let path = base;
	for (const part of parts) {
		if (!(await foldersIn(path)).includes(part)) return undefined;
		path = join(path, part);
	}
	return path;
}

export async function knownFolders(places?: readonly string[]): Promise<KnownFolder[]> {
	const found = new Map<string, KnownFolder>();
	for (const place of places ?? (await usualPlaces())) {
		for (const program of await foldersIn(place)) {
			if (!PROGRAM.test(program)) continue;
			for (const inside of INSIDE) {
				const base = join(place, program, inside);
				for (const [parts, kind] of LAYOUTS) {
					const path = await present(base, parts);
					if (path === undefined) continue;
					const { dev, ino } = await stat(path).catch(() => ({ dev: 0, ino: path }));
					found.set(`${dev} ${ino}`, { path, program, kind });
				}
			}
		}
	}
	return [...found.values()];
}
