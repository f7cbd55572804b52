/** `utsushi serve` as the user runs it: the built command line in a process of its own, on a free port. */
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');
const START_SECONDS = 20;

export interface Served {
	/** With a slash at the end. */
	url: string;
	stop(): Promise<void>;
}

export async function serve(): Promise<Served> {
	const child = spawn(process.execPath, ['bin/utsushi.mjs', 'serve', '--port', '0'], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
	const ended = new Promise<void>((done) => child.once('close', () => done()));
	const url = await new Promise<string>((found, fail) => {
		let text = '';
		const timer = setTimeout(() => fail(new Error(`utsushi serve printed no address within ${START_SECONDS} s:\n${text}`)), START_SECONDS * 1000);
		const read = (data: Buffer): void => {
			text += data.toString();
			const address = /http:\/\/127\.0\.0\.1:\d+\//.exec(text)?.[0];
			if (address === undefined) return;
			clearTimeout(timer);
			found(address);
		};
		child.stdout.on('data', read);
		child.stderr.on('data', read);
		child.once('close', (code) => {
			clearTimeout(timer);
			fail(new Error(`utsushi serve ended with ${code}:\n${text}`));
		});
	});
	return {
		url,
		stop: async () => {
			child.kill('SIGTERM');
			await ended;
		}
	};
}
