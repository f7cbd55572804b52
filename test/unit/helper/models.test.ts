/** Models by name, in folders made for the test: what is listed, what links may reach, that nothing but an id of the list opens anything. */
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configFolder } from '../../../src/helper/configFolder';
import { addFolders, loadFolders, removeFolder } from '../../../src/helper/folders';
import { InputError } from '../../../src/helper/inputError';
import { knownFolders } from '../../../src/helper/knownFolders';
import { entriesNamed, Models, plainFileName } from '../../../src/helper/models';
import { pathByName } from '../../../src/helper/byName';

const project = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const MINI = project('public/models/mini.safetensors');
const LORA = project('test/fixtures/mini/reference/addift-lion.safetensors');

let base: string;
let config: string;
let folder: string;
const models = (): Models => new Models(config);
const names = async (): Promise<string[]> => (await models().list()).entries.map(({ name }) => name);

beforeEach(async () => {
	base = await mkdtemp(join(tmpdir(), 'utsushi-models-'));
	config = join(base, 'config');
	folder = join(base, 'Stable-diffusion');
	await mkdir(join(folder, 'anime'), { recursive: true });
	await copyFile(MINI, join(folder, 'anime', 'mini.safetensors'));
	await copyFile(LORA, join(folder, 'mouth.safetensors'));
});
afterEach(() => rm(base, { recursive: true, force: true }));

describe('folders of models', () => {
	it('lists by header, by name inside of the folder', async () => {
		await writeFile(join(folder, 'notes.txt'), 'no model');
		await writeFile(join(folder, 'broken.safetensors'), 'not one');
		await addFolders([folder], { results: false }, config);
		const { entries, problems } = await models().list();
		expect(problems).toEqual([]);
		expect(entries).toMatchObject([
			{ kind: 'checkpoint', name: 'anime/mini', folder: 'Stable-diffusion', family: 'mini', problem: null, bytes: (await stat(MINI)).size },
			{ kind: 'lora', name: 'mouth', problem: null }
		]);
		expect(entries[1]?.rank).toBeGreaterThan(0);
		// Nothing that is sent says where the folders lie.
		await addFolders([base], { results: false }, config);
		await rm(folder, { recursive: true });
		expect(JSON.stringify([entries, await models().list()])).not.toContain(base);
	});

	it('remembers headers by size and time, and ids from start to start', async () => {
		await addFolders([folder], { results: false }, config);
		const first = await models().list();
		const seen = JSON.parse(await readFile(join(config, 'models-seen.json'), 'utf8')) as Record<string, { family: string }>;
		const [path] = Object.keys(seen).filter((key) => key.endsWith('mini.safetensors'));
		if (path === undefined || !seen[path]) throw new Error('the header is not remembered');
		seen[path].family = 'sdxl'; // what is remembered is believed while the file is the same
		await writeFile(join(config, 'models-seen.json'), JSON.stringify(seen));
		const second = await models().list();
		expect(second.entries.map(({ id }) => id)).toEqual(first.entries.map(({ id }) => id));
		expect(second.entries[0]?.family).toBe('sdxl');
		await copyFile(LORA, join(folder, 'anime', 'mini.safetensors'));
		expect((await models().list()).entries[0]).toMatchObject({ kind: 'lora' });
	});

	it('follows links into the folders once, and none that lead out', async () => {
		const outside = join(base, 'private');
		await mkdir(outside);
		await copyFile(MINI, join(outside, 'secret.safetensors'));
		await symlink(outside, join(folder, 'away'));
		await symlink(join(outside, 'secret.safetensors'), join(folder, 'alias.safetensors'));
		await symlink(folder, join(folder, 'round'));
		await addFolders([folder], { results: false }, config);
		const { entries, problems } = await models().list();
		expect(entries.map(({ name }) => name)).toEqual(['anime/mini', 'mouth']);
		expect(problems).toMatchObject([{ level: 'warning', code: 'folder.links', values: { count: 2 } }]);
		await addFolders([outside], { results: false }, config);
		expect(await names()).toContain('alias');
	});

	it('opens only what the list has, and only where it was', async () => {
		await addFolders([folder], { results: false }, config);
		const shelf = models();
		const { entries } = await shelf.list();
		const [first] = entries;
		if (!first) throw new Error('nothing listed');
		const { blob, entry } = await shelf.open(first.id);
		expect(blob.size).toBe(entry.bytes);
		for (const id of ['', '..', '../private/secret', MINI, join(folder, 'mouth.safetensors'), 'anime/mini', `${first.id}/..`, '__proto__', '\0'])
			await expect(shelf.open(id), id).rejects.toMatchObject({ problem: { code: 'shelf.gone' } });
		// Swapped for a link after it was listed.
		await unlink(join(folder, 'anime', 'mini.safetensors'));
		await symlink('/etc/hostname', join(folder, 'anime', 'mini.safetensors'));
		await expect(shelf.open(first.id)).rejects.toMatchObject({ problem: { code: 'shelf.gone' } });
	});

	it('says what is wrong with a folder', async () => {
		const missing = join(base, 'none');
		await expect(addFolders([missing], { results: false }, config)).rejects.toMatchObject({ problems: [{ code: 'folder.missing' }] });
		await expect(addFolders([MINI], { results: false }, config)).rejects.toMatchObject({ problems: [{ code: 'folder.file' }] });
		await expect(addFolders(['/'], { results: false }, config)).rejects.toMatchObject({ problems: [{ code: 'folder.root' }] });
		const gone = join(base, 'gone');
		await mkdir(gone);
		await addFolders([gone, folder], { results: false }, config);
		expect((await models().list()).problems).toMatchObject([{ code: 'folder.empty' }]);
		await rm(gone, { recursive: true });
		expect((await models().list()).problems).toMatchObject([{ level: 'warning', code: 'folder.missing', values: { path: 'gone' } }]);
		expect(await names()).toHaveLength(2);
		await removeFolder(gone, config);
		await expect(removeFolder(gone, config)).rejects.toBeInstanceOf(InputError);
		expect((await loadFolders(config)).folders).toEqual([folder]);
	});

	it('keeps its list for its owner only', async () => {
		await addFolders([folder], { results: false }, config);
		if (process.platform !== 'win32') expect((await stat(join(config, 'folders.json'))).mode & 0o077).toBe(0);
		expect(await readdir(config)).toEqual(expect.not.arrayContaining([expect.stringContaining('.part')]));
	});
});

describe('results', () => {
	it('go into the folder that was chosen, never over anything', async () => {
		await addFolders([folder], { results: false }, config);
		expect(await models().save('a.safetensors', new Uint8Array(4))).toBeNull();
		const results = join(base, 'Lora');
		await addFolders([results], { results: true }, config);
		expect(await models().save('mouth-a.safetensors', new Uint8Array(4))).toBe('mouth-a.safetensors');
		expect(await models().save('mouth-a.safetensors', new Uint8Array(5))).toBe('mouth-a-2.safetensors');
		expect(await models().save('../../../evil', new Uint8Array(6))).toBe('-..-..-evil.safetensors');
		expect((await readdir(results)).sort()).toEqual(['-..-..-evil.safetensors', 'mouth-a-2.safetensors', 'mouth-a.safetensors']);
		expect((await readdir(base)).sort()).toEqual(['Lora', 'Stable-diffusion', 'config']);
	});

	it('have plain names', () => {
		for (const name of ['', '..', 'CON', 'a/b\\c:d', '/etc/passwd', 'x\0y\n', '   .hidden', 'C:\\x', 'é'.repeat(400)]) {
			const plain = plainFileName(name);
			expect(plain).toMatch(/^[^/\\:*?"<>|.\s][^/\\:*?"<>|]*\.safetensors$/);
			expect(plain.length).toBeLessThan(140);
			expect([...plain].every((character) => character >= ' ')).toBe(true);
		}
		expect(plainFileName('口-a.safetensors')).toBe('口-a.safetensors');
	});

	it.skipIf(process.platform === 'win32' || process.getuid?.() === 0)('are refused a folder that cannot be written to', async () => {
		await chmod(folder, 0o500);
		await expect(addFolders([folder], { results: true }, config)).rejects.toMatchObject({ problems: [{ code: 'folder.readOnly' }] });
		await chmod(folder, 0o700);
	});
});

describe('names on the command line', () => {
	it('mean the nearest that fits, and ask when several do', async () => {
		await copyFile(MINI, join(folder, 'anime', 'minimal.safetensors'));
		await addFolders([folder], { results: false }, config);
		const shelf = models();
		const { entries } = await shelf.list();
		const found = (name: string): string[] => entriesNamed(entries, name, 'checkpoint').map((entry) => entry.name);
		expect(found('mini')).toEqual(['anime/mini']);
		expect(found('ANIME\\mini.safetensors')).toEqual(['anime/mini']);
		expect(found('min')).toEqual(['anime/mini', 'anime/minimal']);
		expect(found('mouth')).toEqual([]);
		expect(found('')).toEqual([]);
		expect(await pathByName('minimal', 'checkpoint', '--model', shelf)).toBe(join(folder, 'anime', 'minimal.safetensors'));
		await expect(pathByName('min', 'checkpoint', '--model', shelf)).rejects.toMatchObject({ problems: [{ code: 'model.ambiguous' }] });
		// A path that is there, or looks like one, is never a name.
		expect(await pathByName(MINI, 'checkpoint', '--model', shelf)).toBe(MINI);
		expect(await pathByName('./mini', 'checkpoint', '--model', shelf)).toBe('./mini');
		expect(await pathByName('unknown', 'checkpoint', '--model', shelf)).toBe('unknown');
	});
});

describe('places', () => {
	it('are those of each system', () => {
		expect(configFolder({ XDG_CONFIG_HOME: '/x' }, 'linux', '/home/a')).toBe('/x/utsushi');
		expect(configFolder({ XDG_CONFIG_HOME: 'relative' }, 'linux', '/home/a')).toBe('/home/a/.config/utsushi');
		expect(configFolder({}, 'darwin', '/Users/a')).toBe('/Users/a/Library/Application Support/Utsushi');
		expect(configFolder({ APPDATA: '/a/Roaming' }, 'win32', '/a')).toBe('/a/Roaming/Utsushi');
		expect(configFolder({ UTSUSHI_CONFIG: '/own' }, 'linux', '/home/a')).toBe('/own');
	});

	it('of the usual programs are found', async () => {
		const paths = [
			'stable-diffusion-webui-forge/models/Lora',
			'AI-ComfyUI_windows_portable/ComfyUI/models/checkpoints',
			'StabilityMatrix/Data/Models/StableDiffusion',
			'photos/models/Lora'
		];
		for (const path of paths) await mkdir(join(base, path), { recursive: true });
		const found = await knownFolders([base]);
		expect(found.map(({ path, kind }) => `${path.slice(base.length + 1)} ${kind}`).sort()).toEqual([
			'AI-ComfyUI_windows_portable/ComfyUI/models/checkpoints checkpoints',
			'StabilityMatrix/Data/Models/StableDiffusion checkpoints',
			'stable-diffusion-webui-forge/models/Lora loras'
		]);
	});
});
