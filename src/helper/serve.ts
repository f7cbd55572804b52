/** `utsushi serve`: the app and the helper on this computer's own address until Ctrl-C. */
import { existsSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { errorProblem } from '../jobs/problem';
import { PROTOCOL_VERSION, type AdapterSummary } from '../service/protocol';
import { EXIT, type Context, type ExitCode } from './exit';
import { startHelper, type Helper } from './helper';
import { InputError } from './inputError';
import { openInBrowser } from './openBrowser';
import { problemLine, type Streams } from './output';
import { DEFAULT_PORT } from './server';

/** Opening this address pairs the page with the helper: what stands behind `#` is never sent to anybody, the page reads it and takes it out of the address. */
function pairingUrl({ url }: Helper, code: string): string {
	return `${url}#helper?code=${code}`;
}

const gigabytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GB`;

function describeAdapter(adapter: AdapterSummary): string {
	const name = adapter.description || [adapter.vendor, adapter.architecture].filter((part) => part !== '').join(' ') || 'unknown';
	const kind = adapter.isFallback ? ' (software: slow)' : '';
	return [
		`GPU: ${name}${kind}`,
		`Memory: buffers of up to ${gigabytes(adapter.maxBufferSize)}; ${gigabytes(totalmem())} in this computer`,
		`Features: ${adapter.features.join(', ') || 'none'}`,
		''
	].join('\n');
}

async function sayAdapter({ trainer }: Helper, streams: Streams): Promise<void> {
	const { adapter, problem } = await trainer.request({ type: 'hello', version: PROTOCOL_VERSION });
	if (adapter) streams.out(describeAdapter(adapter));
	if (problem) streams.err(`${problemLine(problem)}\n`);
}

export async function serve(command: { port?: number; open: boolean }, context: Context): Promise<ExitCode> {
	const { streams, installation } = context;
	if (!existsSync(join(installation.app, 'index.html')))
		throw new InputError([errorProblem('app.notBuilt', 'app', 'The app is not built yet. Run “npm run build” in the folder of Utsushi first.')]);
	const helper = await startHelper({
		installation,
		...(command.port === undefined ? {} : { port: command.port }),
		note: (text) => streams.err(`${text}\n`)
	}).catch((error: unknown) => {
		const busy = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
		if (!busy) throw error;
		const port = command.port ?? DEFAULT_PORT;
		throw new InputError([
			errorProblem('port.busy', '--port', `Port ${port} is already in use. Choose another --port, or leave the option out to get a free one.`, { port })
		]);
	});
	streams.out(`Utsushi is at ${helper.url}\n`);
	const code = await helper.pairings.newCode();
	streams.out(`Pairing code: ${code} (once, for ten minutes; another one: utsushi pair)\n`);
	streams.out(`Or open ${pairingUrl(helper, code)}\n`);
	if (command.open) openInBrowser(pairingUrl(helper, code));
	await sayAdapter(helper, streams).catch((error: unknown) => streams.err(`${error instanceof Error ? error.message : String(error)}\n`));
	if (streams.terminal) streams.err('Press Ctrl-C to end.\n');
	await new Promise<void>((resolve) => {
		const release = context.onInterrupt(() => {
			release();
			resolve();
		});
	});
	if (helper.house.busy) streams.err('Keeping a snapshot of what is being trained; Ctrl-C again leaves at once.\n');
	await helper.close();
	return EXIT.done;
}
