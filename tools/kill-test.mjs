/**
 * Kills trainings for real and takes them up again: `node tools/kill-test.mjs [COUNT] [--seed N]` (build first). A small training of the built command line is ended with SIGKILL
 * at a random moment or in the middle of writing a snapshot, goes on with `--resume`, is killed again, up to KILLS_EACH times; then it may end, and every tensor of every file
 * is compared with those of an uninterrupted run. Prints one line a training; exit code 1 when anything differs.
 */
import { encode } from 'fast-png';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '..');
const count = Number(process.argv[2] ?? 10);
let state = Number(process.argv[process.argv.indexOf('--seed') + 1] || 1) >>> 0;

/** Reproducible numbers in [0, 1). */
function random() {
	state = (state * 1664525 + 1013904223) >>> 0;
	return state / 2 ** 32;
}

const PASS = { rank: 4, alpha: 4, convRank: 0, batch: 1, iterations: 5, blocks: ['OUT11'], learningRate: 2e-3, seed: -1 };
const optimizers = ['adamw', 'lion'];
const KILLS_EACH = 6;

/** @param {number} round */
function recipe(round) {
	const pass = { ...PASS, seed: 7, optimizer: { kind: optimizers[round % optimizers.length] } };
	return {
		version: 1,
		name: 'k',
		model: { name: 'mini', family: 'mini', bundled: 'mini' },
		images: { original: { name: 'one', path: 'one.png' }, target: { name: 'two', path: 'two.png' } },
		passes: { copier: pass, difference: { ...pass, seed: 8 } },
		saving: { everySteps: 2, snapshotEvery: 1, keepCopier: true },
		preview: { seeds: [5], strengths: [1], steps: 1, every: 0 },
		probe: { every: 0 }
	};
}

/**
 * Small, so that a step takes next to nothing.
 * @param {number} seed
 */
function picture(seed) {
	const data = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => 128 + 100 * Math.sin(seed * i * 0.01));
	return encode({ width: 64, height: 64, data, channels: 3, depth: 8 });
}

/**
 * @typedef {{ code: number | null, signal: NodeJS.Signals | null, text: string }} Ended
 * @typedef {{ child: import('node:child_process').ChildProcess, trains: Promise<unknown>, says: (n: number) => Promise<unknown>, ended: Promise<Ended> }} Run
 */

/**
 * @param {string[]} words
 * @returns {Run}
 */
function start(words) {
	const child = spawn(process.execPath, ['bin/utsushi.mjs', 'train', ...words, '--json'], { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
	let text = '';
	let lines = 0;
	/** @type {(value?: unknown) => void} */
	let training = () => undefined;
	const trains = new Promise((done) => (training = done));
	child.stdout.on('data', (data) => {
		text += data.toString();
		lines = text.split('\n').length - 1;
		if (text.includes('"type":"progress"')) training();
	});
	/** @type {Promise<Ended>} */
	const ended = new Promise((done) => child.once('close', (code, signal) => done({ code, signal, text })));
	/** @param {number} n lines of its output, each an event */
	const says = async (n) => {
		while (lines < n && child.exitCode === null && child.signalCode === null) await new Promise((later) => setTimeout(later, 5));
	};
	return { child, trains: Promise.race([trains, ended]), says, ended };
}

/**
 * Every tensor's bytes by file: metadata holds times, which differ.
 * @param {string} out
 */
async function results(out) {
	/** @type {Record<string, string>} */
	const found = {};
	for (const name of await readdir(out)) {
		if (!name.endsWith('.safetensors')) continue;
		const bytes = await readFile(join(out, name));
		const header = Number(bytes.readBigUInt64LE(0));
		found[name] = createHash('sha256')
			.update(bytes.subarray(8 + header))
			.digest('hex');
	}
	return found;
}

/** @param {string} folder */
async function files(folder) {
	const names = await readdir(folder, { recursive: true }).catch(() => []);
	return names.filter((name) => name.endsWith('.snapshot')).map((name) => join(folder, name));
}

/**
 * Kills the process while a snapshot is being written: as soon as one of the files is seen shorter than it was, for the n-th time.
 * @param {Run} run
 * @param {string} out
 * @param {number} n
 */
async function killWhileWriting(run, out, n) {
	const sizes = new Map();
	let over = false;
	void run.ended.then(() => (over = true));
	while (!over) {
		for (const file of await files(join(out, '.utsushi'))) {
			const { size } = await stat(file).catch(() => ({ size: 0 }));
			const before = sizes.get(file);
			if (before !== undefined && size < before && --n === 0) {
				run.child.kill('SIGKILL');
				return true;
			}
			sizes.set(file, size);
		}
		await new Promise((done) => setTimeout(done, 1));
	}
	return false;
}

/**
 * Half of the time while a snapshot is written, else behind any event of a whole run (a busy computer stretches seconds, not events) and a little later.
 * @param {Run} run
 * @param {string} out
 * @param {number} events of a whole run
 */
async function kill(run, out, events) {
	if (random() < 0.5) {
		await run.trains;
		return (await killWhileWriting(run, out, 1 + Math.floor(random() * 3))) ? 'while writing' : 'too late';
	}
	const at = Math.floor(random() * events);
	await run.says(at);
	await new Promise((done) => setTimeout(done, random() * 300));
	run.child.kill('SIGKILL');
	return `behind event ${at}`;
}

const folder = await mkdtemp(join(tmpdir(), 'utsushi-kill-'));
let wrong = 0;
let writing = 0;
let kills = 0;
let trainings = 0;
try {
	/** @type {Record<string, string>[]} */
	const whole = [];
	await writeFile(join(folder, 'one.png'), picture(1));
	await writeFile(join(folder, 'two.png'), picture(2));
	let events = 0;
	for (const i of optimizers.keys()) {
		const out = join(folder, `whole-${i}`);
		await writeFile(join(folder, `recipe-${i}.json`), JSON.stringify(recipe(i)));
		const { code, text } = await start([join(folder, `recipe-${i}.json`), '--out', out]).ended;
		if (code !== 0) throw new Error(`The uninterrupted run ended with ${code}.`);
		events = text.split('\n').length - 1;
		whole.push(await results(out));
	}
	for (let round = 0; kills < count; round++) {
		const which = round % optimizers.length;
		const out = join(folder, `round-${round}`);
		await mkdir(out);
		/** @type {string[]} */
		const story = [];
		/** @type {Ended} */
		let ended = { code: null, signal: null, text: '' };
		for (let attempt = 0; attempt <= KILLS_EACH; attempt++) {
			const known = (await readdir(join(out, '.utsushi')).catch(() => [])).length > 0;
			const run = start(known ? ['--resume', out] : [join(folder, `recipe-${which}.json`), '--out', out]);
			if (attempt < KILLS_EACH && kills < count) {
				const how = await kill(run, out, events);
				ended = await run.ended;
				if (ended.signal === 'SIGKILL' && how === 'while writing') writing++;
				story.push(ended.signal === 'SIGKILL' ? how : 'too late');
			} else ended = await run.ended;
			if (ended.signal !== 'SIGKILL') break;
			kills++;
		}
		const made = await results(out);
		const wanted = whole[which] ?? {};
		// One that was killed after its last file has nothing to go on from: it is made again, and its files get names of their own beside the first ones.
		const same =
			ended.code === 0 &&
			Object.keys(wanted).every((name) => name in made) &&
			Object.entries(made).every(([name, bytes]) => bytes === wanted[name.replace(/-\d+(?=\.safetensors$)/, '')]);
		if (!same) {
			wrong++;
			process.stdout.write(`${ended.text.slice(-600)}\n${JSON.stringify(made)}\n${JSON.stringify(wanted)}\n`);
		}
		trainings++;
		process.stdout.write(`${kills}/${count} ${optimizers[which]}: killed ${story.join(', then ')} → ${same ? 'same bits' : `DIFFERS (code ${ended.code})`}\n`);
		await rm(out, { recursive: true });
	}
} finally {
	await rm(folder, { recursive: true, force: true });
}
process.stdout.write(`${kills} kills in ${trainings} trainings, ${writing} of them while a snapshot was being written; ${wrong} results differ.\n`);
process.exit(wrong > 0 ? 1 : 0);
