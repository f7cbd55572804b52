/**
 * A real training behind the helper's socket, cut off again and again: every event once, and the LoRA with the bits of a run that nobody disturbed. (A hundred cuts, on a
 * scripted trainer: `test/unit/helper/reconnect.test.ts`.)
 */
import { createHash } from 'node:crypto';
import { readFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { nodePlatform } from '../../src/helper/platform';
import { runFolder } from '../../src/helper/runFolder';
import type { Picture } from '../../src/jobs/events';
import { defaultRecipe } from '../../src/recipe/defaults';
import type { Recipe } from '../../src/recipe/recipe';
import { createHost } from '../../src/service/host';
import { createInProcessClient } from '../../src/service/inProcess';
import type { EventMessage, TrainerClient } from '../../src/service/protocol';
import type { SocketLike } from '../../src/service/socket-client';
import { openSocket } from '../support/socket';
import { openSocketHouse, type SocketHouse } from '../support/transports';

const SIDE = 64;
let folder: string;
let helper: SocketHouse;
let trainer: TrainerClient;

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-helper-'));
	const mini = new Blob([new Uint8Array(await readFile(new URL('../../public/models/mini.safetensors', import.meta.url)))]);
	trainer = createInProcessClient(createHost({ ...nodePlatform(), fetchBundled: () => Promise.resolve(mini) }));
	helper = await openSocketHouse(trainer, { files: runFolder(join(folder, 'runs')) });
});
afterAll(async () => {
	await helper.close();
	trainer.close();
	await rm(folder, { recursive: true, force: true });
});

function picture(seed: number): Picture {
	return {
		width: SIDE,
		height: SIDE,
		data: Uint8ClampedArray.from({ length: SIDE * SIDE * 4 }, (_, i) => (i % 4 === 3 ? 255 : 128 + 100 * Math.sin(seed * i * 0.01)))
	};
}

/** Late blocks only: cheap steps. */
function recipe(): Recipe {
	const made = defaultRecipe('mini');
	for (const pass of [made.passes.copier, made.passes.difference])
		Object.assign(pass, { rank: 4, alpha: 4, iterations: 6, batch: 1, blocks: ['OUT11'], learningRate: 2e-3 });
	made.copier.only = true;
	made.saving = { ...made.saving, everySteps: 0 };
	made.preview = { ...made.preview, seeds: [5], strengths: [1], steps: 1, cfg: 1, every: 3 };
	made.probe.every = 0;
	return made;
}

/** The numbers of every file, without metadata, which holds times. */
function digests(events: readonly EventMessage[]): string[] {
	return events.flatMap(({ event }) => {
		if (event.type !== 'file') return [];
		const header = Number(new DataView(event.bytes).getBigUint64(0, true));
		return [
			`${event.name} ${createHash('sha256')
				.update(new Uint8Array(event.bytes, 8 + header))
				.digest('hex')}`
		];
	});
}

/** Trains to the end; `disturb` is given the sockets as they come. */
async function train(run: string, disturb: (cut: () => void) => () => void): Promise<EventMessage[]> {
	let socket: SocketLike | undefined;
	const client = await helper.connect({ retryMs: 5, open: (url) => (socket = openSocket({ origin: helper.origin })(url)) });
	const events: EventMessage[] = [];
	const ended = new Promise<void>((resolve) =>
		client.subscribe((message) => {
			if (message.run !== run) return;
			events.push(message);
			if (message.event.type === 'ended') resolve();
		})
	);
	const { modelId } = await client.request({ type: 'openModel', source: { kind: 'bundled', id: 'mini', url: '' } });
	await client.request({ type: 'train', run, request: { recipe: recipe(), modelId, original: picture(1), target: picture(2) } });
	const calm = disturb(() => Reflect.get(socket ?? {}, 'terminate')?.call(socket));
	await ended;
	calm();
	client.close();
	return events;
}

test('a training whose connection is cut again and again makes the same LoRA and loses no event', async () => {
	const whole = await train('whole', () => () => undefined);
	expect(whole.at(-1)?.event).toMatchObject({ outcome: 'done' });
	expect(digests(whole)).toHaveLength(1);
	let cuts = 0;
	const cut = await train('cut', (sever) => {
		const timer = setInterval(() => {
			cuts++;
			sever();
		}, 37);
		return () => clearInterval(timer);
	});
	expect(cuts).toBeGreaterThan(5);
	expect(cut.map(({ seq }) => seq)).toEqual(cut.map((_, i) => i));
	expect(digests(cut)).toEqual(digests(whole));
	// Losses are read a few steps late, so a preview may overtake a step; what happened is the same.
	const story = (events: readonly EventMessage[]): string[] =>
		events.flatMap(({ event }) => (event.type === 'progress' ? [`${event.step} ${event.loss}`] : event.type === 'state' ? [] : [event.type]));
	expect(story(cut).sort()).toEqual(story(whole).sort());
});
