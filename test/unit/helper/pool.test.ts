/** Several trainers as one, with trainers that are scripted: who gets what, and what happens when all are busy. */
import { describe, expect, it } from 'vitest';
import { adapterNames, worthATrainer } from '../../../src/helper/adapters';
import { poolOf } from '../../../src/helper/pool';
import { ServiceError } from '../../../src/service/errors';
import { PROTOCOL_VERSION, type EventMessage, type Request, type TrainerClient, type TrainRequest } from '../../../src/service/protocol';
import { defaultRecipe } from '../../../src/recipe/defaults';

interface Scripted extends TrainerClient {
	asked: string[];
	end(run: string): void;
	running: string | null;
}

/** A trainer with one model and one run at a time, as the host is. */
function scripted(name: string): Scripted {
	const listeners = new Set<(message: EventMessage) => void>();
	let models = 0;
	let open = '';
	const refuse = (code: string): never => {
		throw new ServiceError({ level: 'error', code, where: name, values: {}, message: code });
	};
	const answer = (request: Request): unknown => {
		switch (request.type) {
			case 'hello':
				return {
					version: PROTOCOL_VERSION,
					problem: null,
					adapter: { description: name, features: ['shader-f16', name], maxBufferSize: name.length, maxBindingSize: 1 }
				};
			case 'openModel':
				if (client.running !== null) refuse('run.busy');
				open = `${name}-${++models}`;
				return { modelId: open };
			case 'train':
			case 'estimate':
				if (request.request.modelId !== open) refuse('model.closed');
				if (request.type === 'estimate') return { problems: [] };
				if (client.running !== null) refuse('run.busy');
				client.running = request.run;
				return null;
			default:
				return null;
		}
	};
	const client: Scripted = {
		asked: [],
		running: null,
		request: async (request) => {
			await Promise.resolve();
			client.asked.push(request.type);
			return answer(request) as never;
		},
		subscribe: (listener) => {
			listeners.add(listener);
			return () => listeners.delete(listener);
		},
		close: () => undefined,
		end: (run) => {
			client.running = null;
			for (const listener of listeners) listener({ run, seq: 0, time: 0, event: { type: 'ended', outcome: 'done' } });
		}
	};
	return client;
}

const train = (run: string, modelId: string): Extract<Request, { type: 'train' }> => ({
	type: 'train',
	run,
	request: { modelId, recipe: defaultRecipe('mini') } satisfies TrainRequest
});
const open = { type: 'openModel', source: { kind: 'named', id: 'a' } } as const;

describe('two trainers as one', () => {
	it('spread runs, with the model opened where it is needed', async () => {
		const [one, two] = [scripted('one'), scripted('two')];
		const pool = poolOf([one, two]);
		const heard: string[] = [];
		pool.subscribe(({ run }) => heard.push(run));
		const { modelId } = await pool.request(open);
		await Promise.all([pool.request(train('r1', modelId)), pool.request(train('r2', modelId))]);
		expect([one.running, two.running].sort()).toEqual(['r1', 'r2']);
		expect([one, two].map(({ asked }) => asked.filter((type) => type === 'openModel').length)).toEqual([1, 1]);
		// Both busy: refused, as by one trainer; a plan is possible all the same.
		await expect(pool.request(train('r3', modelId))).rejects.toMatchObject({ problem: { code: 'run.busy' } });
		expect(await pool.request({ type: 'estimate', request: train('r3', modelId).request })).toEqual({ problems: [] });
		two.end('r2');
		await pool.request(train('r4', modelId));
		expect(two.running).toBe('r4');
		expect(two.asked.filter((type) => type === 'openModel')).toHaveLength(1);
		expect(heard).toEqual(['r2']);
	});

	it('send what is said to a run to where it is', async () => {
		const [one, two] = [scripted('one'), scripted('two')];
		const pool = poolOf([one, two]);
		const { modelId } = await pool.request(open);
		await pool.request(train('r1', modelId));
		await pool.request(train('r2', modelId));
		await pool.request({ type: 'stop', run: 'r2', save: true });
		expect([one.asked.includes('stop'), two.asked.includes('stop')]).toEqual([false, true]);
	});

	it('keep two models apart, and open one again that had to make room', async () => {
		const [one, two] = [scripted('one'), scripted('two')];
		const pool = poolOf([one, two]);
		const a = await pool.request(open);
		const b = await pool.request({ ...open, source: { kind: 'named', id: 'b' } });
		const c = await pool.request({ ...open, source: { kind: 'named', id: 'c' } });
		expect(new Set([a.modelId, b.modelId, c.modelId]).size).toBe(3);
		for (const [index, { modelId }] of [a, b].entries()) await pool.request(train(`r${index}`, modelId));
		expect([one.running, two.running].sort()).toEqual(['r0', 'r1']);
		one.end(one.running ?? '');
		await pool.request({ type: 'closeModel', modelId: c.modelId });
		await expect(pool.request(train('r9', c.modelId))).rejects.toMatchObject({ problem: { code: 'model.closed' } });
		// What was refused is not taken for work that goes on.
		await pool.request(train('r10', a.modelId));
		expect(one.running).toBe('r10');
	});

	it('cancel a merge where it is', async () => {
		const [one, two] = [scripted('one'), scripted('two')];
		const pool = poolOf([one, two]);
		const { modelId } = await pool.request(open);
		await pool.request(train('r1', modelId));
		const [busy, free] = one.running ? [one, two] : [two, one];
		const merging = pool.request({ type: 'merge', run: 'm' } as Extract<Request, { type: 'merge' }>);
		await pool.request({ type: 'cancel', run: 'm' });
		await merging;
		expect([busy.asked.includes('cancel'), free.asked.includes('cancel')]).toEqual([false, true]);
	});

	it('answer with what all of them can', async () => {
		const { adapter } = await poolOf([scripted('one'), scripted('three')]).request({ type: 'hello', version: PROTOCOL_VERSION });
		expect(adapter).toMatchObject({ description: 'one + three', features: ['shader-f16'], maxBufferSize: 3 });
	});

	it('forget files that were sent once nobody has them open', async () => {
		const pool = poolOf([scripted('one')]);
		const sent = await pool.request({ type: 'openModel', source: { kind: 'file', name: 'a', blob: new Blob([]) } });
		const named = await pool.request(open);
		await pool.request(open);
		await expect(pool.request(train('r1', sent.modelId))).rejects.toMatchObject({ problem: { code: 'model.closed' } });
		await pool.request(train('r2', named.modelId));
	});
});

describe('adapters', () => {
	it('are read from the list that Dawn gives', () => {
		const text =
			"no suitable backends found\nAvailable adapters:\n * backend: 'vulkan', name: 'NVIDIA A'\n * backend: 'vulkan', name: 'NVIDIA B'\n * backend: 'vulkan', name: 'llvmpipe (LLVM 15)'\n";
		expect(adapterNames(text)).toEqual(['NVIDIA A', 'NVIDIA B', 'llvmpipe (LLVM 15)']);
		expect(worthATrainer(adapterNames(text))).toEqual(['NVIDIA A', 'NVIDIA B']);
		expect(worthATrainer(['llvmpipe (LLVM 15)'])).toEqual([]);
		// Chosen by a part of the name: the shorter one would be either.
		expect(worthATrainer(['RTX 4080', 'RTX 4080 SUPER'])).toEqual(['RTX 4080 SUPER']);
		expect(adapterNames('')).toEqual([]);
	});
});
