/**
 * What people install: the packed package with nothing but its declared dependencies beside it, and the one-file executable with an empty PATH. Both offline, both outside of
 * this folder. Both serve, which takes the trainer's thread and Dawn; the executable, whose parts are picked one by one, also draws, which takes everything else.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROOT } from '../support/cli';

const run = promisify(execFile);
const MINUTE = 60_000;
const MODEL = join(ROOT, 'public/models/mini.safetensors');

interface Manifest {
	version: string;
	dependencies: Record<string, string>;
}

let folder: string;
let manifest: Manifest;

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-package-'));
	manifest = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Manifest;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Starts the helper, waits for its GPU, fetches the app and ends it. */
async function serves(file: string, words: readonly string[], cwd: string, env: NodeJS.ProcessEnv): Promise<void> {
	const child = spawn(file, [...words, 'serve', '--port', '0'], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
	let text = '';
	const ended = new Promise<number | null>((done) => child.once('close', done));
	const ready = new Promise<void>((done) => {
		for (const stream of [child.stdout, child.stderr])
			stream.on('data', (data: Buffer) => {
				text += data.toString();
				if (/^GPU: \S/m.test(text)) done();
			});
	});
	try {
		expect(await Promise.race([ready.then(() => 'serves'), ended.then(() => text)])).toBe('serves');
		const address = /http:\S+/.exec(text)?.[0] ?? '';
		expect(await (await fetch(address)).text()).toContain('<title>');
	} finally {
		child.kill('SIGTERM');
	}
	expect(await ended).toBe(0);
}

test(
	'the packed package runs with its dependencies only',
	async () => {
		const npm = join(dirname(process.execPath), process.platform === 'win32' ? 'npm.cmd' : 'npm');
		await run(npm, ['pack', ROOT, '--silent', '--ignore-scripts'], { cwd: folder, shell: process.platform === 'win32' });
		const [tarball = ''] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'));
		const modules = join(folder, 'node_modules');
		const own = join(modules, 'utsushi');
		await mkdir(own, { recursive: true });
		await run('tar', ['-xzf', tarball, '--strip-components=1', '-C', own], { cwd: folder });
		expect((await readdir(join(own, 'dist'))).sort()).toEqual(['app', 'cli']);
		for (const name of Object.keys(manifest.dependencies)) {
			await mkdir(dirname(join(modules, name)), { recursive: true });
			await symlink(join(ROOT, 'node_modules', name), join(modules, name), 'junction');
		}
		const utsushi = (...words: string[]) => run(process.execPath, [join(own, 'bin/utsushi.mjs'), ...words], { cwd: folder });
		expect((await utsushi('--version')).stdout.trim()).toBe(manifest.version);
		expect((await utsushi('inspect', MODEL)).stdout).toContain('checkpoint, mini model');
		await serves(process.execPath, [join(own, 'bin/utsushi.mjs')], folder, { ...process.env, UTSUSHI_CONFIG: join(folder, 'config') });
	},
	3 * MINUTE
);

test.skipIf(process.platform !== 'linux')(
	'the executable needs nothing but itself',
	async () => {
		const file = join(folder, 'utsushi');
		await run(process.execPath, [join(ROOT, 'tools/executable.mjs'), '--out', file, '--level', '1'], { cwd: folder });
		const home = join(folder, 'home');
		await mkdir(home);
		const vulkan = Object.fromEntries(Object.entries(process.env).filter(([name]) => /^(VK_|LIBGL|MESA|LD_LIBRARY)/.test(name)));
		const env = { ...vulkan, HOME: home, PATH: '/nonexistent' };
		const utsushi = (...words: string[]) => run(file, words, { cwd: home, env });
		expect((await utsushi('--version')).stdout.trim()).toBe(manifest.version);
		const unpacked = await readdir(join(home, '.cache/utsushi'));
		expect(unpacked).toEqual([expect.stringMatching(/^[0-9a-f]{24}$/)]);
		await serves(file, [], home, env);
		await utsushi('sample', '--steps', '1', '--size', '64x64', '--out', 'a.png');
		expect((await readFile(join(home, 'a.png'))).subarray(1, 4).toString()).toBe('PNG');
		expect(await readdir(join(home, '.cache/utsushi'))).toEqual(unpacked);
	},
	4 * MINUTE
);
