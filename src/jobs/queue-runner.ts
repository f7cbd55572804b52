/**
 * Keeps a queue going: starts the next job when nothing runs, tells listeners of every change, and stores it. How a job is run and where the queue is kept is
 * given from outside (`QueueEffects`), so the same runner serves the page (over a worker), the command line and tests.
 *
 * Rules
 * - Every change that matters is stored before the next job is started; progress alone is not (it is told again by the run).
 * - A queue that cannot be stored goes on in memory and says so once.
 */
import type { Problem } from './events';
import { EMPTY_QUEUE, loadedQueue, nextJob, reduceQueue, runningJob } from './queue';
import type { Job, JobOutcome, Queue, QueueAction } from './queue';

/** What a running job reports meanwhile. */
export type JobReport = Extract<QueueAction, { type: 'progress' | 'snapshot' | 'file' }>;

/** How a run is ended early: `pause` keeps a snapshot, `save` keeps the network as a file. */
export type JobEnd = 'stop' | 'save' | 'pause';

export interface QueueEffects {
	load(): Promise<Queue | undefined>;
	save(queue: Queue): Promise<void>;
	/** Runs one job, from its snapshot when there is one, to its end. Never rejects for reasons of the job: those are outcomes. */
	run(job: Job, report: (report: JobReport) => void): Promise<JobOutcome>;
	/** Asks the running job to end; its outcome comes from `run`. */
	end(job: Job, how: JobEnd): Promise<void>;
	/** Done or stopped for good, and its results are stored: its snapshot may go. */
	settled(job: Job): Promise<void>;
	/** The job is gone for good: its snapshot and what only it needed may go. */
	forget(job: Job, remaining: readonly Job[]): Promise<void>;
	/** The queue could not be stored. */
	unsaved(error: unknown): void;
	failed(error: unknown, job: Job): Problem;
	now(): number;
}

export class QueueRunner {
	#queue: Queue = EMPTY_QUEUE;
	#saving: Promise<void> = Promise.resolve();
	#running: Promise<void> | undefined;
	readonly #listeners = new Set<(queue: Queue) => void>();
	/** What the user asked of the running job; decides what its end means. */
	#ending: JobEnd | undefined;

	private constructor(private readonly effects: QueueEffects) {}

	/** The queue as it was left; what ran then is interrupted now. */
	static async open(effects: QueueEffects): Promise<QueueRunner> {
		const runner = new QueueRunner(effects);
		runner.#queue = loadedQueue((await effects.load()) ?? EMPTY_QUEUE);
		return runner;
	}

	get queue(): Queue {
		return this.#queue;
	}

	subscribe(listener: (queue: Queue) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	dispatch(action: QueueAction): void {
		const before = this.#queue;
		this.#queue = reduceQueue(before, action);
		if (this.#queue === before) return;
		for (const listener of this.#listeners) listener(this.#queue);
		if (action.type !== 'progress') this.#save();
		if (action.type === 'remove' || action.type === 'clear') this.#forget(before);
		this.#advance();
	}

	/** Ends the running job and, unless it is only to make room for the next, holds the queue. */
	async end(how: JobEnd, hold: boolean): Promise<void> {
		const job = runningJob(this.#queue);
		if (hold) this.dispatch({ type: 'hold' });
		if (!job) return;
		this.#ending = how;
		await this.effects.end(job, how);
	}

	/** Resolves when nothing runs and everything is stored. */
	async idle(): Promise<void> {
		while (this.#running) await this.#running;
		await this.#saving;
	}

	#save(): void {
		const { effects } = this;
		// One write at a time, always of the newest state.
		this.#saving = this.#saving.then(() => effects.save(this.#queue)).catch((error: unknown) => effects.unsaved(error));
	}

	#forget(before: Queue): void {
		const left = this.#queue.jobs;
		for (const job of before.jobs) if (!left.includes(job)) void this.effects.forget(job, left).catch(() => undefined);
	}

	#advance(): void {
		if (this.#running) return;
		const job = nextJob(this.#queue);
		if (!job) return;
		this.#running = this.#run(job).finally(() => {
			this.#running = undefined;
			this.#advance();
		});
	}

	async #run(job: Job): Promise<void> {
		const { effects } = this;
		this.#ending = undefined;
		this.dispatch({ type: 'started', id: job.id, time: effects.now() });
		await this.#saving;
		const started = this.#queue.jobs.find(({ id }) => id === job.id) ?? job;
		let outcome: JobOutcome;
		try {
			outcome = await effects.run(started, (report) => this.dispatch(report));
		} catch (error) {
			outcome = { kind: 'failed', problem: effects.failed(error, started) };
		}
		if (outcome.kind === 'stopped' && this.#ending === 'pause') outcome = { kind: 'paused' };
		this.dispatch({ type: 'ended', id: job.id, outcome, time: effects.now() });
		await this.#saving;
		if (outcome.kind === 'done' || outcome.kind === 'stopped') await effects.settled(started).catch(() => undefined);
	}
}
