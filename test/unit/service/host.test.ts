/** The host on Dawn's null backend: everything but the arithmetic is real, so requests, refusals, stops and a lost device can be tried quickly. */
import { readFile } from 'node:fs/promises';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { decodePng } from '../../../src/formats/png';
import { openGpu, type Gpu } from '../../../src/gpu/gpu';
import { dawn } from '../../../src/gpu/node';
import type { Conditioner } from '../../../src/jobs/conditioner';
import type { Picture } from '../../../src/jobs/events';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { createHost } from '../../../src/service/host';
import type { Platform } from '../../../src/service/platform';
import type { EventMessage, TrainerClient, TrainRequest } from '../../../src/service/protocol';
import { openTransport, TRANSPORTS, type Transport } from '../../support/transports';

const file = async (path: string): Promise<Uint8Array<ArrayBuffer>> => new Uint8Array(await readFile(new URL(`../../../${path}`, import.meta.url)));

let model: Blob;
let original: Picture;
let target: Picture;
beforeAll(async () => {
	model = new Blob([await file('public/models/mini.safetensors')]);
	original = decodePng(await file('public/samples/front/closed.png'));
	target = decodePng(await file('public/samples/front/a.png'));
});

/** A file on a slow disk. */
class SlowBlob extends Blob {
	override slice(...given: Parameters<Blob['slice']>): Blob {
		const part = super.slice(...given);
		const read = part.arrayBuffer.bind(part);
		part.arrayBuffer = () => new Promise((resolve, reject) => setTimeout(() => read().then(resolve, reject), 60));
		return part;
	}
}

/** What an encoder that says nothing says. */
const nothing = { context: new Float32Array(77 * 64), pooled: new Float32Array(0) };

/** A conditioner that waits until the test lets it go on. */
class Gate {
	#open: () => void = () => undefined;
	readonly passed = new Promise<void>((resolve) => (this.#open = resolve));
	#reached: () => void = () => undefined;
	readonly reached = new Promise<void>((resolve) => (this.#reached = resolve));
	closed = 0;

	open(): void {
		this.#open();
	}
	conditioner(): Conditioner {
		const wait = async (): Promise<void> => {
			this.#reached();
			await this.passed;
		};
		return {
			encodeText: (prompts) => wait().then(() => prompts.map(() => nothing)),
			encodePrompts: (prompts) => wait().then(() => prompts.map(() => nothing)),
			encodePicture: () => wait().then(() => new Float32Array(16 * 16 * 4)),
			decode: () => Promise.resolve(original),
			close: () => {
				this.closed++;
				return Promise.resolve();
			}
		};
	}
}

let close: (() => Promise<void>) | undefined;
afterEach(async () => {
	await close?.();
	close = undefined;
});

interface Opened {
	client: TrainerClient;
	gpus: Gpu[];
	gate: Gate;
	events: EventMessage[];
	/** Resolves with the outcome of the run. */
	ended: (run: string) => Promise<EventMessage['event']>;
}

async function openOver(transport: Transport, change: Partial<Platform> = {}): Promise<Opened> {
	const gpus: Gpu[] = [];
	const gate = new Gate();
	const platform: Platform = {
		async openGpu() {
			const gpu = await openGpu(await dawn(['backend=null']), { onError: () => undefined });
			gpus.push(gpu);
			return gpu;
		},
		openConditioner: () => Promise.resolve(gate.conditioner()),
		fetchBundled: (_url, onProgress) => {
			onProgress(0.5);
			onProgress(1);
			return Promise.resolve(model);
		},
		...change
	};
	const opened = await openTransport(transport, createHost(platform));
	const { client } = opened;
	close = opened.close;
	const events: EventMessage[] = [];
	client.subscribe((message) => events.push(message));
	const ended = (run: string): Promise<EventMessage['event']> =>
		expect
			.poll(() => events.find((message) => message.run === run && message.event.type === 'ended')?.event, { timeout: 50_000 })
			.toBeDefined()
			.then(() => {
				const last = events.filter((message) => message.run === run).at(-1);
				if (!last) throw new Error('no events');
				return last.event;
			});
	return { client, gpus, gate, events, ended };
}

const mini = { kind: 'bundled', id: 'mini', url: 'models/mini.safetensors' } as const;
async function ready(opened: Opened): Promise<TrainRequest> {
	const { modelId } = await opened.client.request({ type: 'openModel', source: mini });
	return { recipe: defaultRecipe('mini'), modelId, original, target };
}
const problemOf = (work: Promise<unknown>): Promise<unknown> =>
	work.then(
		() => 'nothing refused',
		(error: unknown) => (error instanceof Error && 'problem' in error ? error.problem : error)
	);

describe.each(TRANSPORTS)('the host, %s', (transport) => {
	const open = (change: Partial<Platform> = {}): Promise<Opened> => openOver(transport, change);
	// What the engine does is the same behind every transport.
	const onlyHere = it.runIf(transport === 'direct');

	it('says what adapter there is, and refuses another version', async () => {
		const { client } = await open();
		const { adapter, problem } = await client.request({ type: 'hello', version: 1 });
		expect(problem).toBeNull();
		expect(adapter?.maxBufferSize).toBeGreaterThan(2 ** 20);
		expect(await client.request({ type: 'hello', version: 99 })).toMatchObject({
			adapter: null,
			problem: { code: 'protocol.version', values: { version: 99, own: 1 } }
		});
	});

	it('without a GPU still opens and inspects files', async () => {
		const { client } = await open({ openGpu: () => openGpu({ requestAdapter: () => Promise.resolve(null) } as unknown as GPU) });
		expect(await client.request({ type: 'hello', version: 1 })).toMatchObject({ adapter: null, problem: { code: 'gpu.unavailable' } });
		expect(await client.request({ type: 'openModel', source: mini })).toMatchObject({ family: 'mini' });
		expect(await client.request({ type: 'inspect', name: 'mini', blob: model })).toMatchObject({ kind: 'checkpoint' });
	});

	it('describes the model, and reports its loading', async () => {
		const { client, events } = await open();
		const info = await client.request({ type: 'openModel', source: mini, run: 'load' });
		expect(info).toMatchObject({
			family: 'mini',
			resolution: 128,
			unetParameters: 10_393_092,
			fileBytes: 31_741_718,
			modules: { linear: 192, conv: 278 },
			predictionType: 'epsilon'
		});
		expect(info.blocks).toContain('M00');
		expect(info.blocks).not.toContain('BASE');
		// A port carries events and answers apart, so the last event may come a moment later.
		await expect.poll(() => events.length).toBe(4);
		expect(events.map(({ run, seq, event }) => [run, seq, event.type === 'state' && `${event.detail} ${event.fraction}`])).toEqual([
			['load', 0, 'download 0.5'],
			['load', 1, 'download 1'],
			['load', 2, 'open 0'],
			['load', 3, 'open 1']
		]);
	});

	it('takes the word of who knows that the model predicts velocity', async () => {
		const { client } = await open();
		const source = { kind: 'file', name: 'mini', blob: model, prediction: 'v' } as const;
		expect(await client.request({ type: 'openModel', source })).toMatchObject({ predictionType: 'v' });
	});

	it('estimates without allocating, and more for a larger batch', async () => {
		const opened = await open();
		const request = await ready(opened);
		const small = await opened.client.request({ type: 'estimate', request });
		expect(small.problems).toEqual([]);
		const { weights, activations, factors, optimizer, staging, decoder = 0, total } = small.memory.copier;
		expect(weights + activations + factors + optimizer + staging + decoder).toBe(total);
		expect(small.dispatches).toBeGreaterThan(500);
		expect(small.fileBytes).toBeGreaterThan(400_000);
		request.recipe.passes.copier.batch = 8;
		const large = await opened.client.request({ type: 'estimate', request });
		expect(large.memory.copier.activations).toBeGreaterThan(2 * activations);
		expect(large.memory.difference.total).toBe(small.memory.difference.total);
	});

	onlyHere('takes the memory it has estimated', async () => {
		const opened = await open();
		const { client, gate } = opened;
		const request = await ready(opened);
		const { memory } = await client.request({ type: 'estimate', request });
		client.subscribe(({ event }) => {
			if (event.type === 'memory') void client.request({ type: 'stop', run: 'one', save: false });
		});
		gate.open();
		await client.request({ type: 'train', run: 'one', request });
		expect(await opened.ended('one')).toMatchObject({ outcome: 'stopped' });
		const taken = opened.events.find(({ event }) => event.type === 'memory')?.event;
		if (taken?.type !== 'memory') throw new Error('no memory event');
		expect(taken.allocated).toBe(taken.planned);
		const estimated = memory.copier.total - (memory.copier.decoder ?? 0);
		expect(Math.abs(taken.allocated - estimated) / taken.allocated).toBeLessThan(0.01);
	});

	it('refuses a run that needs more than the GPU can bind, before it begins', async () => {
		const opened = await open({
			async openGpu() {
				const gpu = await openGpu(await dawn(['backend=null']), { onError: () => undefined });
				const limits: Record<string, number> = {};
				for (const name in gpu.limits) limits[name] = Number(Reflect.get(gpu.limits, name));
				return { ...gpu, limits: { ...limits, maxStorageBufferBindingSize: 2 ** 18 } as unknown as GPUSupportedLimits };
			}
		});
		const request = await ready(opened);
		const { problems, memory } = await opened.client.request({ type: 'estimate', request });
		expect(problems).toMatchObject([{ level: 'error', code: 'gpu.binding', values: { limit: 0.3 } }]);
		expect(memory.copier.total).toBe(0);
		expect(await problemOf(opened.client.request({ type: 'train', run: 'r', request }))).toMatchObject({ code: 'gpu.binding' });
		expect(opened.events).toEqual([]);
	});

	onlyHere('says so when the GPU has no room', async () => {
		const opened = await open({
			async openGpu() {
				const gpu = await openGpu(await dawn(['backend=null']), { onError: () => undefined });
				// Every scope reports what a full GPU reports.
				gpu.device.popErrorScope = () => Promise.resolve({ message: 'out of memory' } as GPUError);
				return gpu;
			}
		});
		const request = await ready(opened);
		await opened.client.request({ type: 'train', run: 'r', request });
		expect(await opened.ended('r')).toMatchObject({
			outcome: 'failed',
			problem: { code: 'gpu.memory', message: expect.stringMatching(/smaller batch.*close other programs/) as string }
		});
		expect(opened.events.some(({ event }) => event.type === 'state' && event.state === 'training')).toBe(false);
	});

	it('refuses what cannot work before anything is spent', async () => {
		const opened = await open();
		const request = await ready(opened);
		const train = (change: Partial<TrainRequest>): Promise<unknown> =>
			problemOf(opened.client.request({ type: 'train', run: 'r', request: { ...request, ...change } }));
		expect(await train({ modelId: 'gone' })).toMatchObject({ code: 'model.closed' });
		expect(await train({ target: { ...target, height: 64, data: target.data.slice(0, 4 * 128 * 64) } })).toMatchObject({ code: 'pair.sizes' });
		const broken = defaultRecipe('mini');
		broken.passes.copier.rank = 0;
		expect(await train({ recipe: broken })).toMatchObject({ code: 'recipe.tooSmall', where: 'passes.copier.rank' });
		expect(await train({ recipe: defaultRecipe('sd15') })).toMatchObject({ code: 'model.family' });
		expect(opened.gpus.length).toBe(0);
		expect(opened.events).toEqual([]);
		const estimate = await opened.client.request({ type: 'estimate', request: { ...request, recipe: broken } });
		expect(estimate).toMatchObject({ problems: [{ code: 'recipe.tooSmall' }], dispatches: 0 });
	});

	it('does one thing at a time, and stops it', async () => {
		const opened = await open();
		const { client, gate } = opened;
		const request = await ready(opened);
		await client.request({ type: 'train', run: 'one', request });
		await gate.reached;
		const sample = {
			modelId: request.modelId,
			prompt: '',
			negative: '',
			seed: 0,
			steps: 1,
			cfg: 1,
			sampler: 'ddim',
			width: 128,
			height: 128,
			loras: []
		} as const;
		const refusals = [
			client.request({ type: 'train', run: 'two', request }),
			client.request({ type: 'sample', run: 'three', request: { ...sample, loras: [] } }),
			client.request({ type: 'openModel', source: mini }),
			client.request({ type: 'closeModel', modelId: request.modelId })
		].map(problemOf);
		for (const refused of refusals) expect(await refused).toMatchObject({ code: 'run.busy', values: { run: 'one', kind: 'train' } });
		await client.request({ type: 'stop', run: 'another', save: false });
		await client.request({ type: 'stop', run: 'one', save: true });
		gate.open();
		expect(await opened.ended('one')).toEqual({ type: 'ended', outcome: 'stopped' });
		expect(gate.closed).toBe(1);
		const mine = opened.events.filter(({ run }) => run === 'one');
		expect(mine.map(({ seq }) => seq)).toEqual(mine.map((_, i) => i));
		expect(mine.at(-2)?.event).toEqual({ type: 'state', state: 'stopped' });
		await client.request({ type: 'stop', run: 'one', save: true });
		expect(await problemOf(client.request({ type: 'train', run: 'one', request }))).toMatchObject({ code: 'run.used' });
		await client.request({ type: 'closeModel', modelId: request.modelId });
		expect(await problemOf(client.request({ type: 'train', run: 'four', request }))).toMatchObject({ code: 'model.closed' });
	});

	it('ends a run whose device is lost, and opens a new device for the next', async () => {
		const opened = await open();
		const { client, gate, gpus } = opened;
		const request = await ready(opened);
		await client.request({ type: 'train', run: 'one', request });
		await gate.reached;
		gpus[0]?.device.destroy();
		const last = await opened.ended('one');
		expect(last).toMatchObject({ type: 'ended', outcome: 'failed', problem: { code: 'gpu.lost' } });
		expect(last.type === 'ended' && last.problem?.message).toMatch(/Files made so far are kept/);
		const before = opened.events.length;
		gate.open(); // the work that was given up wakes again: nobody hears of it
		await new Promise((later) => setTimeout(later, 50));
		expect(opened.events.length).toBe(before);
		expect(await client.request({ type: 'hello', version: 1 })).toMatchObject({ problem: null });
		expect(gpus.length).toBe(2);
		await client.request({ type: 'train', run: 'two', request });
		await client.request({ type: 'stop', run: 'two', save: false });
		expect(await opened.ended('two')).toMatchObject({ outcome: 'stopped' });
	});

	it('refuses a LoRA for another model, and a size it cannot draw', async () => {
		const opened = await open();
		const { modelId } = await ready(opened);
		const sample = (run: string, change: object): Promise<unknown> =>
			problemOf(
				opened.client.request({
					type: 'sample',
					run,
					request: { modelId, prompt: '', negative: '', seed: 0, steps: 1, cfg: 1, sampler: 'ddim', width: 128, height: 128, loras: [], ...change }
				})
			);
		expect(await sample('a', { width: 100 })).toMatchObject({ code: 'sample.size' });
		expect(await sample('b', { steps: 0 })).toMatchObject({ code: 'sample.steps' });
		expect(await sample('c', { loras: [{ bytes: new ArrayBuffer(0), strength: 1 }] })).toMatchObject({ code: 'file.empty' });
		expect(await opened.ended('c')).toMatchObject({ outcome: 'failed', problem: { code: 'file.empty' } });
	});
});

it('keeps the model that was asked for last, whichever is read first', async () => {
	const host = createHost({ openGpu: () => Promise.reject(new Error('none')) } as unknown as Platform);
	const slow = new SlowBlob([await model.arrayBuffer()]);
	const [first, last] = await Promise.all(
		[slow, model].map((blob, i) => host.handle({ type: 'openModel', source: { kind: 'file', name: `${i}.safetensors`, blob } }))
	);
	const estimate = (modelId = '') => host.handle({ type: 'estimate', request: { modelId, recipe: defaultRecipe('mini') } });
	expect((await estimate(last?.modelId)).problems.map(({ code }) => code)).toContain('input.missing');
	await expect(estimate(first?.modelId)).rejects.toMatchObject({ problem: { code: 'model.closed' } });
	await host.close();
});
