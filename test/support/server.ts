/** `utsushi serve` as the user runs it, on a free port. */
import { start } from './cli';

export interface Served {
	/** With a slash at the end. */
	url: string;
	stop(): Promise<void>;
}

export async function serve(): Promise<Served> {
	const { child, ended, line } = start(['serve', '--port', '0']);
	const [url] = /http:\/\/127\.0\.0\.1:\d+\//.exec(await line(/http:/)) ?? [];
	if (url === undefined) throw new Error('utsushi serve prints no address.');
	return {
		url,
		stop: async () => {
			child.kill('SIGTERM');
			await ended;
		}
	};
}
