/**
 * `node tools/executable.mjs [--out FILE] [--level N]`: Utsushi as one file that needs nothing else: Node itself with everything of a built package inside (command line, app, mini model, Dawn
 * for this platform, ONNX Runtime), made with Node's single executable applications. `--level`: of compression, 1 to 9 (4). Run it after `npm run build`, on the platform it is for.
 *
 * When it is started the first time, it unpacks itself into the user's cache folder, because the operating system loads Dawn from a file; a folder named by the content's hash
 * means that versions stay apart and that what is there is whole. From there it is the very layout of an installed package.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { inject } from 'postject';

const root = fileURLToPath(new URL('..', import.meta.url));
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/** Of large packages only what runs here; everything else whole. */
const ONLY = /** @type {Record<string, (path: string) => boolean>} */ ({
	webgpu: (path) => !path.startsWith('dist/') || path.startsWith(`dist/${process.platform}-${process.platform === 'darwin' ? 'universal' : process.arch}/`),
	'onnxruntime-web': (path) =>
		['package.json', 'LICENSE', 'dist/ort.node.min.mjs', 'dist/ort-wasm-simd-threaded.mjs', 'dist/ort-wasm-simd-threaded.wasm'].includes(path)
});
/** Names of files nobody needs to run anything. */
const SPARE = /\.(map|d\.[cm]?ts|ts|md)$|(^|\/)(test|tests|docs|example|examples|build)\//i;

/** @param {string} folder @returns {string[]} every file below, relative, with `/` */
function filesBelow(folder) {
	return readdirSync(folder, { recursive: true, withFileTypes: true })
		.filter((entry) => entry.isFile())
		.map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
		.sort();
}

/** @param {string} name @param {string} from folder of the package that needs it @returns {string | undefined} */
function packageFolder(name, from) {
	for (let at = from; ; at = dirname(at)) {
		const found = join(at, 'node_modules', name);
		if (existsSync(join(found, 'package.json'))) return found;
		if (at === dirname(at)) return undefined;
	}
}

/** @param {string} path @returns {{ dependencies?: Record<string, string> }} */
const manifest = (path) => JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));

/** The packages the built command line imports, and theirs. @returns {string[]} folders */
function packagesNeeded() {
	const cli = join(root, 'dist', 'cli');
	const wanted = new Set();
	for (const file of filesBelow(cli)) {
		for (const [, name = ''] of readFileSync(join(cli, file), 'utf8').matchAll(/(?:from|import\()\s*["']([^."'][^"']*)["']/g)) {
			const [scope = '', rest = ''] = name.split('/');
			wanted.add(scope.startsWith('@') ? `${scope}/${rest}` : scope);
		}
	}
	const { dependencies = {} } = manifest(root);
	const folders = new Set();
	/** @param {string} folder */
	const add = (folder) => {
		if (folders.has(folder)) return;
		folders.add(folder);
		for (const name of Object.keys(manifest(folder).dependencies ?? {})) {
			const found = packageFolder(name, folder);
			if (found) add(found);
		}
	};
	for (const name of Object.keys(dependencies)) {
		const found = packageFolder(name, root);
		if (wanted.has(name) && found) add(found);
	}
	return [...folders];
}

/** Path in the package → file on this disk. */
function contents() {
	/** @type {Map<string, string>} */
	const files = new Map();
	for (const folder of ['bin', 'dist/app', 'dist/cli'])
		for (const file of filesBelow(join(root, folder))) files.set(`${folder}/${file}`, join(root, folder, file));
	for (const file of ['package.json', 'LICENSE', 'THIRD_PARTY_NOTICES.md']) files.set(file, join(root, file));
	for (const folder of packagesNeeded()) {
		const place = relative(root, folder).split(sep).join('/');
		const name = place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length);
		for (const file of filesBelow(folder)) {
			if (file.startsWith('node_modules/')) continue; // it comes as a package of its own
			const taken = ONLY[name] ? ONLY[name](file) : !SPARE.test(file) || /licen[cs]e/i.test(file);
			if (taken) files.set(`${place}/${file}`, join(folder, file));
		}
	}
	return files;
}

/** u32 length of an index, the index (JSON: path and size), the files one after the other; gzipped. @param {number} level */
function payload(level) {
	const files = [...contents()].map(([path, file]) => ({ path, bytes: readFileSync(file) }));
	files.push({ path: 'start.cjs', bytes: Buffer.from(START) });
	const index = Buffer.from(JSON.stringify(files.map(({ path, bytes }) => [path, bytes.length])));
	const length = Buffer.alloc(4);
	length.writeUInt32LE(index.length);
	return gzipSync(Buffer.concat([length, index, ...files.map(({ bytes }) => bytes)]), { level });
}

/** What the executable runs first: unpack unless that was done, then go on as an installed package. Runs as CommonJS inside of the executable. */
const STARTER = `
const { getRawAsset, getAsset } = require('node:sea');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const zlib = require('node:zlib');
const { createRequire } = require('node:module');

const hash = getAsset('hash', 'utf8');
const home = os.homedir();
function cacheFolder() {
	if (process.env.UTSUSHI_CACHE) return path.resolve(process.env.UTSUSHI_CACHE);
	if (process.platform === 'win32') return path.join(process.env.LOCALAPPDATA || path.join(home, 'AppData', 'Local'), 'Utsushi');
	if (process.platform === 'darwin') return path.join(home, 'Library', 'Caches', 'Utsushi');
	const xdg = process.env.XDG_CACHE_HOME;
	return path.join(xdg && path.isAbsolute(xdg) ? xdg : path.join(home, '.cache'), 'utsushi');
}
function unpack(to) {
	const all = zlib.gunzipSync(Buffer.from(getRawAsset('payload')));
	const size = all.readUInt32LE(0);
	let at = 4 + size;
	for (const [name, bytes] of JSON.parse(all.toString('utf8', 4, at))) {
		const file = path.join(to, name);
		fs.mkdirSync(path.dirname(file), { recursive: true });
		fs.writeFileSync(file, all.subarray(at, at + bytes));
		at += bytes;
	}
}
function place() {
	try {
		const base = cacheFolder();
		const folder = path.join(base, hash);
		if (fs.existsSync(folder)) return folder;
		fs.mkdirSync(base, { recursive: true, mode: 0o700 });
		const aside = fs.mkdtempSync(path.join(base, '.unpacking-'));
		try {
			unpack(aside);
			fs.renameSync(aside, folder);
		} catch (error) {
			fs.rmSync(aside, { recursive: true, force: true });
			// Another start may have been faster.
			if (!fs.existsSync(folder)) throw error;
		}
		return folder;
	} catch (error) {
		console.error('Utsushi could not unpack itself (' + error.message + '). It needs about 150 MB in ' + cacheFolder() + '; UTSUSHI_CACHE=FOLDER names another place.');
		process.exit(1);
	}
}
const folder = place();
createRequire(path.join(folder, 'package.json'))(path.join(folder, 'start.cjs'));
`;

/** The first file outside of the executable: from here on `import()` works. */
const START = `import(require('node:url').pathToFileURL(require('node:path').join(__dirname, 'bin', 'utsushi.mjs')).href).catch((error) => {
	console.error(error);
	process.exit(1);
});
`;

async function main() {
	const { values } = parseArgs({ options: { out: { type: 'string' }, level: { type: 'string', default: '4' } } });
	const ending = process.platform === 'win32' ? '.exe' : '';
	const out = resolve(values.out ?? join(root, 'dist', 'bin', `utsushi-${process.platform}-${process.arch}${ending}`));
	for (const needed of ['dist/app/index.html', 'dist/cli/cli.js'])
		if (!existsSync(join(root, needed))) throw new Error(`${needed} is missing. Run “npm run build” first.`);
	const work = mkdtempSync(join(tmpdir(), 'utsushi-executable-'));
	try {
		const packed = payload(Number(values.level));
		writeFileSync(join(work, 'payload.gz'), packed);
		writeFileSync(join(work, 'hash'), createHash('sha256').update(packed).digest('hex').slice(0, 24));
		writeFileSync(join(work, 'start.cjs'), STARTER);
		const config = {
			main: join(work, 'start.cjs'),
			output: join(work, 'blob'),
			disableExperimentalSEAWarning: true,
			assets: { payload: join(work, 'payload.gz'), hash: join(work, 'hash') }
		};
		writeFileSync(join(work, 'config.json'), JSON.stringify(config));
		execFileSync(process.execPath, ['--experimental-sea-config', join(work, 'config.json')], { stdio: ['ignore', 'ignore', 'inherit'] });
		mkdirSync(dirname(out), { recursive: true });
		const executable = join(work, 'executable');
		copyFileSync(process.execPath, executable);
		chmodSync(executable, 0o755);
		if (process.platform === 'darwin') execFileSync('codesign', ['--remove-signature', executable]);
		await inject(executable, 'NODE_SEA_BLOB', readFileSync(join(work, 'blob')), {
			sentinelFuse: FUSE,
			...(process.platform === 'darwin' ? { machoSegmentName: 'NODE_SEA' } : {})
		});
		if (process.platform === 'darwin') execFileSync('codesign', ['--sign', '-', executable]);
		copyFileSync(executable, out);
		chmodSync(out, 0o755);
		console.log(`${out} (${Math.round(statSync(out).size / 1e6)} MB)`);
	} finally {
		rmSync(work, { recursive: true, force: true });
	}
}

await main();
