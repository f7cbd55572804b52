/**
 * The queue of this browser: the runner of `service/queue.ts` with the page's own effects. Jobs run through the one run of the page (`run.svelte.ts`), so the run page
 * shows whichever is going on; everything is stored in IndexedDB, and a tab that does not own the queue says so.
 */
import {
	EMPTY_QUEUE,
	isResumable,
	QueueRunner,
	readQueue,
	runningJob,
	type Job,
	type JobDraft,
	type JobEnd,
	type JobInput,
	type JobOutcome,
	type JobPlace,
	type JobReport,
	type Queue
} from '../../service/queue';
import type { RunSummary } from '../../service/helper-protocol';
import type { ModelSource, Problem, TrainRequest } from '../../service/protocol';
import type { Recipe } from '../../recipe/recipe';
import type { QueueStore } from '../../storage/queue';
import type { SnapshotStore } from '../../storage/snapshots/snapshots';
import { pairing } from '../helper/pairing.svelte';
import { newId } from '../id';
import { run } from '../run/run.svelte';
import { trainedShare } from '../run/view';
import { toProblem, trainer } from '../train/trainer.svelte';
import { editing } from './editing.svelte';
import { allowModel, giveModel, modelReference, resolveModel, sameSource } from './models';

/** What of a request is stored as content: all but the recipe (kept readable) and the model (a reference). */
type Content = Omit<TrainRequest, 'recipe' | 'modelId'>;

/** Progress reaches the screen once a second; the run page shows every step. */
const PROGRESS_MS = 1000;

function unavailable(): Problem {
	return {
		level: 'warning',
		code: 'queue.memoryOnly',
		where: 'queue',
		values: {},
		message: 'This browser keeps no queue (a private window, or storage is switched off): it lasts as long as this tab.'
	};
}

class AppQueue {
	queue = $state.raw<Queue>(EMPTY_QUEUE);
	/** `elsewhere`: another tab has the queue. */
	status = $state<'closed' | 'opening' | 'elsewhere' | 'ready'>('closed');
	/** The queue could not be stored. */
	problem = $state.raw<Problem | null>(null);
	/** There was something to go on with when the page was opened, and nobody has decided yet. */
	offered = $state(false);

	#opening: Promise<void> | null = null;
	#runner: QueueRunner | null = null;
	#store: QueueStore | null = null;
	#snapshots: SnapshotStore | null = null;
	/** Who waits to hear whether a job was accepted. */
	readonly #starting = new Map<string, (problem: Problem | null) => void>();
	/** Runs that went on on the helper while this page was away, by job. */
	readonly #away = new Map<string, RunSummary>();

	get running(): Job | undefined {
		return runningJob(this.queue);
	}

	/** Finds the queue as it was left. Resolves when this tab owns it. */
	open(): Promise<void> {
		this.#opening ??= this.#open();
		return this.#opening;
	}

	async #open(): Promise<void> {
		this.status = 'opening';
		const storage = await import('../../storage/queue');
		await storage.ownQueue(() => (this.status = 'elsewhere'));
		try {
			this.#store = await storage.openQueueStore();
		} catch {
			this.problem = unavailable();
		}
		this.#runner = await QueueRunner.open({
			load: async () => readQueue(await this.#store?.load()),
			save: async (queue) => this.#store?.save(queue),
			run: (job, report) => this.#run(job, report),
			end: (_job, how) => run.stop(how === 'save', how === 'pause'),
			settled: (job) => this.#dropSnapshot(job),
			forget: (job, remaining) => this.#forget(job, remaining),
			unsaved: () => (this.problem = unavailable()),
			failed: (error) => toProblem(error, 'queue'),
			now: Date.now
		});
		this.#runner.subscribe((queue) => (this.queue = queue));
		this.queue = this.#runner.queue;
		this.offered =
			this.queue.jobs.some(({ state }) => state === 'interrupted' || state === 'paused') ||
			(isResumable(this.queue) && this.queue.jobs.some(({ attempts }) => attempts > 0));
		this.status = 'ready';
	}

	async #opened(): Promise<QueueRunner> {
		await this.open();
		if (!this.#runner) throw new Error('the queue is not open');
		return this.#runner;
	}

	async #draft(request: TrainRequest): Promise<JobDraft> {
		const { recipe, modelId, ...content } = request;
		void modelId;
		return { id: newId(), recipe, input: await this.#input(content) };
	}

	/** @param known the model as a job refers to it already */
	async #input(content: Content, known?: JobInput['model']): Promise<JobInput> {
		const model = known ?? (await modelReference(trainer.source, this.#store));
		const { wish } = pairing;
		const where = wish === 'here' ? {} : { where: wish };
		if (!this.#store) return { model, ...where, content };
		const { deflateContent } = await import('../../storage/queue-content');
		return { model, ...where, content: await deflateContent(content, this.#store.content) };
	}

	/** Adds a job behind the others. Errors: `StorageError` when its pictures cannot be kept. */
	async add(request: TrainRequest): Promise<void> {
		const runner = await this.#opened();
		runner.dispatch({ type: 'add', jobs: [await this.#draft(request)], time: Date.now() });
	}

	/** Adds jobs of the same kind at once, one a request: several pairs. Errors: `StorageError`; then none is added. */
	async addAll(requests: readonly TrainRequest[]): Promise<void> {
		const runner = await this.#opened();
		const jobs: JobDraft[] = [];
		for (const request of requests) jobs.push(await this.#draft(request));
		runner.dispatch({ type: 'add', jobs, time: Date.now() });
	}

	/** The model a job was made with, when it is at hand. */
	async modelSource(job: Job): Promise<ModelSource | null> {
		const resolved = await resolveModel(job.input.model, this.#store);
		return 'source' in resolved ? resolved.source : null;
	}

	/** Replaces the settings of the job that is being edited. */
	async saveEdited(request: TrainRequest): Promise<void> {
		const { job } = editing;
		if (!job) return;
		const { recipe, modelId, ...content } = request;
		void modelId;
		const runner = await this.#opened();
		const before = runner.queue.jobs.find(({ id }) => id === job.id);
		const same = trainer.source === job.source ? before?.input.model : undefined;
		runner.dispatch({ type: 'edit', id: job.id, recipe, input: await this.#input(content, same) });
		editing.job = null;
	}

	/** Runs this before everything else that waits; what waits starts only if the queue was going. Returns what kept it from starting. */
	async startNow(request: TrainRequest): Promise<Problem | null> {
		const runner = await this.#opened();
		const draft = await this.#draft(request);
		const { going } = runner.queue;
		const accepted = new Promise<Problem | null>((resolve) => this.#starting.set(draft.id, resolve));
		runner.dispatch({ type: 'add', jobs: [draft], time: Date.now(), first: true });
		runner.dispatch({ type: 'go' });
		if (!going) runner.dispatch({ type: 'hold' });
		this.offered = false;
		const problem = await accepted;
		// What was refused at once was never a job.
		if (problem) await runner.idle().then(() => this.remove(draft.id));
		return problem;
	}

	go(): void {
		this.offered = false;
		this.#runner?.dispatch({ type: 'go' });
	}

	hold(): void {
		this.#runner?.dispatch({ type: 'hold' });
	}

	async end(how: JobEnd, hold: boolean): Promise<void> {
		await this.#runner?.end(how, hold);
	}

	addRecipes(job: Job, recipes: readonly Recipe[]): void {
		this.#runner?.dispatch({ type: 'add', jobs: recipes.map((recipe) => ({ id: newId(), recipe, input: job.input })), time: Date.now() });
	}

	move(id: string, to: number): void {
		this.#runner?.dispatch({ type: 'move', id, to });
	}

	remove(id: string): void {
		this.#runner?.dispatch({ type: 'remove', id });
	}

	clear(): void {
		this.#runner?.dispatch({ type: 'clear' });
	}

	retry(id: string): void {
		this.#runner?.dispatch({ type: 'retry', id });
	}

	/** From a click: asks the browser for the model's file again. */
	async allow(job: Job): Promise<void> {
		if (await allowModel(job.input.model, this.#store)) this.retry(job.id);
	}

	give(job: Job, file: File): void {
		giveModel(job.input.model, file);
		for (const other of this.queue.jobs) {
			const { model } = other.input;
			if (other.state === 'blocked' && model.kind === 'file' && job.input.model.kind === 'file' && model.key === job.input.model.key) this.retry(other.id);
		}
	}

	/** Pictures and the rest of a job's request. Errors: `StorageError` when they are gone. */
	async content(job: Job): Promise<Content> {
		if (!this.#store) return job.input.content as Content;
		const { inflateContent } = await import('../../storage/queue-content');
		return (await inflateContent(job.input.content, this.#store.content)) as Content;
	}

	async #run(job: Job, report: (report: JobReport) => void): Promise<JobOutcome> {
		const outcome = await this.#attempt(job, report).catch((error: unknown): JobOutcome => ({ kind: 'failed', problem: toProblem(error, 'queue') }));
		this.#accept(job, 'problem' in outcome ? outcome.problem : null);
		return outcome;
	}

	#accept(job: Job, problem: Problem | null): void {
		this.#starting.get(job.id)?.(problem);
		this.#starting.delete(job.id);
	}

	async #attempt(job: Job, report: (report: JobReport) => void): Promise<JobOutcome> {
		const resolved = await resolveModel(job.input.model, this.#store);
		if ('problem' in resolved) return { kind: 'blocked', problem: resolved.problem };
		const content = await this.content(job);
		const away = this.#away.get(job.id);
		this.#away.delete(job.id);
		const placed = away ? null : await this.#place(job, resolved.source);
		if (placed && 'kind' in placed) return placed;
		const stop = this.#follow(job, report);
		try {
			const refused = placed
				? await run.start({ ...content, recipe: job.recipe, modelId: placed.modelId }, { job: job.id, resume: job.attempts > 1 }, placed.place)
				: await run.follow(away?.run ?? '', { ...content, recipe: job.recipe }, job.id, away?.started ?? Date.now());
			if (refused) return { kind: 'failed', problem: refused };
			this.#accept(job, null);
			const view = await run.ended();
			if (run.keepProblem) {
				// Results that find no room must not be followed by more of them.
				this.hold();
				return { kind: 'failed', problem: run.keepProblem };
			}
			if (view.outcome === 'failed') return { kind: 'failed', problem: view.problem ?? toProblem(new Error('unknown'), 'run') };
			return { kind: view.outcome === 'done' ? 'done' : 'stopped' };
		} finally {
			stop();
		}
	}

	/** Where a job runs, with its model open there; or why it cannot start. */
	async #place(job: Job, wanted: ModelSource): Promise<{ place: JobPlace; modelId: string } | JobOutcome> {
		let place: JobPlace = 'here';
		let source = wanted;
		if (job.place === 'helper' || job.input.where || wanted.kind === 'named') {
			const jobs = await import('../helper/jobs');
			place = jobs.placeOf(job, wanted);
			const there = place === 'helper' ? jobs.sourceThere(wanted) : { source };
			if ('problem' in there) return { kind: 'blocked', problem: there.problem };
			source = there.source;
		}
		const at = trainer.at[place];
		const same = at.source === source || sameSource(at.source, source);
		if (!same) await at.choose(source);
		const model = await at.openModel();
		this.#runner?.dispatch({ type: 'placed', id: job.id, place });
		if (model) return { place, modelId: model.modelId };
		const problem = at.modelProblem ?? at.problem ?? toProblem(new Error('no model'), 'model');
		// A helper that is not there may be started later; the job waits for that.
		return { kind: /^(helper|pairing)\./.test(problem.code) ? 'blocked' : 'failed', problem };
	}

	/** The job that ran on the helper when this page was closed went on there: shows it, and brings what it made. */
	async takeUp(): Promise<void> {
		const runner = await this.#opened();
		for (const job of this.queue.jobs) {
			if (job.place !== 'helper' || job.state !== 'interrupted' || this.running) continue;
			const { runOf } = await import('../helper/jobs');
			const found = await runOf(job.id);
			if (!found || this.running) continue;
			this.#away.set(job.id, found);
			this.#startFirst(runner, job.id);
			this.offered = this.queue.jobs.some(({ state }) => state === 'interrupted' || state === 'paused');
			return;
		}
	}

	/** Runs this job next; what waits starts only if the queue was going. */
	#startFirst(runner: QueueRunner, id: string): void {
		const { going, jobs } = runner.queue;
		runner.dispatch({
			type: 'move',
			id,
			to: Math.max(
				0,
				jobs.findIndex(({ state }) => state === 'waiting' || state === 'paused' || state === 'interrupted')
			)
		});
		runner.dispatch({ type: 'go' });
		if (!going) runner.dispatch({ type: 'hold' });
	}

	/** Moves a job to the other place, under way or not: it pauses, its snapshot is carried over, it goes on there. Returns what kept it from moving. */
	async handOver(id: string, to: JobPlace): Promise<Problem | null> {
		const runner = await this.#opened();
		const find = (): Job | undefined => runner.queue.jobs.find((job) => job.id === id);
		const job = find();
		if (!job) return null;
		const from = job.place ?? 'here';
		try {
			const { carrySnapshot, modelAt } = await import('../helper/jobs');
			const resolved = await resolveModel(job.input.model, this.#store);
			if ('problem' in resolved) return resolved.problem;
			const there = modelAt(to, resolved.source);
			if ('problem' in there) return there.problem;
			if (!(await trainer.at[to].hello())) return trainer.at[to].problem;
			const model = there.model ?? (await modelReference(there.source, this.#store));
			const { going } = runner.queue;
			const running = job.state === 'running';
			if (running) {
				await runner.end('pause', true);
				await runner.idle();
			}
			await carrySnapshot(id, from, to);
			const now = find();
			if (!now) return null;
			runner.dispatch({ type: 'placed', id, place: to, input: { ...now.input, model, where: to } });
			if (running && now.state === 'paused') {
				this.#startFirst(runner, id);
				if (going) runner.dispatch({ type: 'go' });
			}
			return null;
		} catch (error) {
			return toProblem(error, 'queue');
		}
	}

	/** Tells the queue what its running job reports. */
	#follow({ id }: Job, report: (report: JobReport) => void): () => void {
		let last = 0;
		return trainer.subscribe(({ run: of, event }) => {
			const { view } = run;
			if (!view || of !== view.id) return;
			if (event.type === 'snapshot') report({ type: 'snapshot', id, pass: event.pass, step: event.step });
			if (event.type === 'file') report({ type: 'file', id, name: event.name });
			if (event.type !== 'progress' || Date.now() - last < PROGRESS_MS) return;
			last = Date.now();
			const { pass, step, steps, etaSeconds } = event;
			report({ type: 'progress', id, progress: { pass, step, steps, share: trainedShare(view), etaSeconds } });
		});
	}

	async #dropSnapshot(job: Job): Promise<void> {
		if (!this.#snapshots) {
			const [{ opfsSlots }, { snapshotStore }] = await Promise.all([import('../../storage/snapshots/opfs'), import('../../storage/snapshots/snapshots')]);
			this.#snapshots = snapshotStore(await opfsSlots());
		}
		await this.#snapshots.remove(job.id);
		if (job.place === 'helper') await trainer.at.helper.request({ type: 'dropSnapshot', job: job.id }).catch(() => undefined);
	}

	/** Its snapshot, and pictures that no other job needs. */
	async #forget(job: Job, remaining: readonly Job[]): Promise<void> {
		await this.#dropSnapshot(job);
		if (!this.#store) return;
		const { contentKeys } = await import('../../storage/queue-content');
		const needed = new Set(remaining.flatMap(({ input }) => contentKeys(input.content)));
		for (const key of contentKeys(job.input.content)) if (!needed.has(key)) await this.#store.content.remove(key);
		const { model } = job.input;
		const modelNeeded = remaining.some(({ input }) => input.model.kind === 'file' && model.kind === 'file' && input.model.key === model.key);
		if (model.kind === 'file' && !modelNeeded) await this.#store.models.remove(model.key);
	}
}

export const appQueue = new AppQueue();
