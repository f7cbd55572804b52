import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseArguments } from '../../../src/helper/arguments';
import { dataFolder, ownFolder, writeAccess } from '../../../src/helper/dataFolder';
import { pair, type PairCommand } from '../../../src/helper/pair';
import { Pairings, plainOrigin } from '../../../src/helper/pairing';

let folder: string;
let now = 1_000_000;
beforeEach(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-pairing-'));
	now = 1_000_000;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (): Pairings => new Pairings(folder, () => now);
const ORIGIN = 'http://127.0.0.1:5757';
const codeOf = async (work: ReturnType<Pairings['redeem']>): Promise<string> => {
	const result = await work;
	return 'problem' in result ? result.problem.code : 'paired';
};

describe('pairing', () => {
	it('exchanges a code for a token once, however it is typed, and keeps neither', async () => {
		const [helper, terminal] = [open(), open()];
		const code = await terminal.newCode();
		expect(code).toMatch(/^[A-HJ-NP-Z2-9]{4}-[A-HJ-NP-Z2-9]{4}$/);
		const result = await helper.redeem(` ${code.toLowerCase().replace('-', ' ')} `, ORIGIN);
		if ('problem' in result) throw new Error(result.problem.code);
		expect(await codeOf(helper.redeem(code, ORIGIN))).toBe('pairing.code');
		expect((await helper.find(result.token, ORIGIN))?.id).toBe(result.pairing.id);
		expect(await helper.find(result.token, 'http://localhost:5757')).toBeUndefined();
		expect(await helper.find(result.token.slice(1), ORIGIN)).toBeUndefined();
		const text = await readFile(join(folder, 'pairings.json'), 'utf8');
		expect(text).not.toContain(result.token);
		expect(text).not.toContain(code.slice(0, 4));
		expect((await stat(join(folder, 'pairings.json'))).mode & 0o077).toBe(0);
	});

	it('of two who give the same code at once, one gets a token', async () => {
		const helper = open();
		const code = await helper.newCode();
		const results = await Promise.all([codeOf(helper.redeem(code, ORIGIN)), codeOf(helper.redeem(code, ORIGIN)), codeOf(open().redeem(code, ORIGIN))]);
		expect(results.filter((result) => result === 'paired').length).toBe(1);
	});

	it('lets a code grow old', async () => {
		const helper = open();
		const code = await helper.newCode();
		now += 10 * 60_000 + 1;
		expect(await codeOf(helper.redeem(code, ORIGIN))).toBe('pairing.code');
	});

	it('lets nobody guess: after five wrong codes it pauses, and the right one is void', async () => {
		const helper = open();
		const code = await helper.newCode();
		for (let i = 0; i < 5; i++) expect(await codeOf(helper.redeem(`AAAA-AAA${i + 2}`, ORIGIN))).toBe('pairing.code');
		expect(await codeOf(helper.redeem(code, ORIGIN))).toBe('pairing.wait');
		now += 60_001;
		expect(await codeOf(helper.redeem(code, ORIGIN))).toBe('pairing.code');
		expect(await codeOf(helper.redeem(await helper.newCode(), ORIGIN))).toBe('paired');
	});

	it('takes pairings back, one or all, and those of an origin', async () => {
		const helper = open();
		const tokens: string[] = [];
		for (const origin of [ORIGIN, ORIGIN, 'https://a.example']) {
			await helper.allow(origin);
			const result = await helper.redeem(await helper.newCode(), origin);
			tokens.push('token' in result ? result.token : '');
		}
		const [first] = await open().list();
		expect(await open().revoke(first?.id ?? '')).toBe(1);
		expect(await helper.find(tokens[0] ?? '', ORIGIN)).toBeUndefined();
		expect(await helper.find(tokens[1] ?? '', ORIGIN)).toBeDefined();
		await open().disallow('https://a.example');
		expect(await helper.find(tokens[2] ?? '', 'https://a.example')).toBeUndefined();
		expect(await helper.revoke('all')).toBe(1);
		expect(await helper.list()).toEqual([]);
	});

	it('reads a damaged file as none', async () => {
		await writeFile(join(folder, 'pairings.json'), '{"pairings":[{"id":1},null,"x"],"codes":7,"origins":[{}]}');
		expect(await open().list()).toEqual([]);
		expect(await open().origins()).toEqual([]);
		expect(await codeOf(open().redeem(await open().newCode(), ORIGIN))).toBe('paired');
	});

	it.each([
		['https://a.example/page?x#y', 'https://a.example'],
		['http://LOCALHOST:5173', 'http://localhost:5173'],
		['a.example', undefined],
		['file:///etc', undefined],
		['data:text/html,x', undefined],
		['javascript:1', undefined]
	])('takes the origin out of %s', (text, origin) => {
		expect(plainOrigin(text)).toBe(origin);
	});
});

describe('utsushi pair', () => {
	const run = async (...words: string[]): Promise<string> => {
		let out = '';
		const streams = { out: (text: string) => void (out += text), err: () => undefined, terminal: false, columns: () => 80 };
		const installation = { root: '', version: '0', app: '', bundled: () => '' };
		await pair(parseArguments(['pair', ...words]) as PairCommand, { streams, installation, onInterrupt: () => () => undefined }, open());
		return out;
	};

	it('shows codes that work, lists, allows and revokes', async () => {
		expect(await codeOf(open().redeem((await run()).trim(), ORIGIN))).toBe('paired');
		await run('--allow', 'https://a.example/app/');
		const listed = JSON.parse(await run('--list', '--json')) as { pairings: { id: string; origin: string; hash?: string }[]; origins: string[] };
		expect(listed).toMatchObject({ pairings: [{ origin: ORIGIN }], origins: ['https://a.example'] });
		expect(listed.pairings[0]).not.toHaveProperty('hash');
		await run('--revoke', listed.pairings[0]?.id ?? '');
		expect(await open().list()).toEqual([]);
		await expect(run('--revoke', 'nobody')).rejects.toThrow(/no pairing/);
		await expect(run('--allow', 'a.example')).rejects.toThrow(/not the address/);
		expect(() => parseArguments(['pair', '--list', '--revoke', 'x'])).toThrow(/one thing at a time/);
	});
});

describe('the helper’s folder', () => {
	it('is one for each helper that lives, and its access file is for its owner', async () => {
		const [first, second] = [await ownFolder(folder), await ownFolder(folder)];
		expect(second.path).not.toBe(first.path);
		await first.release();
		const third = await ownFolder(folder);
		expect(third.path).toBe(first.path);
		const hide = await writeAccess(third.path, { url: 'ws://x', token: 't' });
		expect((await stat(join(third.path, 'access.json'))).mode & 0o077).toBe(0);
		await hide();
		await third.release();
		// One that died left its lock behind.
		await writeFile(join(third.path, 'helper.pid'), '999999999');
		expect((await ownFolder(folder)).path).toBe(third.path);
	});

	it('follows the custom of each system', () => {
		expect(dataFolder({}, 'linux', '/home/a')).toBe('/home/a/.local/share/utsushi');
		expect(dataFolder({ XDG_DATA_HOME: '/data' }, 'linux', '/home/a')).toBe('/data/utsushi');
		expect(dataFolder({ XDG_DATA_HOME: 'relative' }, 'linux', '/home/a')).toBe('/home/a/.local/share/utsushi');
		expect(dataFolder({ UTSUSHI_CONFIG: '/usb' }, 'linux', '/home/a')).toBe('/usb/data');
		expect(dataFolder({}, 'darwin', '/Users/a')).toBe('/Users/a/Library/Application Support/Utsushi/data');
	});
});
