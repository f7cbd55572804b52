/**
 * Where runs live: in front of a trainer (the host of `host.ts`, in this process or another), independent of who is connected. Keeps the events of every run, so that
 * anybody who is allowed to can follow it from any event on, and what a training made, also after the helper was started anew.
 *
 * Rules
 * - Everything with a run id goes through here; the trainer does not know who asked.
 * - A training that was cut off by the end of the process ends as failed (`helper.interrupted`) when the house is opened again; its snapshot is still there to go on from.
 * - The snapshot of a training that is done is dropped: its files are in the log. Others stay, for whoever wants to go on.
 * - Ended runs are forgotten oldest first when there are too many or they take too much room; work that made no LoRA does not outlive the process.
 */
import type { Problem, RunEvent } from '../jobs/events';
import { errorProblem, warningProblem } from '../jobs/problem';
import { parseRecipe } from '../recipe/schema';
import { asProblem, ServiceError } from './errors';
import type { HelperReplyOf, ResultFile, RunDetail, RunSummary } from './helper-protocol';
import { unpack } from './packing';
import { begunBy, type EventMessage, type ReplyOf, type Request, type RunId, type TrainerClient } from './protocol';
import { LOG_LIMITS, RunLog, type LogLimits, type RunFiles } from './run-log';

export interface HouseOptions {
	/** Saves a result where its owner wants it; the name it got, or null. */
	saveResult?: (name: string, bytes: Uint8Array) => Promise<string | null>;
	log?: LogLimits;
	/** Trainings that are remembered, and the bytes their logs may take. */
	keepRuns?: number;
	keepBytes?: number;
	now?: () => number;
}

const KEEP_RUNS = 200;
const KEEP_BYTES = 20 * 2 ** 30;
/** Other work that has ended. */
const KEEP_OTHERS = 20;
/** A result that is fetched goes into one message. */
const MAX_RESULT = 2 ** 30 - 2 ** 20;

/** A run's id comes from outside; the name its files get does not show it. */
async function keyOf(run: RunId): Promise<string> {
	const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(run)));
	return Array.from(digest.subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function isHead(value: unknown): value is RunDetail & { bytes?: number } {
	if (typeof value !== 'object' || value === null) return false;
	return (
		'run' in value &&
		typeof value.run === 'string' &&
		'kind' in value &&
		'state' in value &&
		'lastSeq' in value &&
		'files' in value &&
		Array.isArray(value.files)
	);
}

export class RunHouse {
	readonly #logs = new Map<RunId, RunLog>();
	readonly #listeners = new Set<(run: RunId) => void>();
	readonly #options: HouseOptions;

	private constructor(
		private readonly trainer: TrainerClient,
		private readonly files: RunFiles,
		options: HouseOptions
	) {
		this.#options = options;
		trainer.subscribe((message) => this.#heard(message));
	}

	static async open(trainer: TrainerClient, files: RunFiles, options: HouseOptions = {}): Promise<RunHouse> {
		const house = new RunHouse(trainer, files, options);
		await house.#remember();
		return house;
	}

	async #remember(): Promise<void> {
		for (const { key, head } of await this.files.heads()) {
			if (!isHead(head) || head.kind !== 'train' || (await keyOf(head.run)) !== key) {
				await this.files.remove(key).catch(() => undefined);
				continue;
			}
			const log = new RunLog(key, head, this.files, this.#options.log ?? LOG_LIMITS);
			this.#logs.set(head.run, log);
			if (head.state !== 'running') continue;
			await log.load();
			const message = 'The helper was ended while this run was going on. What it made so far is kept; start the job again to go on from its last snapshot.';
			this.#record(log, { type: 'ended', outcome: 'failed', problem: errorProblem('helper.interrupted', 'helper', message) });
		}
		await this.#prune();
	}

	#now(): number {
		return (this.#options.now ?? Date.now)();
	}

	/** Called with the id of a run that has a new event. */
	onNews(listener: (run: RunId) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	log(run: RunId): RunLog | undefined {
		return this.#logs.get(run);
	}

	/** The newest first. */
	list(): RunSummary[] {
		return [...this.#logs.values()].map(({ head }) => summaryOf(head)).sort((a, b) => b.started - a.started);
	}

	/** Whether anything is being trained or drawn. */
	get busy(): boolean {
		return [...this.#logs.values()].some(({ head }) => head.state === 'running');
	}

	async request<R extends Request>(request: R): Promise<ReplyOf[R['type']]> {
		// Each type has its own reply; the compiler cannot follow a switch into a generic.
		return (await this.#answer(request)) as ReplyOf[R['type']];
	}

	async #answer(request: Request): Promise<ReplyOf[keyof ReplyOf]> {
		switch (request.type) {
			case 'listRuns':
				return this.list();
			case 'follow':
				return structuredClone(this.#known(request.run).head);
			case 'fetchResult':
				return this.#result(request.run);
			case 'forgetRun':
				return this.#forget(request.run);
			default:
				return this.#work(request);
		}
	}

	#known(run: RunId): RunLog {
		const log = this.#logs.get(run);
		if (log) return log;
		throw new ServiceError(errorProblem('run.unknown', run, 'The helper does not know this run (any more). Look at the list of its runs.', { run }));
	}

	async #work(request: Request): Promise<ReplyOf[keyof ReplyOf]> {
		const run = begunBy(request);
		if (run === undefined) return this.trainer.request(request);
		const key = await keyOf(run);
		const known = this.#logs.get(run);
		if (known && request.type !== 'openModel' && request.type !== 'merge')
			throw new ServiceError(errorProblem('run.used', run, `The run id “${run}” was already used; every run needs an id of its own.`, { run }));
		const log = known ?? this.#begin(run, key, request);
		try {
			const reply = await this.trainer.request(request);
			if (request.type !== 'train') this.#over(log, 'done', null);
			else void this.#save(log);
			return reply;
		} catch (error) {
			// What was refused before it began is no run: its id is free again.
			if (log.next === 0 && !known) await this.#drop(log);
			else this.#over(log, 'failed', asProblem(error, request.type));
			throw error;
		}
	}

	#begin(run: RunId, key: string, request: Request): RunLog {
		const parsed = request.type === 'train' ? parseRecipe(request.request.recipe) : undefined;
		const recipe = parsed?.ok ? parsed.recipe : null;
		const head: RunDetail = {
			run,
			kind: request.type === 'train' ? 'train' : 'other',
			name: recipe?.name ?? request.type,
			state: 'running',
			started: this.#now(),
			ended: null,
			lastSeq: -1,
			job: request.type === 'train' ? (request.keep?.job ?? null) : null,
			files: [],
			problem: null,
			recipe
		};
		const log = new RunLog(key, head, this.files, this.#options.log ?? LOG_LIMITS);
		this.#logs.set(run, log);
		return log;
	}

	#heard({ run, time, event }: EventMessage): void {
		const log = this.#logs.get(run);
		if (log) this.#record(log, event, time);
	}

	#record(log: RunLog, event: RunEvent, time = this.#now()): void {
		if (!log.append(event, time)) return;
		if (event.type === 'file') {
			void this.#save(log);
			if (event.role !== 'intermediate') this.#keepResult(log, event.name, event.bytes);
		}
		if (event.type === 'ended') {
			this.#over(log, event.outcome, event.problem ?? null);
			if (event.outcome === 'done' && log.head.job !== null) void this.trainer.request({ type: 'dropSnapshot', job: log.head.job }).catch(() => undefined);
		}
		for (const listener of this.#listeners) listener(log.head.run);
	}

	#keepResult(log: RunLog, name: string, bytes: ArrayBuffer): void {
		const { saveResult } = this.#options;
		if (!saveResult || log.head.kind !== 'train') return;
		saveResult(name, new Uint8Array(bytes)).catch((error: unknown) => {
			const { code, message, values } = asProblem(error, name);
			this.#record(log, { type: 'warning', problem: warningProblem(code, name, message, values) });
		});
	}

	#over(log: RunLog, state: 'done' | 'stopped' | 'failed', problem: Problem | null): void {
		if (log.head.state !== 'running') return;
		log.head.state = state;
		log.head.ended = this.#now();
		log.head.problem = problem;
		void this.#save(log);
		void this.#prune().catch(() => undefined);
	}

	/** Only trainings are worth finding again after the helper was closed. */
	async #save(log: RunLog): Promise<void> {
		if (log.head.kind === 'train') await this.files.saveHead(log.key, log.head).catch(() => undefined);
	}

	async #drop(log: RunLog): Promise<void> {
		this.#logs.delete(log.head.run);
		await log.flushed();
		await this.files.remove(log.key).catch(() => undefined);
	}

	async #forget(run: RunId): Promise<null> {
		const log = this.#known(run);
		if (log.head.state === 'running')
			throw new ServiceError(errorProblem('run.busy', run, 'This run is still going on. Stop it before it is removed.', { run, kind: log.head.kind }));
		await this.#drop(log);
		return null;
	}

	async #prune(): Promise<void> {
		const ended = [...this.#logs.values()].filter(({ head }) => head.state !== 'running').sort((a, b) => b.head.started - a.head.started);
		const others = ended.filter(({ head }) => head.kind === 'other');
		for (const log of others.slice(KEEP_OTHERS)) await this.#drop(log);
		const trainings = ended.filter(({ head }) => head.kind === 'train');
		let bytes = 0;
		for (const [index, log] of trainings.entries()) {
			// The files are most of a log; of one from before, its own length is not known yet.
			bytes += Math.max(
				log.bytes,
				log.head.files.reduce((sum, file) => sum + file.bytes, 0)
			);
			if (index > 0 && (index >= (this.#options.keepRuns ?? KEEP_RUNS) || bytes > (this.#options.keepBytes ?? KEEP_BYTES))) await this.#drop(log);
		}
	}

	async #result(run: RunId): Promise<HelperReplyOf['fetchResult']> {
		const log = this.#known(run);
		const files: ResultFile[] = [];
		const last = log.head.files.filter(({ role }) => role !== 'intermediate');
		// One that was cut off has no result; the newest of what it saved on the way is what there is.
		const wanted = last.some(({ role }) => role === 'result')
			? last
			: log.head.files.filter((file, i, all) => file.role !== 'intermediate' || i === all.length - 1);
		const bytes = wanted.reduce((sum, file) => sum + file.bytes, 0);
		if (bytes > MAX_RESULT) {
			const message = `The results have ${Math.round(bytes / 2 ** 20)} MB together, too much for one answer. Follow the run from its first event, which brings them one by one.`;
			throw new ServiceError(errorProblem('helper.resultTooLarge', run, message, { megabytes: Math.round(bytes / 2 ** 20) }));
		}
		for (const { seq } of wanted) {
			const record = await log.read(seq);
			const value = record && unpack(record);
			const event = value && typeof value === 'object' && 'message' in value ? (value.message as EventMessage).event : undefined;
			if (event?.type === 'file') files.push({ name: event.name, role: event.role, step: event.step, bytes: event.bytes });
		}
		return { files };
	}

	/** Ends every training with a snapshot to go on from; resolves when they have ended, or when `patience` (milliseconds) is over. */
	async pause(patience: number): Promise<void> {
		const running = [...this.#logs.values()].filter(({ head }) => head.state === 'running');
		if (running.length === 0) return;
		const over = new Promise<void>((resolve) => {
			const unlisten = this.onNews(() => {
				if (running.some(({ head }) => head.state === 'running')) return;
				unlisten();
				resolve();
			});
			setTimeout(resolve, patience);
		});
		for (const { head } of running) {
			const request =
				head.kind === 'train' ? ({ type: 'stop', run: head.run, save: false, pause: true } as const) : ({ type: 'cancel', run: head.run } as const);
			await this.trainer.request(request).catch(() => undefined);
		}
		await over;
	}

	/** Everything is on disk. */
	async flushed(): Promise<void> {
		for (const log of this.#logs.values()) {
			await log.flushed();
			await this.#save(log);
		}
	}
}

function summaryOf({ recipe, ...summary }: RunDetail): RunSummary {
	void recipe;
	return structuredClone(summary);
}
