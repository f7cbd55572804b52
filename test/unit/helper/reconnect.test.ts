/** A run outlives its connection, its page and its helper: whoever comes back gets every event once, in order, and the files with their bits. */
import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { runFolder } from '../../../src/helper/runFolder';
import { defaultRecipe } from '../../../src/recipe/defaults';
import type { EventMessage, TrainerClient } from '../../../src/service/protocol';
import { memoryRunFiles, type RunFiles } from '../../../src/service/run-log';
import type { HelperState, SocketLike } from '../../../src/service/socket-client';
import { ScriptedTrainer } from '../../support/scripted-host';
import { openSocket } from '../../support/socket';
import { openSocketHouse, type SocketHouse } from '../../support/transports';

const cleaning: (() => Promise<unknown>)[] = [];
afterEach(async () => {
	for (const clean of cleaning.splice(0).reverse()) await clean();
});

async function house(trainer: TrainerClient, files?: RunFiles): Promise<SocketHouse> {
	const opened = await openSocketHouse(trainer, { ...(files ? { files } : {}), limits: { connections: 300 } });
	cleaning.push(() => opened.close());
	return opened;
}

async function folder(): Promise<string> {
	const path = await mkdtemp(join(tmpdir(), 'utsushi-runs-'));
	cleaning.push(() => rm(path, { recursive: true, force: true }));
	return path;
}

const train = (run: string) =>
	({ type: 'train', run, request: { modelId: 'm', recipe: { ...defaultRecipe('mini'), name: 'night' } }, keep: { job: `job-${run}`, resume: false } }) as const;
const lora = (bytes: number, seed: number): ArrayBuffer => Uint8Array.from({ length: bytes }, (_, i) => (i * seed) >>> 3).buffer;
const wait = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe('a connection', () => {
	it('that is cut a hundred times brings every event once and the LoRA with its bits', async () => {
		const trainer = new ScriptedTrainer();
		const helper = await house(trainer, runFolder(join(await folder(), 'runs')));
		let socket: SocketLike | undefined;
		let welcomed = 0;
		const states: HelperState['state'][] = [];
		const client = await helper.connect({
			retryMs: 1,
			onState({ state }) {
				states.push(state);
				if (state === 'open') welcomed++;
			},
			open: (url) => (socket = openSocket({ origin: helper.origin })(url))
		});
		const seen: EventMessage[] = [];
		client.subscribe((message) => seen.push(message));
		await client.request(train('r'));
		const [result, previous] = [lora(700_000, 7), lora(300_000, 11)];
		// As a run is: many small events, some large ones; cut at moments that have nothing to do with them.
		let cuts = 0;
		const cutting = (async () => {
			for (; cuts < 100; cuts++) {
				await wait((cuts * 7919) % 13);
				const before = welcomed;
				Reflect.get(socket ?? {}, 'terminate')?.call(socket);
				// Some cuts hit an open connection, some one that is being opened.
				if (cuts % 3 !== 0) await expect.poll(() => welcomed, { interval: 1, timeout: 20_000 }).toBeGreaterThan(before);
			}
		})();
		const asking: Promise<unknown>[] = [];
		let steps = 0;
		while (cuts < 100 || steps < 600) {
			const step = ++steps;
			trainer.step('r', step, 1_000_000);
			if (step % 50 === 0 && step <= 600)
				trainer.emit('r', {
					type: 'preview',
					pass: 'difference',
					step,
					seed: 1,
					strength: 1,
					picture: { width: 200, height: 200, data: new Uint8ClampedArray(160_000).fill(step) }
				});
			if (step % 200 === 0 && step <= 600)
				trainer.emit('r', { type: 'file', role: 'intermediate', name: `night-${step}.safetensors`, step, bytes: previous.slice(0) });
			if (step % 10 === 0 && step <= 600) asking.push(client.request({ type: 'hello', version: step }));
			await wait(1);
		}
		await cutting;
		trainer.emit('r', { type: 'file', role: 'result', name: 'night.safetensors', step: steps, bytes: result.slice(0) });
		trainer.emit('r', { type: 'ended', outcome: 'done' });
		await expect.poll(() => seen.at(-1)?.event.type, { timeout: 20_000 }).toBe('ended');
		expect(seen.map(({ seq }) => seq)).toEqual(seen.map((_, i) => i));
		expect(seen.filter(({ event }) => event.type === 'progress').map(({ event }) => event.type === 'progress' && event.step)).toEqual(
			Array.from({ length: steps }, (_, i) => i + 1)
		);
		const files = seen.flatMap(({ event }) => (event.type === 'file' ? [Buffer.from(event.bytes)] : []));
		expect(files.map((bytes) => bytes.equals(Buffer.from(bytes.length === result.byteLength ? result : previous)))).toEqual([true, true, true, true]);
		// Every request was done once, whatever was cut, and answered.
		expect((await Promise.all(asking)).length).toBe(60);
		const done = trainer.asked.filter(({ type }) => type === 'hello').map((request) => request.type === 'hello' && request.version);
		expect(done.sort((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 60 }, (_, i) => (i + 1) * 10));
		expect(trainer.asked.filter(({ type }) => type === 'train').length).toBe(1);
		expect(states.filter((state) => state === 'lost').length).toBeGreaterThan(60);
		// The snapshot has served its purpose.
		expect(trainer.asked.at(-1)).toEqual({ type: 'dropSnapshot', job: 'job-r' });
		client.close();
	});

	it('another page finds the run, follows it from any event, and fetches what it made', async () => {
		const trainer = new ScriptedTrainer();
		const helper = await house(trainer);
		const first = await helper.connect();
		await first.request(train('r'));
		trainer.step('r', 1, 3);
		trainer.step('r', 2, 3);
		first.close();
		await wait(20);
		trainer.emit('r', { type: 'file', role: 'result', name: 'night.safetensors', step: 2, bytes: lora(1000, 3) });
		const second = await helper.connect();
		const seen: EventMessage[] = [];
		second.subscribe((message) => seen.push(message));
		expect(await second.request({ type: 'listRuns' })).toMatchObject([{ run: 'r', kind: 'train', name: 'night', state: 'running', lastSeq: 2, job: 'job-r' }]);
		expect(seen).toEqual([]);
		const detail = await second.request({ type: 'follow', run: 'r', after: 0 });
		expect(detail.recipe?.name).toBe('night');
		await expect.poll(() => seen.map(({ seq }) => seq)).toEqual([1, 2]);
		await second.request({ type: 'follow', run: 'r', after: -1 });
		trainer.step('r', 3, 3);
		await expect.poll(() => seen.map(({ seq }) => seq)).toEqual([1, 2, 0, 1, 2, 3]);
		await second.request({ type: 'follow', run: 'r', after: null });
		trainer.emit('r', { type: 'ended', outcome: 'done' });
		const { files } = await second.request({ type: 'fetchResult', run: 'r' });
		expect(files.map(({ name, bytes }) => [name, Buffer.from(bytes).equals(Buffer.from(lora(1000, 3)))])).toEqual([['night.safetensors', true]]);
		expect(seen.length).toBe(6);
		await second.request({ type: 'forgetRun', run: 'r' });
		expect(await second.request({ type: 'listRuns' })).toEqual([]);
		await expect(second.request({ type: 'follow', run: 'r', after: -1 })).rejects.toMatchObject({ problem: { code: 'run.unknown' } });
		second.close();
	});

	it('an answer comes behind the events of its run', async () => {
		const trainer = new ScriptedTrainer();
		const helper = await house(trainer);
		trainer.answer = (request) => {
			if (request.type !== 'sample') return undefined;
			for (let i = 1; i <= 50; i++) trainer.emit('s', { type: 'sampleStep', step: i, steps: 50 });
			trainer.emit('s', { type: 'ended', outcome: 'done' });
			return { width: 1, height: 1, data: new Uint8ClampedArray(4) };
		};
		const client = await helper.connect();
		let seen = 0;
		client.subscribe(() => seen++);
		const drawing = { modelId: 'm', prompt: '', negative: '', seed: 0, steps: 50, cfg: 1, sampler: 'ddim', width: 8, height: 8, loras: [] } as const;
		await client.request({ type: 'sample', run: 's', request: { ...drawing, loras: [] } });
		expect(seen).toBe(51);
		client.close();
	});
});

describe('what is too large', () => {
	it('is refused before it is read or sent, and the connection stays', async () => {
		const trainer = new ScriptedTrainer();
		const helper = await house(trainer);
		const client = await helper.connect();
		const read = { times: 0 };
		/** A checkpoint as far as anybody asks before reading it. */
		class Huge extends Blob {
			override get size(): number {
				return 2 ** 32;
			}
			override arrayBuffer(): Promise<ArrayBuffer> {
				read.times++;
				return super.arrayBuffer();
			}
		}
		const opening = client.request({ type: 'openModel', source: { kind: 'file', name: 'sdxl', blob: new Huge() } });
		await expect(opening).rejects.toMatchObject({ problem: { code: 'helper.uploadTooLarge' } });
		expect(read.times).toBe(0);
		expect(await client.request({ type: 'listRuns' })).toEqual([]);
		client.close();
	});

	it('for this helper is given up after a few times, and what comes later is done', async () => {
		const opened = await openSocketHouse(new ScriptedTrainer(), { limits: { message: 2 ** 20 } });
		cleaning.push(() => opened.close());
		const client = await opened.connect({ retryMs: 1 });
		const sending = client.request({ type: 'giveSnapshot', job: 'j', snapshot: { state: new ArrayBuffer(2 ** 21), copier: null } });
		await expect(sending).rejects.toMatchObject({ problem: { code: 'wire.malformed', values: { detail: 'wire.tooLarge' } } });
		expect(await client.request({ type: 'listRuns' })).toEqual([]);
		client.close();
	});
});

describe('the first connection', () => {
	it('fails with a reason when nobody answers, or somebody else', async () => {
		const helper = await house(new ScriptedTrainer());
		await expect(helper.connect({ url: 'ws://127.0.0.1:9/ws' })).rejects.toMatchObject({ problem: { code: 'helper.unreachable' } });
		await expect(helper.connect({ url: helper.url.replace('/ws', '/other') })).rejects.toMatchObject({ problem: { code: 'helper.unreachable' } });
	});
});

describe('a helper that is started anew', () => {
	it('knows its trainings, and ends what it was torn from', async () => {
		const path = join(await folder(), 'runs');
		const trainer = new ScriptedTrainer();
		const before = await house(trainer, runFolder(path));
		const client = await before.connect();
		await client.request(train('done'));
		trainer.emit('done', { type: 'file', role: 'result', name: 'night.safetensors', step: 1, bytes: lora(5000, 3) });
		trainer.emit('done', { type: 'ended', outcome: 'done' });
		await client.request(train('torn'));
		for (let step = 1; step <= 20; step++) trainer.step('torn', step, 100);
		await before.house.flushed();
		client.close();
		// As a power cut leaves it: the last record half written.
		const logs = (await readdir(path)).filter((name) => name.endsWith('.events'));
		expect(logs.length).toBe(2);
		for (const name of logs) await appendFile(join(path, name), Uint8Array.from([200, 0, 0, 0, 1, 2, 3]));

		const after = await house(new ScriptedTrainer(), runFolder(path));
		const again = await after.connect();
		const seen: EventMessage[] = [];
		again.subscribe((message) => seen.push(message));
		expect(await again.request({ type: 'listRuns' })).toMatchObject([
			{ run: 'torn', state: 'failed', lastSeq: 20, problem: { code: 'helper.interrupted' } },
			{ run: 'done', state: 'done', lastSeq: 1 }
		]);
		await again.request({ type: 'follow', run: 'torn', after: 17 });
		await expect
			.poll(() => seen.map(({ seq, event }) => [seq, event.type]))
			.toEqual([
				[18, 'progress'],
				[19, 'progress'],
				[20, 'ended']
			]);
		const { files } = await again.request({ type: 'fetchResult', run: 'done' });
		expect(Buffer.from(files[0]?.bytes ?? new ArrayBuffer(0)).equals(Buffer.from(lora(5000, 3)))).toBe(true);
		await expect(again.request(train('done'))).rejects.toMatchObject({ problem: { code: 'run.used' } });
		again.close();
	});

	it('goes on when its disk takes nothing more, and says so once', async () => {
		const trainer = new ScriptedTrainer();
		const full = { ...memoryRunFiles(), append: () => Promise.reject(new Error('ENOSPC: no space left')) };
		const helper = await house(trainer, full);
		const client = await helper.connect();
		const seen: EventMessage[] = [];
		client.subscribe((message) => seen.push(message));
		await client.request(train('r'));
		for (let step = 1; step <= 5; step++) trainer.step('r', step, 5);
		await wait(10);
		trainer.emit('r', { type: 'file', role: 'result', name: 'night.safetensors', step: 5, bytes: lora(1000, 3) });
		trainer.emit('r', { type: 'ended', outcome: 'done' });
		await expect.poll(() => seen.at(-1)?.event.type).toBe('ended');
		expect(seen.filter(({ event }) => event.type === 'warning').map(({ event }) => event.type === 'warning' && event.problem.code)).toEqual([
			'helper.logFailed'
		]);
		expect((await client.request({ type: 'fetchResult', run: 'r' })).files.length).toBe(1);
		client.close();
	});
});

describe('a helper that is ended', () => {
	it('keeps a snapshot of what is being trained, and waits for it', async () => {
		const trainer = new ScriptedTrainer();
		const helper = await house(trainer);
		const client = await helper.connect();
		const seen: string[] = [];
		client.subscribe(({ event }) => seen.push(event.type));
		await client.request(train('r'));
		expect(helper.house.busy).toBe(true);
		trainer.answer = (request) => {
			if (request.type !== 'stop') return undefined;
			setTimeout(() => trainer.emit('r', { type: 'ended', outcome: 'stopped' }), 30);
			return null;
		};
		await helper.house.pause(20_000);
		expect(trainer.asked.filter(({ type }) => type === 'stop')).toEqual([{ type: 'stop', run: 'r', save: false, pause: true }]);
		expect(helper.house.busy).toBe(false);
		await expect.poll(() => seen).toEqual(['ended']);
		// Its snapshot is for whoever goes on.
		expect(trainer.asked.some(({ type }) => type === 'dropSnapshot')).toBe(false);
		await helper.house.pause(20_000);
		client.close();
	});
});

describe('a run that was refused', () => {
	it('is no run, and its id is free again', async () => {
		const trainer = new ScriptedTrainer();
		const helper = await house(trainer);
		const client = await helper.connect();
		trainer.answer = (request) => (request.type === 'train' ? Promise.reject(new Error('no')) : undefined);
		await expect(client.request(train('r'))).rejects.toMatchObject({ problem: { code: 'internal' } });
		expect(await client.request({ type: 'listRuns' })).toEqual([]);
		trainer.answer = undefined;
		await client.request(train('r'));
		expect(await client.request({ type: 'listRuns' })).toHaveLength(1);
		client.close();
	});
});
