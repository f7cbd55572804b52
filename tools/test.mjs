/**
 * `npm test`: everything, one stage after another (the quiet gates, which use one core each, two at a time), with the time of each; ends with the names of what
 * failed and `N passed, M failed`, counted from vitest's own reports (a gate that fails, e.g. lint, counts as one failure). A failed gate does not hide the
 * others. `npm test -- unit gpu` runs only those stages.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const reports = join(root, '.cache', 'reports');

/**
 * @typedef {{ name: string, commands: string[][], minutes: number, report?: string, needs?: string, quiet?: boolean }} Stage
 * commands run one after another; a quiet stage shows its output only when it fails and runs beside its quiet neighbours; needs: another stage that must not have failed.
 */

/** @param {string} file @param {string[]} args a command line tool of a package, without a shell in between */
const tool = (file, ...args) => [process.execPath, join('node_modules', file), ...args];

/** @param {string} project @param {number} minutes @param {string} [needs] @returns {Stage} */
const vitest = (project, minutes, needs = 'setup') => {
	const report = join(reports, `${project}.json`);
	const args = ['run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
	return { name: project, commands: [tool('vitest/vitest.mjs', ...args)], minutes, report, needs };
};

/** @type {Stage[]} */
const STAGES = [
	{ name: 'setup', commands: [[process.execPath, 'tools/setup-tests.mjs']], minutes: 20 },
	{ name: 'lint', commands: [tool('eslint/bin/eslint.js', '.')], minutes: 5, quiet: true },
	{ name: 'format', commands: [tool('prettier/bin/prettier.cjs', '--check', '.', '--log-level', 'warn')], minutes: 3, quiet: true },
	{ name: 'types', commands: [tool('typescript/bin/tsc', '-p', '.')], minutes: 5, quiet: true },
	{
		name: 'svelte',
		commands: [tool('svelte-check/bin/svelte-check', '--tsconfig', './tsconfig.json', '--fail-on-warnings', '--output', 'human')],
		minutes: 5,
		quiet: true
	},
	{ name: 'unused', commands: [tool('knip/bin/knip.js')], minutes: 3, quiet: true },
	vitest('unit', 12),
	vitest('gpu', 25),
	{
		name: 'build',
		commands: [tool('vite/bin/vite.js', 'build', '--logLevel', 'warn'), tool('vite/bin/vite.js', 'build', '--logLevel', 'warn', '--ssr', 'src/helper/cli.ts')],
		minutes: 4
	},
	vitest('e2e', 20, 'build')
];

/** @param {string[]} command @param {number} minutes @param {boolean} quiet @returns {Promise<{ ok: boolean, output: string }>} */
function run([file = '', ...args], minutes, quiet) {
	return new Promise((resolve) => {
		// A group of its own, so that a stage that hangs can be ended together with the browsers and workers it started.
		const child = spawn(file, args, {
			cwd: root,
			stdio: ['ignore', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'],
			detached: process.platform !== 'win32'
		});
		let output = '';
		const end = () => {
			try {
				if (child.pid !== undefined) process.kill(process.platform === 'win32' ? child.pid : -child.pid, 'SIGKILL');
			} catch {
				// It ended by itself in the meantime.
			}
		};
		let late = false;
		const timer = setTimeout(() => {
			late = true;
			console.log(`This took more than ${minutes} minutes; stopped.`);
			end();
		}, minutes * 60_000);
		process.once('SIGINT', end);
		child.stdout?.on('data', (data) => (output += data));
		child.stderr?.on('data', (data) => (output += data));
		/** @param {boolean} ok */
		const done = (ok) => {
			clearTimeout(timer);
			process.off('SIGINT', end);
			resolve({ ok: ok && !late, output });
		};
		child.once('error', (error) => {
			output += String(error);
			done(false);
		});
		child.once('close', (code) => done(code === 0));
	});
}

/**
 * @typedef {{ status: string, fullName: string, failureMessages: string[] }} Test
 * @typedef {{ status: string, name: string, message: string, assertionResults: Test[] }} File
 */

/** @param {string} path @returns {{ passed: number, failures: string[] }} a test file that could not even be loaded counts as a failure */
function count(path) {
	/** @type {{ numPassedTests: number, testResults: File[] }} */
	const report = JSON.parse(readFileSync(path, 'utf8'));
	const failures = report.testResults.flatMap(({ status, name, message, assertionResults }) => {
		const file = relative(root, name);
		const tests = assertionResults.filter((test) => test.status === 'failed').map((test) => [`${file} > ${test.fullName}`, test.failureMessages[0] ?? '']);
		return status === 'failed' && tests.length === 0 ? [[file, message]] : tests;
	});
	return { passed: report.numPassedTests, failures: failures.map(([name = '', message = '']) => `${name}\n  ${message.split('\n')[0] ?? ''}`) };
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !STAGES.some((stage) => stage.name === name));
if (unknown.length > 0) {
	console.error(`No such stage: ${unknown.join(', ')}. There are: ${STAGES.map((stage) => stage.name).join(', ')}.`);
	process.exit(2);
}
rmSync(reports, { recursive: true, force: true });
mkdirSync(reports, { recursive: true });

let passed = 0;
/** What failed, by name. @type {string[]} */
const failed = [];
/** @type {{ name: string, seconds: number, verdict: string }[]} */
const table = [];
/** @type {Set<string>} */
const bad = new Set();

/** @param {Stage} stage */
async function perform(stage) {
	if (stage.needs !== undefined && bad.has(stage.needs)) {
		table.push({ name: stage.name, seconds: 0, verdict: `not run: ${stage.needs} failed` });
		bad.add(stage.name);
		failed.push(`${stage.name} (not run)`);
		return;
	}
	console.log(`\n── ${stage.name}`);
	const start = performance.now();
	let ok = true;
	for (const command of stage.commands) {
		const result = await run(command, stage.minutes, stage.quiet === true);
		if (!result.ok) console.log(result.output);
		ok &&= result.ok;
		if (!ok) break;
	}
	let verdict = ok ? 'ok' : 'FAILED';
	/** @type {string[]} */
	let failures = [];
	if (stage.report !== undefined) {
		try {
			const counted = count(stage.report);
			passed += counted.passed;
			failures = counted.failures;
			verdict = `${counted.passed} passed${failures.length > 0 ? `, ${failures.length} FAILED` : ''}`;
			if (counted.passed === 0) ok = false;
		} catch {
			ok = false;
			verdict = 'FAILED: no report';
		}
	}
	if (!ok && failures.length === 0) failures.push(stage.report === undefined ? stage.name : `${stage.name} (ended badly outside of its tests, see its output)`);
	if (failures.length > 0) bad.add(stage.name);
	failed.push(...failures);
	table.push({ name: stage.name, seconds: (performance.now() - start) / 1000, verdict });
}

const started = performance.now();
const open = STAGES.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
for (let stage = open.shift(); stage; stage = open.shift()) {
	if (stage.quiet !== true) {
		await perform(stage);
		continue;
	}
	/** @type {Stage[]} */
	const gates = [stage];
	while (open[0]?.quiet === true) gates.push(...open.splice(0, 1));
	const lane = async () => {
		for (let gate = gates.shift(); gate; gate = gates.shift()) await perform(gate);
	};
	await Promise.all([lane(), lane()]);
}

console.log('');
for (const { name, seconds, verdict } of table) console.log(`${name.padEnd(8)}${seconds.toFixed(1).padStart(8)} s  ${verdict}`);
console.log(`${'total'.padEnd(8)}${((performance.now() - started) / 1000).toFixed(1).padStart(8)} s\n`);
for (const name of failed) console.log(`FAILED: ${name}`);
console.log(`${passed} passed, ${failed.length} failed`);
process.exit(failed.length > 0 ? 1 : 0);
