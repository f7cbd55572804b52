/**
 * Kills trainings for real and takes them up again: `node tools/kill-test.mjs [COUNT] [--seed N]` (build first). Each round starts the same small training with the
 * built command line, ends its process with SIGKILL at a random moment or in the middle of writing a snapshot, goes on with `--resume` (which is killed again now and
 * then) and compares every tensor of every file with those of an uninterrupted run. Prints one line a round; exit code 1 when anything differs.
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

const PASS = { rank: 4, alpha: 4, convRank: 0, batch: 1, iterations: 8, blocks: ['OUT10', 'OUT11'], learningRate: 2e-3, seed: -1 };
const optimizers = ['adamw', 'lion'];

/** @param {number} round */
function recipe(round) {
	const pass = { ...PASS, seed: 7, optimizer: { kind: optimizers[round % optimizers.length] } };
	return {
		version: 1,
		name: 'k',
		model: { name: 'mini', family: 'mini', bundled: 'mini' },
		images: { original: { name: 'one', path: 'one.png' }, target: { name: 'two', path: 'two.png' } },
		passes: { copier: pass, difference: { ...pass, seed: 8 } },
		saving: { everySteps: 3, snapshotEvery: 1, keepCopier: true },
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
 * @typedef {{ child: import('node:child_process').ChildProcess, trains: Promise<unknown>, ended: Promise<Ended> }} Run
 */

/**
 * @param {string[]} words
 * @returns {Run}
 */
function start(words) {
	const child = spawn(process.execPath, ['bin/utsushi.mjs', 'train', ...words, '--json'], { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
	let text = '';
	/** @type {(value?: unknown) => void} */
	let training = () => undefined;
	const trains = new Promise((done) => (training = done));
	child.stdout.on('data', (data) => {
		text += data.toString();
		if (text.includes('"type":"progress"')) training();
	});
	/** @type {Promise<Ended>} */
	const ended = new Promise((done) => child.once('close', (code, signal) => done({ code, signal, text })));
	return { child, trains: Promise.race([trains, ended]), ended };
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
 * Kills the process while a snapshot is being written: as soon as one of the files is seen shorter than it was.
 * @param {Run} run
 * @param {string} out
 */
async function killWhileWriting(run, out) {
	const sizes = new Map();
	let over = false;
	void run.ended.then(() => (over = true));
	while (!over) {
		for (const file of await files(join(out, '.utsushi'))) {
			const { size } = await stat(file).catch(() => ({ size: 0 }));
			const before = sizes.get(file);
			if (before !== undefined && size < before) {
				run.child.kill('SIGKILL');
				return true;
			}
			sizes.set(file, size);
		}
		await new Promise((done) => setImmediate(done));
	}
	return false;
}

/**
 * @param {Run} run
 * @param {string} out
 * @param {number} seconds of a whole run
 */
async function kill(run, out, seconds) {
	if (random() < 0.5) {
		await run.trains;
		return (await killWhileWriting(run, out)) ? 'while writing' : 'too late';
	}
	const at = random() * seconds * 1000;
	await Promise.race([run.ended, new Promise((done) => setTimeout(done, at))]);
	run.child.kill('SIGKILL');
	return `after ${Math.round(at)} ms`;
}

const folder = await mkdtemp(join(tmpdir(), 'utsushi-kill-'));
let wrong = 0;
let writing = 0;
let kills = 0;
try {
	/** @type {Record<string, string>[]} */
	const whole = [];
	await writeFile(join(folder, 'one.png'), picture(1));
	await writeFile(join(folder, 'two.png'), picture(2));
	let seconds = 0;
	for (const i of optimizers.keys()) {
		const out = join(folder, `whole-${i}`);
		await writeFile(join(folder, `recipe-${i}.json`), JSON.stringify(recipe(i)));
		const began = Date.now();
		const { code } = await start([join(folder, `recipe-${i}.json`), '--out', out]).ended;
		if (code !== 0) throw new Error(`The uninterrupted run ended with ${code}.`);
		seconds = (Date.now() - began) / 1000;
		whole.push(await results(out));
	}
	for (let round = 0; round < count; round++) {
		const which = round % optimizers.length;
		const out = join(folder, `round-${round}`);
		await mkdir(out);
		/** @type {string[]} */
		const story = [];
		/** @type {Ended} */
		let ended = { code: null, signal: null, text: '' };
		for (let attempt = 0; attempt < 6; attempt++) {
			const again = await files(join(out, '.utsushi')).then(({ length }) => length > 0);
			const known = attempt > 0 && (again || (await readdir(join(out, '.utsushi')).catch(() => [])).length > 0);
			const run = start(known ? ['--resume', out] : [join(folder, `recipe-${which}.json`), '--out', out]);
			if (attempt < 1 || (attempt < 4 && random() < 0.3)) {
				const how = await kill(run, out, seconds);
				if (how === 'while writing') writing++;
				story.push(how);
			}
			ended = await run.ended;
			if (ended.signal !== 'SIGKILL') break;
			kills++;
		}
		const same = ended.code === 0 && JSON.stringify(await results(out)) === JSON.stringify(whole[which]);
		if (!same) {
			wrong++;
			process.stdout.write(`${ended.text.slice(-600)}\n${JSON.stringify(await results(out))}\n${JSON.stringify(whole[which])}\n`);
		}
		process.stdout.write(
			`${round + 1}/${count} ${optimizers[which]}: killed ${story.join(', then ')} → ${same ? 'same bits' : `DIFFERS (code ${ended.code})`}\n`
		);
		await rm(out, { recursive: true });
	}
} finally {
	await rm(folder, { recursive: true, force: true });
}
process.stdout.write(`${kills} kills in ${count} rounds, ${writing} of them while a snapshot was being written; ${wrong} results differ.\n`);
process.exit(wrong > 0 ? 1 : 0);
