/**
 * The app's side of the trainer: connects once, says what adapter answered, keeps the one open model. The trainer itself (a worker with
 * the engine) is created on the first sign of use, so that a visit that only looks around loads none of it.
 */
import {
	PROTOCOL_VERSION,
	type AdapterSummary,
	type EventMessage,
	type ModelInfo,
	type ModelSource,
	type Problem,
	type ReplyOf,
	type Request,
	type TrainerClient
} from '../../service/protocol';
import { appFile } from '../files';
import { newId } from '../id';

type Status = 'idle' | 'connecting' | 'ready' | 'failed';

export const MINI: ModelSource = { kind: 'bundled', id: 'mini', url: appFile('models/mini.safetensors') };

/** What was thrown, as something to show; errors of the service carry their problem. */
export function toProblem(error: unknown, where: string): Problem {
	if (typeof error === 'object' && error !== null && 'problem' in error) return error.problem as Problem;
	const detail = error instanceof Error ? error.message : String(error);
	return { level: 'error', code: 'internal', where, values: { detail }, message: detail };
}

class Trainer {
	#make: (() => Promise<TrainerClient>) | null = null;
	#client: Promise<TrainerClient> | null = null;
	#hello: Promise<boolean> | null = null;
	#opening: { source: ModelSource; done: Promise<ModelInfo | null> } | null = null;
	#listeners = new Set<(message: EventMessage) => void>();

	status = $state<Status>('idle');
	adapter = $state.raw<AdapterSummary | null>(null);
	problem = $state.raw<Problem | null>(null);
	source = $state.raw<ModelSource>(MINI);
	model = $state.raw<ModelInfo | null>(null);
	modelProblem = $state.raw<Problem | null>(null);
	/** While a model is read; `fraction` null until known. */
	opening = $state.raw<{ detail: string; fraction: number | null } | null>(null);

	/** How to make the client. Called once, by the page's entry (or a test). */
	use(make: () => Promise<TrainerClient>): void {
		this.#make = make;
	}

	async #connect(): Promise<TrainerClient> {
		if (!this.#make) throw new Error('no trainer was configured');
		this.#client ??= this.#make().then((client) => {
			client.subscribe((message) => {
				for (const listener of this.#listeners) listener(message);
			});
			return client;
		});
		return this.#client;
	}

	async request<R extends Request>(request: R): Promise<ReplyOf[R['type']]> {
		try {
			return await (await this.#connect()).request(request);
		} catch (error) {
			if (toProblem(error, 'trainer').code === 'trainer.died') this.#forget();
			throw error;
		}
	}

	/** The worker is gone, its GPU and model with it: the next request makes a new one. */
	#forget(): void {
		this.#client = null;
		this.#hello = null;
		this.#opening = null;
		this.status = 'idle';
		this.adapter = null;
		this.model = null;
	}

	subscribe(listener: (message: EventMessage) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	/** True when a usable adapter answered. Asks once; `again` asks anew. */
	hello(again = false): Promise<boolean> {
		if (again) this.#hello = null;
		this.#hello ??= this.#ask();
		return this.#hello;
	}

	async #ask(): Promise<boolean> {
		this.status = 'connecting';
		try {
			const reply = await this.request({ type: 'hello', version: PROTOCOL_VERSION });
			this.adapter = reply.adapter;
			this.problem = reply.problem;
			this.status = reply.adapter && reply.problem?.level !== 'error' ? 'ready' : 'failed';
		} catch (error) {
			this.problem = toProblem(error, 'trainer');
			this.status = 'failed';
			this.#client = null; // a script that could not be loaded may load next time
		}
		if (this.status === 'failed') this.#hello = null;
		return this.status === 'ready';
	}

	/** Another model; the open one is closed. Nothing is read before `openModel`. */
	async choose(source: ModelSource): Promise<void> {
		const open = this.model;
		this.source = source;
		this.model = null;
		this.modelProblem = null;
		this.#opening = null;
		if (open) await this.request({ type: 'closeModel', modelId: open.modelId }).catch(() => undefined);
	}

	/** Opens the chosen model, or returns the one that is open. null: see `problem` and `modelProblem`. */
	openModel(): Promise<ModelInfo | null> {
		if (this.#opening?.source === this.source) return this.#opening.done;
		const source = this.source;
		const done = this.#open(source);
		this.#opening = { source, done };
		return done;
	}

	async #open(source: ModelSource): Promise<ModelInfo | null> {
		if (!(await this.hello())) {
			this.#opening = null;
			return null;
		}
		const run = newId();
		this.modelProblem = null;
		this.opening = { detail: 'open', fraction: null };
		const stop = this.subscribe(({ run: of, event }) => {
			if (of === run && event.type === 'state' && this.source === source) this.opening = { detail: event.detail ?? 'open', fraction: event.fraction ?? null };
		});
		try {
			const model = await this.request({ type: 'openModel', source, run });
			if (this.source !== source) {
				await this.request({ type: 'closeModel', modelId: model.modelId });
				return null;
			}
			this.model = model;
			return model;
		} catch (error) {
			if (this.source === source) {
				this.modelProblem = toProblem(error, 'model');
				this.#opening = null;
			}
			return null;
		} finally {
			stop();
			if (this.source === source) this.opening = null;
		}
	}
}

export const trainer = new Trainer();
