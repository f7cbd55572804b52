/**
 * The app's side of its trainers: connects once, says what adapter answered, keeps the one open model. A trainer (here: a worker with the engine; on the helper: a
 * connection) is created on the first sign of use, so that a visit that only looks around loads none of it.
 *
 * There is one in each place. `trainer` is the one in the place that is chosen now: plans, plots, merges and new runs go there; a run that is under way keeps to its own.
 */
import { withGpuMemory } from '../settings/gpu-memory';
import { preferences } from '../settings/preferences.svelte';
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

/** No client is left behind these: the next request makes one. */
const GONE = /^(trainer\.died|helper\.(unreachable|closed|strange|unpaired)|pairing\.)/;

type Status = 'idle' | 'connecting' | 'ready' | 'failed';

export const MINI: ModelSource = { kind: 'bundled', id: 'mini', url: appFile('models/mini.safetensors') };

/** What was thrown, as something to show; errors of the service carry their problem. */
export function toProblem(error: unknown, where: string): Problem {
	if (typeof error === 'object' && error !== null && 'problem' in error) return error.problem as Problem;
	const detail = error instanceof Error ? error.message : String(error);
	return { level: 'error', code: 'internal', where, values: { detail }, message: detail };
}

/** In this tab, or on the native helper of this computer. */
export type Place = 'here' | 'helper';
export const PLACES = ['here', 'helper'] as const satisfies readonly Place[];

class TrainerAt {
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
			return await (await this.#connect()).request(withGpuMemory(request, preferences.gpuMemory));
		} catch (error) {
			if (GONE.test(toProblem(error, 'trainer').code)) this.forget();
			throw error;
		}
	}

	/** The worker (or the connection) is gone, its GPU and model with it: the next request makes a new one. */
	forget(): void {
		this.#client = null;
		this.#hello = null;
		this.#opening = null;
		this.status = 'idle';
		this.adapter = null;
		this.model = null;
	}

	/** Another start of the same helper: no model is open there any more. */
	renew(): void {
		this.#hello = null;
		this.#opening = null;
		this.model = null;
		void this.hello();
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

/** The trainer in the chosen place. */
class Trainer {
	readonly at: Readonly<Record<Place, TrainerAt>> = { here: new TrainerAt(), helper: new TrainerAt() };
	place = $state<Place>('here');
	/** The model that was chosen last, wherever it lies. */
	wanted = $state.raw<ModelSource>(MINI);
	/** The same model as another place knows it; null: it cannot be had there. The helper's connection knows better. */
	translate: (source: ModelSource, place: Place) => ModelSource | null = (source) => source;

	get chosen(): TrainerAt {
		return this.at[this.place];
	}
	get status(): Status {
		return this.chosen.status;
	}
	get adapter(): AdapterSummary | null {
		return this.chosen.adapter;
	}
	get problem(): Problem | null {
		return this.chosen.problem;
	}
	get source(): ModelSource {
		return this.chosen.source;
	}
	get model(): ModelInfo | null {
		return this.chosen.model;
	}
	get modelProblem(): Problem | null {
		return this.chosen.modelProblem;
	}
	get opening(): TrainerAt['opening'] {
		return this.chosen.opening;
	}

	/** How to make the client of this tab. */
	use(make: () => Promise<TrainerClient>): void {
		this.at.here.use(make);
	}

	request<R extends Request>(request: R): Promise<ReplyOf[R['type']]> {
		return this.chosen.request(request);
	}

	/** Events of both places; runs have ids of their own. */
	subscribe(listener: (message: EventMessage) => void): () => void {
		const stops = PLACES.map((place) => this.at[place].subscribe(listener));
		return () => stops.forEach((stop) => stop());
	}

	hello(again = false): Promise<boolean> {
		return this.chosen.hello(again);
	}

	choose(source: ModelSource): Promise<void> {
		this.wanted = source;
		if (source.kind === 'named') this.place = 'helper';
		return this.chosen.choose(this.translate(source, this.place) ?? source);
	}

	openModel(): Promise<ModelInfo | null> {
		return this.chosen.openModel();
	}
}

export const trainer = new Trainer();
