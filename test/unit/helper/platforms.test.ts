/** What differs between Windows, macOS and Linux, with the system given: where programs lie, what opens a browser, what is inside of a folder. Paths of one's own: `models.test.ts`, `pairing.test.ts`. */
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, test } from 'vitest';
import { installationAt } from '../../../src/helper/installation';
import { usualPlaces } from '../../../src/helper/knownFolders';
import { isWithin } from '../../../src/helper/models';
import { browserCommand } from '../../../src/helper/openBrowser';

it.each([
	['win32', 'rundll32.exe'],
	['darwin', 'open'],
	['linux', 'xdg-open'],
	['freebsd', 'xdg-open']
])('on %s the browser is opened by %s, which gets the address as one word', (platform, command) => {
	const url = 'http://127.0.0.1:5757/#helper?code=ABCD-EFGH&x=%20;"';
	const found = browserCommand(url, platform);
	expect(found.command).toBe(command);
	expect(found.words.at(-1)).toBe(url);
	// Neither a shell nor a program that reads words as one.
	expect(found.words.join(' ')).not.toMatch(/cmd|\/c|start |explorer/);
});

test('what is inside of a folder, on drives of Windows and elsewhere', () => {
	expect(isWithin('D:\\models\\a.safetensors', 'D:\\models', '\\')).toBe(true);
	expect(isWithin('D:\\models', 'D:\\models', '\\')).toBe(true);
	// A drive is a folder too, and ends with the sign already.
	expect(isWithin('D:\\a.safetensors', 'D:\\', '\\')).toBe(true);
	expect(isWithin('D:\\models-of-others\\a.safetensors', 'D:\\models', '\\')).toBe(false);
	expect(isWithin('C:\\models\\a.safetensors', 'D:\\models', '\\')).toBe(false);
	expect(isWithin('\\\\server\\share\\a.safetensors', '\\\\server\\share', '\\')).toBe(true);
	expect(isWithin('\\\\server\\share2\\a.safetensors', '\\\\server\\share', '\\')).toBe(false);
	expect(isWithin('/a/models/x', '/a/models', '/')).toBe(true);
	expect(isWithin('/a/models2/x', '/a/models', '/')).toBe(false);
	expect(isWithin('/x', '/', '/')).toBe(true);
});

test('programs are looked for where people put them on each system', async () => {
	const windows = await usualPlaces('win32', 'C:\\Users\\a');
	expect(windows).toContain('D:\\');
	expect(windows.some((place) => /AppData.Roaming$/.test(place))).toBe(true);
	expect(windows.some((place) => place.startsWith('/'))).toBe(false);
	expect(await usualPlaces('darwin', '/Users/a')).toEqual(expect.arrayContaining(['/Applications', '/Users/a/Applications', '/Users/a/Documents']));
	const linux = await usualPlaces('linux', '/home/a');
	expect(linux).toEqual(expect.arrayContaining(['/opt', '/home/a/.local/share']));
	expect(linux.some((place) => place.includes('\\') || place === '/Applications')).toBe(false);
});

test('a package reached through a link, as npm installs commands, finds its parts', async () => {
	const folder = await mkdtemp(join(tmpdir(), 'utsushi-link-'));
	try {
		await writeFile(join(folder, 'package.json'), JSON.stringify({ version: '1.2.3' }));
		// A junction on Windows, where links need rights.
		await symlink(folder, join(folder, 'link'), 'junction');
		const found = installationAt(join(folder, 'link'));
		expect(found.version).toBe('1.2.3');
		expect(found.bundled('models/mini.safetensors')).toBe(join(folder, 'link', 'public', 'models/mini.safetensors'));
	} finally {
		await rm(folder, { recursive: true, force: true });
	}
});
