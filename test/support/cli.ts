/** The built command line as a child process, as the user runs it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../..');

export interface Ended {
	code: number | null;
	out: string;
	err: string;
	seconds: number;
}

export interface Running {
	child: ChildProcess;
	ended: Promise<Ended>;
	/** Resolves with the line of stdout that matches. */
	line(pattern: RegExp): Promise<string>;
}

export function start(words: readonly string[], env: Record<string, string> = {}): Running {
	const began = Date.now();
	const child = spawn(process.execPath, ['bin/utsushi.mjs', ...words], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
	let out = '';
	let err = '';
	const waiting: { pattern: RegExp; found: (line: string) => void }[] = [];
	child.stdout.on('data', (data: Buffer) => {
		out += data.toString();
		for (const { pattern, found } of waiting) {
			const line = out.split('\n').find((candidate) => pattern.test(candidate));
			if (line !== undefined) found(line);
		}
	});
	child.stderr.on('data', (data: Buffer) => (err += data.toString()));
	const ended = new Promise<Ended>((done) => child.once('close', (code) => done({ code, out, err, seconds: (Date.now() - began) / 1000 })));
	return {
		child,
		ended,
		line: (pattern) =>
			Promise.race([
				new Promise<string>((found) => waiting.push({ pattern, found })),
				ended.then(({ out: text, err: errors }): never => {
					throw new Error(`The process ended before ${String(pattern)}:\n${text}\n${errors}`);
				})
			])
	};
}

export function run(words: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
	return start(words, env).ended;
}
