/**
 * `npm test`: everything, one stage after another, with the time of each; ends with `N passed, M failed`, counted from vitest's own
 * reports (a gate that fails, e.g. lint, counts as one failure). A failed gate does not hide the others. `npm test -- unit gpu` runs only those stages.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const reports = join(root, '.cache', 'reports');

/**
 * @typedef {{ name: string, commands: string[][], minutes: number, report?: string, needs?: string, quiet?: boolean }} Stage
 * commands run one after another; a quiet stage shows its output only when it fails; needs: another stage that must not have failed.
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
	{ name: 'format', commands: [tool('prettier/bin/prettier.cjs', '--check', '.', '--log-level', 'warn')], minutes: 3, quiet: true },
	{ name: 'lint', commands: [tool('eslint/bin/eslint.js', '.')], minutes: 5, quiet: true },
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

/** @param {string} path @returns {{ passed: number, failed: number }} a test file that could not even be loaded counts as a failure */
function count(path) {
	/** @type {{ numPassedTests: number, numFailedTests: number, testResults: { status: string, assertionResults: { status: string }[] }[] }} */
	const report = JSON.parse(readFileSync(path, 'utf8'));
	const broken = report.testResults.filter((file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'));
	return { passed: report.numPassedTests, failed: report.numFailedTests + broken.length };
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !STAGES.some((stage) => stage.name === name));
if (unknown.length > 0) {
	console.error(`No such stage: ${unknown.join(', ')}. There are: ${STAGES.map((stage) => stage.name).join(', ')}.`);
	process.exit(2);
}
rmSync(reports, { recursive: true, force: true });
mkdirSync(reports, { recursive: true });

const sum = { passed: 0, failed: 0 };
/** @type {{ name: string, seconds: number, verdict: string }[]} */
const table = [];
/** @type {Set<string>} */
const bad = new Set();

for (const stage of STAGES) {
	if (wanted.length > 0 && !wanted.includes(stage.name)) continue;
	if (stage.needs !== undefined && bad.has(stage.needs)) {
		table.push({ name: stage.name, seconds: 0, verdict: `not run: ${stage.needs} failed` });
		bad.add(stage.name);
		sum.failed++;
		continue;
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
	let failed = ok ? 0 : 1;
	let verdict = ok ? 'ok' : 'FAILED';
	if (stage.report !== undefined) {
		try {
			const counted = count(stage.report);
			sum.passed += counted.passed;
			failed = Math.max(failed, counted.failed);
			verdict = `${counted.passed} passed${failed > 0 ? `, ${failed} FAILED` : ''}`;
			if (counted.passed === 0) failed = Math.max(failed, 1);
		} catch {
			failed = 1;
			verdict = 'FAILED: no report';
		}
	}
	if (failed > 0) bad.add(stage.name);
	sum.failed += failed;
	table.push({ name: stage.name, seconds: (performance.now() - start) / 1000, verdict });
}

console.log('');
for (const { name, seconds, verdict } of table) console.log(`${name.padEnd(8)}${seconds.toFixed(1).padStart(8)} s  ${verdict}`);
console.log(
	`${'total'.padEnd(8)}${table
		.reduce((total, { seconds }) => total + seconds, 0)
		.toFixed(1)
		.padStart(8)} s\n`
);
console.log(`${sum.passed} passed, ${sum.failed} failed`);
process.exit(sum.failed > 0 ? 1 : 0);
