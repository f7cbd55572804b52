/**
 * A helper under attack while a run goes on behind its socket: after every test the run is unharmed and its honest follower has missed nothing. The state is the module's,
 * because a file of tests has one helper; `besiege` sets it up.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import WebSocket from 'ws';
import { runFolder } from '../../src/helper/runFolder';
import type { RunEvent } from '../../src/jobs/events';
import { defaultRecipe } from '../../src/recipe/defaults';
import { joined, pack } from '../../src/service/packing';
import type { EventMessage, TrainerClient } from '../../src/service/protocol';
import { ScriptedTrainer } from './scripted-host';
import type { SocketHeaders } from './socket';
import { openSocketHouse, type SocketHouse } from './transports';

export const MEGABYTE = 2 ** 20;
export let trainer: ScriptedTrainer;
export let helper: SocketHouse;
export let folder: string;
export let client: TrainerClient;
export const events: EventMessage[] = [];
let step = 0;
const STEPS = 10_000;

/** What a run does meanwhile. */
export function work(steps = 1): void {
	for (let i = 0; i < steps; i++) trainer.step('night', ++step, STEPS);
}

/** Another event of that run. */
export function show(event: RunEvent): void {
	step++;
	trainer.emit('night', event);
}

export function besiege(): void {
	beforeAll(async () => {
		folder = await mkdtemp(join(tmpdir(), 'utsushi-attack-'));
		trainer = new ScriptedTrainer();
		helper = await openSocketHouse(trainer, {
			files: runFolder(join(folder, 'runs')),
			limits: { handshakeMs: 300, stallMs: 500, pingMs: 1000, message: 4 * MEGABYTE, total: 8 * MEGABYTE }
		});
		client = await helper.connect();
		client.subscribe((message) => events.push(message));
		await client.request({ type: 'train', run: 'night', request: { modelId: 'm', recipe: defaultRecipe('mini') } });
	});
	beforeEach(() => work(3));
	/** After every attack: the run went on, and its follower missed nothing. */
	afterEach(async () => {
		work(3);
		await expect.poll(() => events.length).toBe(step);
		expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: step }, (_, i) => i));
		expect(trainer.asked.some(({ type }) => type === 'stop' || type === 'cancel')).toBe(false);
		expect(trainer.closed).toBe(false);
	});
	afterAll(async () => {
		client.close();
		await helper.close();
		await rm(folder, { recursive: true, force: true });
	});
}

/** A connection that does as it likes; `messages` are what it got, `closed` the code of its end. */
export function rude(headers: SocketHeaders = { origin: helper.origin }): {
	socket: WebSocket;
	opened: Promise<void>;
	closed: Promise<number>;
	messages: unknown[];
} {
	const { origin, ...others } = headers;
	const socket = new WebSocket(helper.url, { ...(origin === undefined ? {} : { origin }), headers: { ...others }, perMessageDeflate: false });
	const messages: unknown[] = [];
	socket.on('error', () => undefined);
	socket.on('message', (data: Buffer, isBinary) => messages.push(isBinary ? data : (JSON.parse(data.toString()) as unknown)));
	return {
		socket,
		messages,
		opened: new Promise((resolve) => socket.on('open', resolve)),
		closed: new Promise((resolve) => socket.on('close', (code) => resolve(code)))
	};
}

export const hello = (change: object = {}): string =>
	JSON.stringify({ type: 'hello', version: 1, token: helper.token, session: crypto.randomUUID(), pending: [], runs: {}, ...change });

/** One that was welcomed and may send frames. */
export async function inside(change: object = {}): Promise<ReturnType<typeof rude>> {
	const connection = rude();
	await connection.opened;
	connection.socket.send(hello(change));
	await expect.poll(() => connection.messages[0], { timeout: 10_000 }).toMatchObject({ type: 'welcome' });
	return connection;
}

/** A whole small message in one frame. */
export function frame(value: unknown): Uint8Array {
	const message = joined(pack(value));
	const bytes = new Uint8Array(8 + message.length);
	bytes[0] = 1;
	new DataView(bytes.buffer).setUint32(4, message.length, true);
	bytes.set(message, 8);
	return bytes;
}
