/**
 * Trainers (one per GPU) as one: work goes to a trainer that has nothing to do, best to one that has its model open already; a model is opened anew where it is needed,
 * from the source it was first opened from, also after its trainer's thread was started anew. Runs stay where they began. With all of them busy, the trainer that has the model
 * refuses, as a single one would.
 */
import type { EventMessage, ModelInfo, ModelSource, ReplyOf, Request, RunId, TrainerClient } from '../service/protocol';
import { begunBy } from '../service/protocol';
import { errorProblem } from '../jobs/problem';
import { ServiceError } from '../service/errors';

interface Member {
	client: TrainerClient;
	/** Work that was given to it and has not ended. */
	busy: Set<RunId>;
	/** The model that is open there: a trainer has one. */
	open: { model: string; id: string } | null;
	opening: Promise<unknown>;
}

type WithModel = Extract<Request, { type: 'estimate' | 'train' | 'sample' | 'findRate' | 'plot' }>;

function isWithModel(request: Request): request is WithModel {
	return ['estimate', 'train', 'sample', 'findRate', 'plot'].includes(request.type);
}

/** Sources that are remembered of models that are open nowhere; one that was sent here takes room and is not among them. */
const MAX_CLOSED = 64;

class Pool implements TrainerClient {
	readonly #members: Member[];
	readonly #models = new Map<string, ModelSource>();
	readonly #runs = new Map<RunId, Member>();
	#opened = 0;
	/** Another start of a helper must not take an id of this one for its own. */
	readonly #name = crypto.randomUUID().slice(0, 8);

	constructor(clients: readonly TrainerClient[]) {
		this.#members = clients.map((client) => ({ client, busy: new Set<RunId>(), open: null, opening: Promise.resolve() }));
		for (const member of this.#members)
			member.client.subscribe(({ run, event }) => {
				if (event.type !== 'ended') return;
				member.busy.delete(run);
				this.#runs.delete(run);
			});
	}

	async request<R extends Request>(request: R): Promise<ReplyOf[R['type']]> {
		// Each type has its own reply; the compiler cannot follow a switch into a generic.
		return (await this.#answer(request)) as ReplyOf[R['type']];
	}

	get #first(): Member {
		const [first] = this.#members;
		if (!first) throw new ServiceError(errorProblem('gpu.unavailable', 'gpu', 'There is no GPU to train on.'));
		return first;
	}

	#answer(request: Request): Promise<ReplyOf[keyof ReplyOf]> {
		if (isWithModel(request)) return this.#work(request);
		switch (request.type) {
			case 'hello':
				return this.#hello(request);
			case 'openModel':
				return this.#openModel(request);
			case 'closeModel':
				return this.#closeModel(request.modelId);
			case 'stop':
			case 'snapshot':
			case 'cancel':
				return (this.#runs.get(request.run) ?? this.#first).client.request(request);
			case 'merge':
				return this.#merge(request);
			default:
				return this.#first.client.request(request);
		}
	}

	/** Takes no GPU away from anybody, so its trainer is not busy; it can be cancelled where it is. */
	async #merge(request: Extract<Request, { type: 'merge' }>): Promise<ReplyOf['merge']> {
		const member = this.#idle();
		this.#runs.set(request.run, member);
		try {
			return await member.client.request(request);
		} finally {
			this.#runs.delete(request.run);
		}
	}

	/** The first adapter speaks for all, with every name; a feature counts when each has it. */
	async #hello(request: Extract<Request, { type: 'hello' }>): Promise<ReplyOf['hello']> {
		const replies = await Promise.all(this.#members.map(({ client }) => client.request(request)));
		const [first] = replies;
		if (!first?.adapter) return first ?? this.#first.client.request(request);
		const adapters = replies.flatMap(({ adapter }) => adapter ?? []);
		const least = (pick: (adapter: NonNullable<ReplyOf['hello']['adapter']>) => number): number => Math.min(...adapters.map(pick));
		const adapter = {
			...first.adapter,
			description: adapters.map(({ description }) => description).join(' + '),
			features: first.adapter.features.filter((feature) => adapters.every(({ features }) => features.includes(feature))),
			maxBufferSize: least(({ maxBufferSize }) => maxBufferSize),
			maxBindingSize: least(({ maxBindingSize }) => maxBindingSize)
		};
		return { ...first, adapter };
	}

	/** Somebody with nothing to do; `model`: best where it is open. */
	#idle(model?: string): Member {
		const free = this.#members.filter(({ busy }) => busy.size === 0);
		return free.find(({ open }) => open?.model === model) ?? free.find(({ open }) => open === null) ?? free[0] ?? this.#holder(model) ?? this.#first;
	}

	#holder(model: string | undefined): Member | undefined {
		return this.#members.find(({ open }) => open !== null && open.model === model);
	}

	async #openModel(request: Extract<Request, { type: 'openModel' }>): Promise<ModelInfo> {
		const member = this.#idle();
		const model = `pool-${++this.#opened}-${this.#name}`;
		const info = await this.#inTurn(member, async () => {
			const reply = await member.client.request(request);
			member.open = { model, id: reply.modelId };
			return reply;
		});
		this.#models.set(model, request.source);
		this.#forgetSources();
		return { ...info, modelId: model };
	}

	#forgetSources(): void {
		const closed = [...this.#models].filter(([model]) => !this.#holder(model));
		for (const [index, [model, { kind }]] of closed.entries()) if (kind === 'file' || index < closed.length - MAX_CLOSED) this.#models.delete(model);
	}

	async #closeModel(model: string): Promise<null> {
		this.#models.delete(model);
		for (const member of this.#members) {
			if (member.open?.model !== model || member.busy.size > 0) continue;
			const { id } = member.open;
			member.open = null;
			await member.client.request({ type: 'closeModel', modelId: id });
		}
		return null;
	}

	/** One after the other: a trainer has one model, and two that open at once would take it from each other. */
	#inTurn<T>(member: Member, work: () => Promise<T>): Promise<T> {
		const done = member.opening.then(work);
		member.opening = done.catch(() => undefined);
		return done;
	}

	/** The model's id at this trainer, opened there when it is not. */
	#at(member: Member, model: string): Promise<string> {
		return this.#inTurn(member, async () => {
			if (member.open?.model === model) return member.open.id;
			const source = this.#models.get(model);
			if (!source) throw new ServiceError(errorProblem('model.closed', 'model', 'This model is not open any more. Open it again.', { modelId: model }));
			const { modelId } = await member.client.request({ type: 'openModel', source });
			member.open = { model, id: modelId };
			return modelId;
		});
	}

	async #work(request: WithModel): Promise<ReplyOf[WithModel['type']]> {
		const model = request.request.modelId;
		const run = begunBy(request);
		// A plan allocates nothing: whoever has the model open can make it, also while it trains.
		const member = run === undefined ? (this.#holder(model) ?? this.#idle(model)) : this.#idle(model);
		const taken = run !== undefined && member.busy.size === 0;
		if (run !== undefined && taken) {
			member.busy.add(run);
			this.#runs.set(run, member);
		}
		try {
			return await this.#askAt(member, model, request).catch((error: unknown) => {
				// Its thread was started anew since, and has no model yet.
				if (!(error instanceof ServiceError && error.problem.code === 'model.closed' && member.open?.model === model)) throw error;
				member.open = null;
				return this.#askAt(member, model, request);
			});
		} catch (error) {
			if (run !== undefined && taken) {
				member.busy.delete(run);
				this.#runs.delete(run);
			}
			throw error;
		}
	}

	async #askAt(member: Member, model: string, request: WithModel): Promise<ReplyOf[WithModel['type']]> {
		const modelId = await this.#at(member, model);
		// The same kind of request with another id of the model.
		const there = { ...request, request: { ...request.request, modelId } } as WithModel;
		return member.client.request(there);
	}

	subscribe(listener: (message: EventMessage) => void): () => void {
		const stops = this.#members.map(({ client }) => client.subscribe(listener));
		return () => {
			for (const stop of stops) stop();
		};
	}

	close(): void {
		for (const { client } of this.#members) client.close();
	}
}

/** @param clients at least one */
export function poolOf(clients: readonly TrainerClient[]): TrainerClient {
	return new Pool(clients);
}
