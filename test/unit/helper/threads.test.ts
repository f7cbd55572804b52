/** A trainer on a thread that ends by itself: its runs end, nothing waits for ever, the next request starts another thread. */
import { afterEach, expect, it } from 'vitest';
import { poolOf } from '../../../src/helper/pool';
import { threadClient, type Thread } from '../../../src/helper/threads';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { ServiceError } from '../../../src/service/errors';
import type { EventMessage, ReplyOf, Request, TrainRequest } from '../../../src/service/protocol';
import { serve, type TrainerHost } from '../../../src/service/wire';

const open = { type: 'openModel', source: { kind: 'named', id: 'a' } } as const;
const train = (run: string, modelId: string): Extract<Request, { type: 'train' }> => ({
	type: 'train',
	run,
	request: { modelId, recipe: defaultRecipe('mini') } satisfies TrainRequest
});

interface Started {
	asked: string[];
	/** Says something of a run. */
	emit(message: EventMessage): void;
	die(reason: string): void;
	ended: boolean;
}

const threads: Started[] = [];
afterEach(() => threads.splice(0));

/** A host with one model, behind a port as on a thread. */
function start(): Thread {
	const { port1, port2 } = new MessageChannel();
	const listeners = new Set<(message: EventMessage) => void>();
	const name = `m${threads.length}`;
	const started: Started = {
		asked: [],
		emit: (message) => listeners.forEach((listener) => listener(message)),
		die: () => undefined,
		ended: false
	};
	const host: TrainerHost = {
		handle: <R extends Request>(request: R): Promise<ReplyOf[R['type']]> => {
			started.asked.push(request.type);
			if (request.type === 'openModel') return Promise.resolve({ modelId: name } as never);
			if (request.type === 'train' && request.request.modelId !== name)
				return Promise.reject(new ServiceError({ level: 'error', code: 'model.closed', where: name, values: {}, message: '' }));
			// Never answers: its thread is busy for good.
			if (request.type === 'listModels') return new Promise(() => undefined);
			return Promise.resolve(null as never);
		},
		subscribe: (listener) => {
			listeners.add(listener);
			return () => listeners.delete(listener);
		},
		close: () => Promise.resolve()
	};
	serve(host, port2);
	port1.start();
	port2.start();
	const died = new Promise<never>((_, reject) => (started.die = (reason) => reject(new Error(reason))));
	died.catch(() => undefined);
	threads.push(started);
	return {
		port: port1,
		news: Promise.resolve({ adapters: [] }),
		died,
		end: () => {
			started.ended = true;
			port2.close();
		}
	};
}

it('a thread that ends by itself ends its runs and what waits for it, and the next request starts another with the model open', async () => {
	const trainer = poolOf([threadClient(start)]);
	const heard: EventMessage[] = [];
	trainer.subscribe((message) => heard.push(message));
	const { modelId } = await trainer.request(open);
	await trainer.request(train('r1', modelId));
	threads[0]?.emit({ run: 'r1', seq: 0, time: 0, event: { type: 'state', state: 'training' } });
	const waiting = trainer.request({ type: 'listModels' });
	await expect.poll(() => [threads[0]?.asked.at(-1), heard.length]).toEqual(['listModels', 1]);
	threads[0]?.die('out of memory');
	await expect(waiting).rejects.toMatchObject({ problem: { code: 'helper.trainerDied', values: { detail: 'out of memory' } } });
	expect(heard.at(-1)).toMatchObject({ run: 'r1', seq: 1, event: { type: 'ended', outcome: 'failed', problem: { code: 'helper.trainerDied' } } });
	expect(threads).toHaveLength(1);
	await trainer.request(train('r2', modelId));
	expect(threads.map(({ asked }) => asked)).toEqual([
		['openModel', 'train', 'listModels'],
		['train', 'openModel', 'train']
	]);
	trainer.close();
	await expect.poll(() => threads.map(({ ended }) => ended)).toEqual([false, true]);
	// Its end was wished for: nothing failed.
	threads[1]?.die('ended');
	await new Promise((later) => setTimeout(later, 5));
	expect(heard).toHaveLength(2);
});
