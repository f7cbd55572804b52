/**
 * What the helper's socket costs: tensors both ways, events, and the start. The helper's end has a thread of its own, as a page and a helper have; the page's is Node, which masks what it
 * sends in JavaScript, so a browser is at most faster. Processor times are of both ends.
 *
 *   npx vite build --ssr bench/socket.ts --outDir dist/bench && node dist/bench/socket.js [megabytes] [--train]
 *
 * Prints one line of JSON a measurement. `--train` also starts the built command line and times it to the first step of the mini model.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import WebSocket from 'ws';
import { runFolder } from '../src/helper/runFolder';
import { Pairings } from '../src/helper/pairing';
import { serveSocket } from '../src/helper/socket';
import { decodePng } from '../src/formats/png';
import { defaultRecipe } from '../src/recipe/defaults';
import type { EventMessage, TrainerClient } from '../src/service/protocol';
import { RunHouse } from '../src/service/run-house';
import { connectHelper, type SocketLike } from '../src/service/socket-client';

const MEGABYTE = 2 ** 20;
const say = (line: object): void => console.log(JSON.stringify(line));

/** Of both ends together: what a loaded machine cannot stretch. */
function cpuMilliseconds(since: NodeJS.CpuUsage): number {
	const { user, system } = process.cpuUsage(since);
	return Math.round((user + system) / 1e3);
}

/** The command line's own way in: no origin, a token in a header. */
const socketWith =
	(token: string) =>
	(url: string): SocketLike =>
		new WebSocket(url, { headers: { authorization: `Bearer ${token}` }, perMessageDeflate: false }) as unknown as SocketLike;

/** The helper's end, on a thread of its own: takes anything, gives the tensors back as a LoRA, and sends as many events as it is told to. */
async function helperEnd({ megabytes }: { megabytes: number }): Promise<void> {
	const page = parentPort;
	if (!page) throw new Error('This is no thread.');
	let heard: ((message: EventMessage) => void) | undefined;
	const bytes = tensorsOf(megabytes);
	const trainer = {
		request: (request: { type: string }) => Promise.resolve(request.type === 'fetchLora' ? { name: 'tensors', bytes } : null),
		subscribe: (listener: (message: EventMessage) => void) => {
			heard = listener;
			return () => undefined;
		},
		close: () => undefined
	} as unknown as TrainerClient;
	const folder = await mkdtemp(join(tmpdir(), 'utsushi-bench-'));
	const server = createServer();
	await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
	const address = server.address();
	const port = typeof address === 'object' && address ? address.port : 0;
	const house = await RunHouse.open(trainer, runFolder(join(folder, 'runs')));
	const [token, hosts] = ['t'.repeat(43), [`127.0.0.1:${port}`]];
	const sockets = serveSocket(server, { house, helper: { version: '', instance: '' }, pairings: new Pairings(folder), token, hosts });
	page.on('message', (events: number) => {
		if (events > 0) return void emit(events);
		void sockets
			.close()
			.then(() => server.close())
			.then(() => rm(folder, { recursive: true, force: true }))
			.then(() => page.close());
	});
	/** Events as a training sends them. */
	const emit = async (events: number): Promise<void> => {
		let emitting = 0;
		for (let seq = 0; seq < events; seq++) {
			const [steps, loss] = [events, 0.123456];
			const before = performance.now();
			heard?.({
				run: 'r',
				seq,
				time: 0,
				event: { type: 'progress', pass: 'difference', step: seq + 1, steps, loss, lossAverage: loss, learningRate: 1e-4, stepsPerSecond: 3, etaSeconds: 100 }
			});
			emitting += performance.now() - before;
			if (seq % 100 === 99) await new Promise((later) => setImmediate(later));
		}
		page.postMessage({ emitMicroseconds: (emitting / events) * 1e3 });
	};
	page.postMessage({ port, token });
}

function tensorsOf(megabytes: number): ArrayBuffer {
	const tensors = new ArrayBuffer(megabytes * MEGABYTE);
	new Uint32Array(tensors).forEach((_, i, all) => (all[i] = Math.imul(i, 2654435761)));
	return tensors;
}

async function transfer(megabytes: number): Promise<void> {
	const tensors = tensorsOf(megabytes);
	const there = new Worker(fileURLToPath(import.meta.url), { workerData: { megabytes } });
	const said = <T>(): Promise<T> => new Promise((done) => there.once('message', done));
	const { port, token } = await said<{ port: number; token: string }>();
	const client = await connectHelper({ url: `ws://127.0.0.1:${port}/ws`, token: '', open: socketWith(token) });

	for (let round = 0; round < 3; round++) {
		let begun = performance.now();
		let cpu = process.cpuUsage();
		await client.request({ type: 'giveSnapshot', job: 'x', snapshot: { state: tensors, copier: null } });
		const up = performance.now() - begun;
		const upCpu = cpuMilliseconds(cpu);
		begun = performance.now();
		cpu = process.cpuUsage();
		const { bytes } = await client.request({ type: 'fetchLora', id: 'x' });
		const down = performance.now() - begun;
		const rate = (milliseconds: number): number => Math.round(((megabytes * MEGABYTE) / 1e6 / milliseconds) * 1e3);
		const whole = Buffer.from(bytes).equals(Buffer.from(tensors));
		say({ measure: 'transfer', megabytes, whole, upMBs: rate(up), downMBs: rate(down), upCpuMs: upCpu, downCpuMs: cpuMilliseconds(cpu) });
	}

	// The time from the first event until the page has heard the last.
	const EVENTS = 20_000;
	let seen = 0;
	let last: () => void = () => undefined;
	const all = new Promise<void>((done) => (last = done));
	client.subscribe(() => {
		if (++seen === EVENTS) last();
	});
	await client.request({ type: 'train', run: 'r', request: { modelId: 'm', recipe: defaultRecipe('mini') } });
	const begun = performance.now();
	const emitted = said<{ emitMicroseconds: number }>();
	there.postMessage(EVENTS);
	await all;
	const microsecondsEach = ((performance.now() - begun) / EVENTS) * 1e3;
	say({ measure: 'events', events: EVENTS, ...(await emitted), microsecondsEach });
	client.close();
	const ended = new Promise((done) => there.once('exit', done));
	there.postMessage(0);
	await ended;
}

/** From the start of the process to the first step of the bundled model over the socket. */
async function start(root: string): Promise<void> {
	const config = await mkdtemp(join(tmpdir(), 'utsushi-bench-'));
	const begun = performance.now();
	const since = (): number => Math.round(performance.now() - begun) / 1e3;
	const child = spawn(process.execPath, ['bin/utsushi.mjs', 'serve', '--port', '0'], {
		cwd: root,
		stdio: ['ignore', 'pipe', 'inherit'],
		env: { ...process.env, UTSUSHI_CONFIG: config }
	});
	try {
		await new Promise<void>((done) => child.stdout.on('data', (data: Buffer) => data.toString().includes('Pairing code') && done()));
		const listening = since();
		const { url, token } = JSON.parse(await readFile(join(config, 'data', 'helper', 'access.json'), 'utf8')) as { url: string; token: string };
		const client = await connectHelper({ url, token: '', open: socketWith(token) });
		const picture = async (name: string) => decodePng(new Uint8Array(await readFile(join(root, `dist/app/samples/front/${name}.png`))));
		const { modelId } = await client.request({ type: 'openModel', source: { kind: 'bundled', id: 'mini', url: '' } });
		const first = new Promise<number>((done) => client.subscribe(({ event }) => event.type === 'progress' && done(since())));
		await client.request({
			type: 'train',
			run: 'r',
			request: { modelId, recipe: defaultRecipe('mini'), original: await picture('closed'), target: await picture('a') }
		});
		say({ measure: 'start', listeningSeconds: listening, acceptedSeconds: since(), firstStepSeconds: await first });
		await client.request({ type: 'stop', run: 'r', save: false });
		client.close();
	} finally {
		child.kill('SIGTERM');
		await new Promise((done) => child.once('close', done));
		await rm(config, { recursive: true, force: true });
	}
}

if (!isMainThread) await helperEnd(workerData as { megabytes: number });
else {
	await transfer(Number(process.argv.find((word) => /^\d+$/.test(word)) ?? 64));
	if (process.argv.includes('--train')) await start(resolve(import.meta.dirname, '../..'));
	process.exit(0);
}
