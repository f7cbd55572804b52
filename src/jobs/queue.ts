/**
 * The queue of a night as a pure reducer: jobs in order, at most one running, and what happens to each. What has effects (starting a run, storing, drawing ids)
 * stands in `queue-runner.ts`, which dispatches these actions and asks `nextJob` what to start.
 *
 * Rules
 * - A job is never lost: only `remove` and `clear` take one away, and neither takes a running one.
 * - Names are made unique when a job enters (`mouth`, `mouth-2`, …), so no result is taken for another.
 * - A job that fails is reported, and the next starts. When the device was lost or ran out of memory, the job first gets one more try, from its last snapshot.
 * - What ran when the page or the process ended is `interrupted` after loading; nothing starts by itself then, the queue offers to go on.
 */
import type { Recipe } from '../recipe/recipe';
import type { PassName, Problem } from './events';

export type JobState =
	/** Has not run yet. */
	| 'waiting'
	| 'running'
	/** Stopped by the user with everything kept; goes on where it was. */
	| 'paused'
	/** Ended from outside (page closed, crash, lost device); goes on from its last snapshot. */
	| 'interrupted'
	/** Cannot start before somebody gives the file or the permission named in `problem`. */
	| 'blocked'
	| 'done'
	| 'stopped'
	| 'failed';

/** Where a run stands: steps of both passes together. */
export interface JobProgress {
	pass: PassName;
	/** Of this pass. */
	step: number;
	steps: number;
	/** Of the whole run, 0…1. */
	share: number;
	etaSeconds: number;
}

/** What a job needs beside its recipe: the model, and pictures or files by content. */
export interface JobInput {
	/** `bundled` or the key of a remembered file. */
	model: { kind: 'bundled'; name: string } | { kind: 'file'; name: string; key: string; /** Another VAE's file. */ vae?: string; prediction?: 'v' };
	/** Where it is to run; absent: here, in the page (or the process) that has the queue. */
	where?: JobPlace | 'automatic';
	/** The rest of the request, with every picture and file replaced by a reference to its content (`storage/queue-content.ts`). */
	content: unknown;
}

/** `helper`: on the native helper of this computer, which goes on when the page is closed. */
export type JobPlace = 'here' | 'helper';

export interface Job {
	id: string;
	recipe: Recipe;
	input: JobInput;
	state: JobState;
	/** Where it was started last, and where its snapshots are; absent: here. */
	place?: JobPlace;
	/** Milliseconds since the epoch. */
	added: number;
	started: number | null;
	ended: number | null;
	progress: JobProgress | null;
	/** Step of the last snapshot that is known to be written. */
	snapshot: { pass: PassName; step: number } | null;
	/** How often it was started since its beginning; above 1 it goes on from a snapshot, if there is one. */
	attempts: number;
	/** It was taken up again after a lost device or full memory; that is done once. */
	recovered: boolean;
	problem: Problem | null;
	/** Names of the files it made. */
	files: string[];
}

export interface Queue {
	version: 1;
	/** In the order in which they run; finished ones stay where they were. */
	jobs: readonly Job[];
	/** false: nothing new starts. */
	going: boolean;
}

export type JobDraft = Pick<Job, 'id' | 'recipe' | 'input'>;

export type QueueAction =
	| { type: 'add'; jobs: readonly JobDraft[]; time: number; first?: boolean }
	| { type: 'remove'; id: string }
	/** Takes away what is finished: done, stopped and failed. */
	| { type: 'clear' }
	/** To position `to` of the whole list. */
	| { type: 'move'; id: string; to: number }
	| { type: 'edit'; id: string; recipe: Recipe; input?: JobInput }
	/** Whether jobs are started one after the other. */
	| { type: 'go' }
	| { type: 'hold' }
	| { type: 'started'; id: string; time: number }
	| { type: 'progress'; id: string; progress: JobProgress }
	| { type: 'snapshot'; id: string; pass: PassName; step: number }
	| { type: 'file'; id: string; name: string }
	/** Where it runs (or will go on), and the model as it is known there. */
	| { type: 'placed'; id: string; place: JobPlace; input?: JobInput }
	| { type: 'ended'; id: string; outcome: JobOutcome; time: number }
	/** Runs again from the beginning (no snapshot), or from its snapshot. */
	| { type: 'retry'; id: string };

export type JobOutcome =
	| { kind: 'done' }
	/** `kept`: stopped and saved what there was. */
	| { kind: 'stopped' }
	| { kind: 'paused' }
	| { kind: 'blocked'; problem: Problem }
	| { kind: 'failed'; problem: Problem };

export const EMPTY_QUEUE: Queue = { version: 1, jobs: [], going: false };

/** Problems of the machine rather than of the job: the same job may well succeed the next time. */
const RECOVERABLE = /^(gpu\.(lost|memory)|trainer\.died|helper\.interrupted)$/;
/** A run that ended for these goes on from its snapshot when it is tried again by hand. */
const RESUMABLE = /^(gpu\.|trainer\.|storage\.|helper\.)/;

const FINISHED: readonly JobState[] = ['done', 'stopped', 'failed'];
const STARTABLE: readonly JobState[] = ['waiting', 'paused', 'interrupted'];

export function isFinished(job: Job): boolean {
	return FINISHED.includes(job.state);
}

/** Whether its recipe may still change: nothing of it has been trained yet. */
export function isEditable(job: Job): boolean {
	return job.state === 'waiting' || job.state === 'blocked' || (job.state === 'failed' && job.snapshot === null);
}

export function runningJob(queue: Queue): Job | undefined {
	return queue.jobs.find(({ state }) => state === 'running');
}

/** What should start now: the first that can, when the queue is going and nothing runs. */
export function nextJob(queue: Queue): Job | undefined {
	if (!queue.going || runningJob(queue)) return undefined;
	return queue.jobs.find(({ state }) => STARTABLE.includes(state));
}

/** `name`, or `name-2`, `name-3`… when it is taken. */
export function uniqueName(name: string, taken: ReadonlySet<string>): string {
	if (!taken.has(name)) return name;
	for (let n = 2; ; n++) {
		const numbered = `${name}-${n}`;
		if (!taken.has(numbered)) return numbered;
	}
}

function namesOf(jobs: readonly Job[], except?: string): Set<string> {
	return new Set(jobs.filter(({ id }) => id !== except).map(({ recipe }) => recipe.name));
}

function change(queue: Queue, id: string, edit: (job: Job) => Job): Queue {
	return { ...queue, jobs: queue.jobs.map((job) => (job.id === id ? edit(job) : job)) };
}

function add(queue: Queue, drafts: readonly JobDraft[], time: number, first: boolean): Queue {
	const taken = namesOf(queue.jobs);
	const ids = new Set(queue.jobs.map(({ id }) => id));
	const fresh: Job[] = [];
	for (const { id, recipe, input } of drafts) {
		if (ids.has(id)) continue; // the same job twice is a repeated message, not a second job
		ids.add(id);
		const name = uniqueName(recipe.name, taken);
		taken.add(name);
		fresh.push({
			id,
			recipe: name === recipe.name ? recipe : { ...recipe, name },
			input,
			state: 'waiting',
			added: time,
			started: null,
			ended: null,
			progress: null,
			snapshot: null,
			attempts: 0,
			recovered: false,
			problem: null,
			files: []
		});
	}
	if (!first) return { ...queue, jobs: [...queue.jobs, ...fresh] };
	const at = queue.jobs.findIndex((job) => !isFinished(job) && job.state !== 'running');
	const place = at < 0 ? queue.jobs.length : at;
	return { ...queue, jobs: [...queue.jobs.slice(0, place), ...fresh, ...queue.jobs.slice(place)] };
}

function move(queue: Queue, id: string, to: number): Queue {
	const from = queue.jobs.findIndex((job) => job.id === id);
	const job = queue.jobs[from];
	if (!job) return queue;
	const rest = queue.jobs.filter((other) => other !== job);
	const place = Math.max(0, Math.min(rest.length, to));
	return { ...queue, jobs: [...rest.slice(0, place), job, ...rest.slice(place)] };
}

function ended(job: Job, outcome: JobOutcome, time: number): Job {
	const problem = 'problem' in outcome ? outcome.problem : null;
	const over = { ...job, ended: time, problem };
	switch (outcome.kind) {
		case 'done':
			return { ...over, state: 'done', progress: null, snapshot: null };
		case 'stopped':
			return { ...over, state: 'stopped', progress: null, snapshot: null };
		case 'paused':
			return { ...over, state: 'paused' };
		case 'blocked':
			return { ...over, state: 'blocked', ended: null };
		case 'failed':
			// Full memory without anything trained yet would only fill up again.
			if (RECOVERABLE.test(outcome.problem.code) && !job.recovered && (job.snapshot !== null || outcome.problem.code !== 'gpu.memory'))
				return { ...over, state: 'interrupted', recovered: true };
			return { ...over, state: 'failed' };
	}
}

export function reduceQueue(queue: Queue, action: QueueAction): Queue {
	switch (action.type) {
		case 'add':
			return add(queue, action.jobs, action.time, action.first ?? false);
		case 'remove':
			return { ...queue, jobs: queue.jobs.filter(({ id, state }) => id !== action.id || state === 'running') };
		case 'clear':
			return { ...queue, jobs: queue.jobs.filter((job) => !isFinished(job)) };
		case 'move':
			return move(queue, action.id, action.to);
		case 'edit':
			return change(queue, action.id, (job) => {
				if (!isEditable(job)) return job;
				const name = uniqueName(action.recipe.name, namesOf(queue.jobs, job.id));
				return { ...job, recipe: { ...action.recipe, name }, input: action.input ?? job.input, state: 'waiting', problem: null, recovered: false, attempts: 0 };
			});
		case 'go':
			return { ...queue, going: true };
		case 'hold':
			return { ...queue, going: false };
		case 'started':
			if (runningJob(queue)) return queue;
			return change(queue, action.id, (job) =>
				STARTABLE.includes(job.state)
					? { ...job, state: 'running', attempts: job.attempts + 1, started: job.started ?? action.time, ended: null, problem: null }
					: job
			);
		case 'progress':
			return change(queue, action.id, (job) => (job.state === 'running' ? { ...job, progress: action.progress } : job));
		case 'snapshot':
			return change(queue, action.id, (job) => (job.state === 'running' ? { ...job, snapshot: { pass: action.pass, step: action.step } } : job));
		case 'file':
			return change(queue, action.id, (job) => (job.files.includes(action.name) ? job : { ...job, files: [...job.files, action.name] }));
		case 'placed':
			return change(queue, action.id, (job) => ({ ...job, place: action.place, input: action.input ?? job.input }));
		case 'ended':
			return change(queue, action.id, (job) => (job.state === 'running' ? ended(job, action.outcome, action.time) : job));
		case 'retry':
			return change(queue, action.id, (job) => {
				if (job.state !== 'failed' && job.state !== 'stopped' && job.state !== 'blocked') return job;
				const again = { ...job, ended: null, problem: null, recovered: false };
				// What failed by itself would fail again from its last snapshot; what the machine broke off goes on.
				const goesOn = job.snapshot !== null && (job.state === 'blocked' || (job.state === 'failed' && RESUMABLE.test(job.problem?.code ?? '')));
				return goesOn ? { ...again, state: 'interrupted' } : { ...again, state: 'waiting', attempts: 0, snapshot: null, progress: null };
			});
	}
}

/** The queue as it is found after the page or the process ended: what ran was interrupted, and nothing starts by itself. */
export function loadedQueue(queue: Queue): Queue {
	return { ...queue, going: false, jobs: queue.jobs.map((job) => (job.state === 'running' ? { ...job, state: 'interrupted' } : job)) };
}

/** Whether there is something to go on with after loading. */
export function isResumable(queue: Queue): boolean {
	return queue.jobs.some(({ state }) => STARTABLE.includes(state));
}

/**
 * Seconds until everything that can run has run; null while nothing is known about the speed.
 * @param expected seconds of a whole run with this recipe, or null
 */
export function secondsLeft(queue: Queue, expected: (recipe: Recipe) => number | null): number | null {
	let total = 0;
	let known = false;
	for (const job of queue.jobs) {
		if (job.state === 'running' && job.progress && job.progress.etaSeconds > 0) {
			total += job.progress.etaSeconds;
			known = true;
		} else if (job.state === 'running' || STARTABLE.includes(job.state)) {
			const whole = expected(job.recipe);
			if (whole === null) continue;
			total += whole * (1 - (job.progress?.share ?? 0));
			known = true;
		}
	}
	return known ? total : null;
}
