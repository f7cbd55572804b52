/** `utsushi serve`: the app on this computer's own address until Ctrl-C. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { errorProblem } from '../jobs/problem';
import { EXIT, type Context, type ExitCode } from './exit';
import { InputError } from './inputError';
import { DEFAULT_PORT, serveApp } from './server';

/** Best effort: a machine without a browser just keeps the printed address. */
function openInBrowser(url: string): void {
	const [command, args] = process.platform === 'darwin' ? ['open', [url]] : process.platform === 'win32' ? ['explorer.exe', [url]] : ['xdg-open', [url]];
	const child = spawn(command, args, { stdio: 'ignore', detached: true });
	child.on('error', () => undefined);
	child.unref();
}

export async function serve(command: { port?: number; open: boolean }, context: Context): Promise<ExitCode> {
	const root = context.installation.app;
	if (!existsSync(join(root, 'index.html')))
		throw new InputError([errorProblem('app.notBuilt', 'app', 'The app is not built yet. Run “npm run build” in the folder of Utsushi first.')]);
	const server = await serveApp({ root, ...(command.port === undefined ? {} : { port: command.port }) }).catch((error: unknown) => {
		const busy = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
		if (!busy) throw error;
		const port = command.port ?? DEFAULT_PORT;
		throw new InputError([
			errorProblem('port.busy', '--port', `Port ${port} is already in use. Choose another --port, or leave the option out to get a free one.`, { port })
		]);
	});
	context.streams.out(`Utsushi is at ${server.url}\n`);
	if (context.streams.terminal) context.streams.err('Press Ctrl-C to end.\n');
	if (command.open) openInBrowser(server.url);
	await new Promise<void>((resolve) => {
		const release = context.onInterrupt(() => {
			release();
			resolve();
		});
	});
	await server.close();
	return EXIT.done;
}
