/**
 * A job that changes places in the middle: it pauses at one trainer, its snapshot is carried to another (as the app does between a tab and the helper), and it ends there with
 * the bits of a run that stayed.
 */
import { readFile } from 'node:fs/promises';
import { afterAll, expect, it } from 'vitest';
import { decodePng } from '../../../src/formats/png';
import { openFileAsBlob } from '../../../src/formats/node';
import { openSafetensors } from '../../../src/formats/safetensors';
import { bytesSource } from '../../../src/formats/source';
import { dawn } from '../../../src/gpu/node';
import { openGpu } from '../../../src/gpu/gpu';
import { conditionerOf } from '../../../src/jobs/conditioner';
import { defaultRecipe } from '../../../src/recipe/defaults';
import type { Recipe } from '../../../src/recipe/recipe';
import { createHost } from '../../../src/service/host';
import { createInProcessClient } from '../../../src/service/inProcess';
import type { EventMessage, TrainerClient } from '../../../src/service/protocol';
import { memorySlots, snapshotStore } from '../../../src/storage/snapshots/snapshots';

const MODEL = 'public/models/mini.safetensors';
const STEPS = 5;

const clients: TrainerClient[] = [];
afterAll(() => clients.forEach((client) => client.close()));

function trainerOf(): TrainerClient {
	const store = snapshotStore(memorySlots());
	const client = createInProcessClient(
		createHost({
			openGpu: async () => openGpu(await dawn()),
			openConditioner: ({ checkpoint }) => Promise.resolve(conditionerOf(checkpoint)),
			fetchBundled: (url) => openFileAsBlob(url),
			openSnapshots: () => Promise.resolve(store)
		})
	);
	clients.push(client);
	return client;
}

function recipe(): Recipe {
	const made = { ...defaultRecipe('mini', 'addift'), name: 'moved' };
	Object.assign(made.passes.difference, { rank: 4, alpha: 4, iterations: STEPS, batch: 1, blocks: ['OUT10', 'OUT11'], seed: 7 });
	made.saving = { ...made.saving, everySteps: 0, snapshotEvery: 1 };
	made.preview = { ...made.preview, seeds: [5], strengths: [1], steps: 1, cfg: 1, every: 0 };
	made.probe.every = 0;
	return made;
}

const picture = async (name: string) => decodePng(new Uint8Array(await readFile(`public/samples/front/${name}.png`)));

interface Ended {
	events: EventMessage['event'][];
	result: ArrayBuffer | undefined;
}

/** Trains; `pauseAt`: the step after which it is paused. */
async function train(client: TrainerClient, run: string, resume: boolean, pauseAt = Infinity): Promise<Ended> {
	const { modelId } = await client.request({ type: 'openModel', source: { kind: 'file', name: 'mini', blob: await openFileAsBlob(MODEL) } });
	const events: EventMessage['event'][] = [];
	const ended = new Promise<void>((done) => {
		client.subscribe(({ run: of, event }) => {
			if (of !== run) return;
			events.push(event);
			if (event.type === 'progress' && event.step === pauseAt) void client.request({ type: 'stop', run, save: false, pause: true });
			if (event.type === 'ended') done();
		});
	});
	const [original, target] = await Promise.all([picture('closed'), picture('a')]);
	await client.request({ type: 'train', run, request: { modelId, recipe: recipe(), original, target }, keep: { job: 'job', resume } });
	await ended;
	const file = events.find((event) => event.type === 'file' && event.role === 'result');
	return { events, result: file?.type === 'file' ? file.bytes : undefined };
}

async function tensorsOf(bytes: ArrayBuffer | undefined): Promise<Map<string, string>> {
	if (!bytes) throw new Error('there is no result');
	const file = await openSafetensors(bytesSource(new Uint8Array(bytes)));
	const entries = await Promise.all([...file.tensors.keys()].map(async (name) => [name, Buffer.from(await file.readBytes(name)).toString('base64')] as const));
	return new Map(entries);
}

it('ends with the same bits as a run that stayed', async () => {
	const [stayed, from, to] = [trainerOf(), trainerOf(), trainerOf()];
	const whole = await train(stayed, 'whole', false);
	const before = await train(from, 'before', false, 2);
	expect(before.events.at(-1)).toMatchObject({ type: 'ended', outcome: 'stopped' });
	const snapshot = await from.request({ type: 'takeSnapshot', job: 'job' });
	if (!snapshot) throw new Error('the paused run left no snapshot');
	await to.request({ type: 'giveSnapshot', job: 'job', snapshot });
	await from.request({ type: 'dropSnapshot', job: 'job' });
	expect(await from.request({ type: 'takeSnapshot', job: 'job' })).toBeNull();
	const after = await train(to, 'after', true);
	const resumed = after.events.find((event) => event.type === 'resumed');
	expect(resumed).toMatchObject({ pass: 'difference' });
	expect(resumed?.type === 'resumed' && resumed.step).toBeGreaterThanOrEqual(2);
	const [moved, unmoved] = [await tensorsOf(after.result), await tensorsOf(whole.result)];
	expect([...moved.keys()]).toEqual([...unmoved.keys()]);
	expect([...moved].filter(([name, bits]) => bits !== unmoved.get(name)).map(([name]) => name)).toEqual([]);
});
