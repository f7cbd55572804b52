/**
 * Trainers on threads of their own (Node's workers), so that the helper answers its pages whatever a trainer is doing: ONNX Runtime and Dawn hold a thread for seconds.
 *
 * Rules
 * - The main thread has the server, the socket, the runs and their logs; a trainer's thread has the engine and nothing else. Between them is the protocol of a worker (`service/wire.ts`).
 * - A thread that ends by itself (no memory, an error nobody caught) ends its runs as failed, says why, and is started anew by the next request; the helper goes on.
 * - The first thread lists the GPUs, because the main thread does not load Dawn; for each further one there is another thread.
 */
import { join } from 'node:path';
import { Worker, type TransferListItem } from 'node:worker_threads';
import { errorProblem } from '../jobs/problem';
import { ServiceError } from '../service/errors';
import { begunBy, type EventMessage, type ReplyOf, type Request, type RunId, type TrainerClient } from '../service/protocol';
import { connect } from '../service/wire';
import { poolOf } from './pool';

export interface ThreadData {
	/** Folder of the package. */
	root: string;
	/** Where the owner's list of model folders is. */
	config: string;
	/** The helper's own, for snapshots. */
	folder: string;
	/** Name of the GPU; null: list them all and take the first. */
	adapter: string | null;
}

/** What a thread says before it serves. */
export interface ThreadNews {
	/** Names of the GPUs that are worth a trainer, when it was to list them. */
	adapters: string[];
}

/** A thread under way. */
export interface Thread {
	port: MessagePort;
	news: Promise<ThreadNews>;
	/** Rejects when the thread ended, whyever. */
	died: Promise<never>;
	end(): void;
}

export function startThread(data: ThreadData): Thread {
	const { port1, port2 } = new MessageChannel();
	const worker = new Worker(join(data.root, 'bin', 'trainer.mjs'), {
		workerData: { ...data, port: port2 },
		transferList: [port2 as unknown as TransferListItem],
		name: 'utsushi-trainer'
	});
	const died = new Promise<never>((_, reject) => {
		worker.once('error', reject);
		worker.once('exit', (code) => reject(new Error(`the thread ended with ${code}`)));
	});
	died.catch(() => undefined);
	const news = Promise.race([new Promise<ThreadNews>((resolve) => worker.once('message', resolve)), died]);
	news.catch(() => undefined);
	port1.start();
	return { port: port1, news, died, end: () => void worker.terminate() };
}

function asDeath(cause: unknown): ServiceError {
	const detail = cause instanceof Error ? cause.message : String(cause);
	const message = `The helper’s trainer stopped unexpectedly (${detail}). It is started anew when it is needed; what was being trained can go on from its last snapshot.`;
	return new ServiceError(errorProblem('helper.trainerDied', 'helper', message, { detail }), { cause });
}

/** One trainer, on as many threads after each other as it takes. */
class ThreadClient implements TrainerClient {
	#client: TrainerClient | undefined;
	#closed = false;
	/** Work that was begun and has not ended, with the number of its next event. */
	readonly #running = new Map<RunId, number>();
	readonly #listeners = new Set<(message: EventMessage) => void>();

	constructor(private readonly start: () => Thread) {}

	/** The thread that is there, or a new one. */
	#reach(): TrainerClient {
		if (this.#client) return this.#client;
		const { port, died, end } = this.start();
		const failed = died.catch((cause: unknown): never => {
			throw asDeath(cause);
		});
		const client = connect(port, {
			onClose: () => {
				end();
				port.close();
			},
			died: failed
		});
		client.subscribe((message) => this.#heard(message));
		failed.catch((error: unknown) => {
			port.close();
			if (this.#client !== client) return;
			this.#client = undefined;
			if (!this.#closed && error instanceof ServiceError) this.#endAll(error);
		});
		this.#client = client;
		return client;
	}

	#heard(message: EventMessage): void {
		const { run, seq, event } = message;
		if (event.type === 'ended') this.#running.delete(run);
		else if (this.#running.has(run)) this.#running.set(run, seq + 1);
		for (const listener of this.#listeners) listener(message);
	}

	#endAll({ problem }: ServiceError): void {
		for (const [run, seq] of [...this.#running]) this.#heard({ run, seq, time: Date.now(), event: { type: 'ended', outcome: 'failed', problem } });
	}

	async request<R extends Request>(request: R): Promise<ReplyOf[R['type']]> {
		const client = this.#reach();
		// Other work ends with its answer, which the death of the thread is too.
		const run = request.type === 'train' ? begunBy(request) : undefined;
		if (run !== undefined && !this.#running.has(run)) this.#running.set(run, 0);
		try {
			return await client.request(request);
		} catch (error) {
			if (run !== undefined) this.#running.delete(run);
			throw error;
		}
	}

	subscribe(listener: (message: EventMessage) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	close(): void {
		this.#closed = true;
		this.#client?.close();
		this.#client = undefined;
	}
}

/** @param start called for the first request, and again for the first one after a thread ended by itself */
export function threadClient(start: () => Thread): TrainerClient {
	return new ThreadClient(start);
}

/** The trainers of a helper: one for each GPU that Dawn lists, as one (`pool.ts`). With a single GPU, Dawn's own choice. */
export async function openTrainers(data: Omit<ThreadData, 'adapter'>): Promise<TrainerClient> {
	let first: Thread | undefined = startThread({ ...data, adapter: null });
	const { adapters } = await first.news;
	const start = (adapter: string | null) => (): Thread => {
		const ready = adapter === null || adapter === adapters[0] ? first : undefined;
		first = undefined;
		return ready ?? startThread({ ...data, adapter });
	};
	const names = adapters.length > 1 ? adapters : [null];
	return poolOf(names.map((name) => threadClient(start(name))));
}
