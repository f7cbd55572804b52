import { afterEach, describe, expect, it } from 'vitest';
import { errorProblem } from '../../../src/jobs/problem';
import { asProblem, ServiceError } from '../../../src/service/errors';
import { createInProcessClient } from '../../../src/service/inProcess';
import type { EventMessage, ReplyOf, Request, TrainerClient } from '../../../src/service/protocol';
import { connect, serve, type TrainerHost } from '../../../src/service/wire';
import { FormatError } from '../../../src/formats/error';
import { GpuError } from '../../../src/gpu/gpu';
import { StorageError } from '../../../src/storage/errors';

const picture = (): ReplyOf['sample'] => ({ width: 1, height: 1, data: new Uint8ClampedArray([1, 2, 3, 255]) });

/** Answers a few requests the way the real host does, and keeps what it gave away. */
class FakeHost implements TrainerHost {
	readonly listeners = new Set<(message: EventMessage) => void>();
	readonly given: Uint8ClampedArray[] = [];
	closed = false;

	async handle<R extends Request>(request: R): Promise<ReplyOf[R['type']]> {
		return (await this.answer(request)) as ReplyOf[R['type']];
	}
	private async answer(request: Request): Promise<ReplyOf[keyof ReplyOf]> {
		switch (request.type) {
			case 'hello':
				return { version: request.version, adapter: null, problem: null };
			case 'sample': {
				const made = picture();
				this.given.push(made.data);
				return made;
			}
			case 'inspect':
				throw new FormatError('truncated', 'header', 'The file ends early', 'Download it again.', {
					bytes: await request.blob.text().then((text) => text.length)
				});
			case 'stop':
				throw new ServiceError(errorProblem('run.unknown', request.run, 'No such run.', { run: request.run }));
			default:
				throw new TypeError('odd');
		}
	}
	emit(message: EventMessage): void {
		for (const listener of this.listeners) listener(message);
	}
	subscribe(listener: (message: EventMessage) => void): () => void {
		this.listeners.add(listener);
		return () => this.listeners.delete(listener);
	}
	close(): Promise<void> {
		this.closed = true;
		return Promise.resolve();
	}
}

const event = (seq: number, body: EventMessage['event']): EventMessage => ({ run: 'r', seq, time: 0, event: body });

describe.each(['port', 'direct'] as const)('the protocol, %s', (transport) => {
	let ports: MessageChannel | undefined;
	afterEach(() => {
		ports?.port1.close();
		ports?.port2.close();
		ports = undefined;
	});
	const open = (died?: Promise<never>): { host: FakeHost; client: TrainerClient } => {
		const host = new FakeHost();
		if (transport === 'direct') return { host, client: createInProcessClient(host) };
		ports = new MessageChannel();
		serve(host, ports.port1);
		ports.port1.start();
		ports.port2.start();
		return { host, client: connect(ports.port2, { onClose: () => undefined, ...(died ? { died } : {}) }) };
	};

	it('brings a reply of the right kind', async () => {
		const { client } = open();
		expect(await client.request({ type: 'hello', version: 1 })).toEqual({ version: 1, adapter: null, problem: null });
	});

	it('brings a refusal with its problem intact', async () => {
		const { client } = open();
		const refused: unknown = await client.request({ type: 'stop', run: 'r7', save: true }).catch((error: unknown) => error);
		expect(refused).toBeInstanceOf(ServiceError);
		expect(refused).toMatchObject({ message: 'No such run.', problem: { level: 'error', code: 'run.unknown', where: 'r7', values: { run: 'r7' } } });
	});

	it('makes a problem of any error, and carries blobs', async () => {
		const { client } = open();
		const refused: unknown = await client.request({ type: 'inspect', name: 'x', blob: new Blob(['abc']) }).catch((error: unknown) => error);
		expect(refused).toMatchObject({ problem: { code: 'file.truncated', values: { bytes: 3, at: 'header' } } });
		const odd: unknown = await client.request({ type: 'closeModel', modelId: 'm' }).catch((error: unknown) => error);
		expect(odd).toMatchObject({ problem: { code: 'internal', where: 'closeModel', values: { detail: 'odd' } } });
	});

	it('brings events in order, with their pixels, to everybody who listens', async () => {
		const { host, client } = open();
		const first: EventMessage[] = [];
		const second: EventMessage[] = [];
		client.subscribe((message) => first.push(message));
		const stop = client.subscribe((message) => second.push(message));
		await client.request({ type: 'hello', version: 1 });
		host.emit(event(0, { type: 'state', state: 'preparing' }));
		host.emit(event(1, { type: 'preview', pass: 'copier', step: 1, seed: 2, strength: 1, picture: picture() }));
		host.emit(event(2, { type: 'file', role: 'result', name: 'a.safetensors', step: 3, bytes: new Uint8Array([9, 8]).buffer }));
		await client.request({ type: 'hello', version: 1 });
		stop();
		host.emit(event(3, { type: 'ended', outcome: 'done' }));
		await client.request({ type: 'hello', version: 1 });
		expect(first.map(({ seq }) => seq)).toEqual([0, 1, 2, 3]);
		expect(second.map(({ seq }) => seq)).toEqual([0, 1, 2]);
		const preview = first[1]?.event;
		expect(preview?.type === 'preview' && [...preview.picture.data]).toEqual([1, 2, 3, 255]);
		const file = first[2]?.event;
		expect(file?.type === 'file' && [...new Uint8Array(file.bytes)]).toEqual([9, 8]);
	});

	it('closes the host', async () => {
		const { host, client } = open();
		await client.request({ type: 'hello', version: 1 });
		client.close();
		await expect.poll(() => host.closed).toBe(true);
	});

	if (transport === 'port') {
		it('moves pixels instead of copying them', async () => {
			const { host, client } = open();
			const made = await client.request({
				type: 'sample',
				run: 's',
				request: { modelId: 'm', prompt: '', negative: '', seed: 0, steps: 1, cfg: 1, sampler: 'ddim', width: 8, height: 8, loras: [] }
			});
			expect([...made.data]).toEqual([1, 2, 3, 255]);
			expect(host.given[0]?.byteLength).toBe(0);
		});

		it('lets no request wait for a dead worker', async () => {
			const { client } = open(Promise.reject(new ServiceError(errorProblem('trainer.died', 'trainer', 'Gone.'))));
			await expect(client.request({ type: 'hello', version: 1 })).rejects.toMatchObject({ problem: { code: 'trainer.died' } });
		});
	}
});

describe('problems of the lower rooms', () => {
	it.each([
		[new FormatError('pickle', 'file', 'A pickle', 'Convert it.'), 'file.pickle'],
		[new GpuError('lost', 'The device was lost.'), 'gpu.lost'],
		[new StorageError('storage.quota', 'a', 'Full.'), 'storage.quota'],
		[new Error('odd'), 'internal'],
		['text', 'internal']
	])('%s', (error, code) => {
		const problem = asProblem(error, 'here');
		expect(problem.code).toBe(code);
		expect(structuredClone(problem)).toEqual(problem);
		expect(problem.message).not.toBe('');
	});
});
