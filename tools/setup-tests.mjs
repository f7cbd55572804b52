/**
 * What the tests need beside npm packages: a Chromium, a Vulkan adapter that Dawn accepts (Mesa's lavapipe 24 or newer where there is no
 * GPU) and a font with Japanese. On Debian and Ubuntu, as root, what is missing is installed with apt; elsewhere it is named, and the
 * exit status is 1. With everything in place this takes a second. `--dry-run` only says what would be done.
 *
 * Debian 12's own Mesa is too old; its backports have a newer one. For that a backports source is derived from the machine's own
 * sources (same addresses and keys) in a temporary folder that only the two apt calls here see.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deriveBackports, hasSuite, parseDeb822, parseOneLine } from './apt-sources.mjs';
import { findChromium } from './chromium.mjs';

const APT = '/etc/apt';
const MESA = 'mesa-vulkan-drivers';
const OLDEST_MESA = 24;
const dryRun = process.argv.includes('--dry-run');

/** In a process of its own: a driver that cannot be used may take its process along. */
const PROBE = `
	import { create } from 'webgpu';
	const adapter = await create([]).requestAdapter();
	if (adapter) console.log('adapter=' + (adapter.info.description || adapter.info.device));
	process.exit(adapter ? 0 : 1);
`;

/** @param {string} command @param {string[]} args @returns {string} what it printed; empty when it could not be run */
function ask(command, args) {
	const result = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 60_000, env: { ...process.env, LC_ALL: 'C' } });
	return result.status === 0 ? result.stdout : '';
}

/** @param {string} command @param {string[]} args */
function perform(command, args) {
	console.log(`+ ${command} ${args.join(' ')}`);
	if (dryRun) return true;
	const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
	return spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'], env, timeout: 900_000 }).status === 0;
}

/** @returns {string | undefined} the adapter's description */
function findAdapter() {
	const root = fileURLToPath(new URL('..', import.meta.url));
	const result = spawnSync(process.execPath, ['--input-type=module', '-e', PROBE], { cwd: root, encoding: 'utf8', timeout: 60_000 });
	return /^adapter=(.*)$/m.exec(result.stdout)?.[1];
}

function look() {
	const hasFont = process.platform !== 'linux' || ask('fc-list', [':lang=ja', 'family']).trim() !== '';
	return { chromium: findChromium(), adapter: findAdapter(), font: hasFont };
}

/** @param {ReturnType<typeof look>} state */
function missing(state) {
	return [
		...(state.chromium ? [] : ['Chromium (or set UTSUSHI_CHROMIUM to the path of a Chrome or Chromium)']),
		...(state.adapter ? [] : [`a GPU adapter that Dawn accepts: a Vulkan, Metal or D3D12 driver, or Mesa's lavapipe ${OLDEST_MESA} or newer (${MESA})`]),
		...(state.font ? [] : ['a font with Japanese, e.g. Noto Sans CJK (fonts-noto-cjk)'])
	];
}

/** @param {string} name of a package @returns {string} the version apt would install; empty when there is none */
function candidate(name) {
	const version = /Candidate:\s*(\S+)/.exec(ask('apt-cache', ['policy', name]))?.[1] ?? '';
	return version === '(none)' ? '' : version;
}

function readSources() {
	/** @type {ReturnType<typeof parseDeb822>} */
	const sources = [];
	const parts = join(APT, 'sources.list.d');
	const files = [join(APT, 'sources.list'), ...(existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : [])];
	for (const file of files.filter((path) => existsSync(path))) {
		if (file.endsWith('.list')) sources.push(...parseOneLine(readFileSync(file, 'utf8')));
		else if (file.endsWith('.sources')) sources.push(...parseDeb822(readFileSync(file, 'utf8')));
	}
	return sources;
}

/** Newer Mesa from the release's backports. */
function installFromBackports() {
	const codename = /^VERSION_CODENAME="?([^"\n]+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
	const suite = `${codename}-backports`;
	const sources = readSources();
	const folder = mkdtempSync(join(tmpdir(), 'utsushi-apt-'));
	try {
		/** @type {string[]} */
		let options = [];
		if (!hasSuite(sources, suite)) {
			const text = deriveBackports(sources, codename);
			if (!text) return false;
			const parts = join(folder, 'sources.list.d');
			if (existsSync(join(APT, 'sources.list.d'))) cpSync(join(APT, 'sources.list.d'), parts, { recursive: true });
			else mkdirSync(parts);
			writeFileSync(join(parts, 'utsushi-backports.sources'), text);
			console.log(`Asking for ${suite} at the addresses of ${codename}.`);
			options = ['-o', `Dir::Etc::SourceParts=${parts}`];
			if (!perform('apt-get', ['update', '-o', 'Acquire::Retries=3', ...options])) return false;
		}
		return perform('apt-get', ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', ...options, '-t', suite, MESA]);
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
}

/** @param {ReturnType<typeof look>} state */
function install(state) {
	// A source that fails to answer is not yet a reason to stop: the packages may come from another one.
	perform('apt-get', ['update', '-o', 'Acquire::Retries=3']);
	const packages = [];
	const chromiumVersion = candidate('chromium');
	// Ubuntu's package is only a pointer to a snap, which containers cannot run.
	const packaged = chromiumVersion !== '' && !chromiumVersion.includes('snap');
	if (!state.chromium && packaged) packages.push('chromium');
	if (!state.font) packages.push('fontconfig', 'fonts-noto-cjk');
	let backports = false;
	if (!state.adapter) {
		packages.push('libvulkan1');
		if (Number.parseInt(candidate(MESA), 10) >= OLDEST_MESA) packages.push(MESA);
		else backports = true;
	}
	if (packages.length > 0) perform('apt-get', ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', ...packages]);
	if (backports && !installFromBackports()) console.log(`${MESA} ${OLDEST_MESA} or newer could not be had from the backports of this release.`);
	if (!state.chromium && !packaged) {
		const cli = fileURLToPath(new URL('../node_modules/playwright-core/cli.js', import.meta.url));
		perform(process.execPath, [cli, 'install', '--with-deps', 'chromium']);
	}
}

let state = look();
if (missing(state).length > 0 && process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
	console.log(`Missing:\n${missing(state).join('\n')}`);
	install(state);
	state = look();
}
const open = missing(state);
if (open.length > 0) {
	console.error(`The tests need, please install:\n${open.map((line) => `  - ${line}`).join('\n')}`);
	console.error('On Debian or Ubuntu, run this once as root and it installs them: node tools/setup-tests.mjs');
	process.exit(1);
}
console.log(`Chromium: ${state.chromium}\nAdapter:  ${state.adapter}`);
