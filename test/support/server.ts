/** `utsushi serve` as the user runs it, on a free port. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { start } from './cli';

export interface Served {
	/** With a slash at the end. */
	url: string;
	stop(): Promise<void>;
}

export async function serve(): Promise<Served> {
	// Pairings, runs and snapshots of a test are its own.
	const config = await mkdtemp(join(tmpdir(), 'utsushi-serve-'));
	const { child, ended, line } = start(['serve', '--port', '0'], { UTSUSHI_CONFIG: config });
	const [url] = /http:\/\/127\.0\.0\.1:\d+\//.exec(await line(/http:/)) ?? [];
	if (url === undefined) throw new Error('utsushi serve prints no address.');
	return {
		url,
		stop: async () => {
			child.kill('SIGTERM');
			await ended;
			await rm(config, { recursive: true, force: true });
		}
	};
}
