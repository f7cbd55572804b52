/**
 * Which work is going on, and its events: one piece of work at a time on the GPU, sequence numbers without gaps, and nothing after `ended`.
 */
import type { RunEvent } from '../jobs/events';
import { errorProblem } from '../jobs/problem';
import { TrainingControl } from '../training/events';
import { ServiceError } from './errors';
import type { EventMessage, RunId } from './protocol';

export interface ActiveRun {
	readonly run: RunId;
	readonly kind: 'train' | 'sample';
	readonly control: TrainingControl;
	emit(event: RunEvent): void;
}

/** Fractions come by the thousand (one per tensor or pipeline); a bar needs a hundred. */
const FRACTION_STEP = 0.01;

/** Says of each event whether it tells anything new. */
function novelty(): (event: RunEvent) => boolean {
	let stage = '';
	let last = 0;
	return (event) => {
		if (event.type !== 'state' || event.fraction === undefined) return true;
		const now = `${event.state} ${event.pass ?? ''} ${event.detail ?? ''}`;
		const news = now !== stage || event.fraction >= last + FRACTION_STEP || (event.fraction === 1 && last < 1);
		if (news) [stage, last] = [now, event.fraction];
		return news;
	};
}

export class Runs {
	readonly #listeners = new Set<(message: EventMessage) => void>();
	readonly #next = new Map<RunId, number>();
	#active: ActiveRun | undefined;

	get active(): ActiveRun | undefined {
		return this.#active;
	}

	subscribe(listener: (message: EventMessage) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	/** An event outside of work on the GPU, e.g. the loading of a model. */
	emit(run: RunId, event: RunEvent): void {
		const seq = this.#next.get(run) ?? 0;
		this.#next.set(run, seq + 1);
		const message: EventMessage = { run, seq, time: Date.now(), event };
		for (const listener of this.#listeners) listener(message);
	}

	/** Refuses when the GPU is taken, or when this id was used before (its events would run on after their end). */
	begin(run: RunId, kind: ActiveRun['kind']): ActiveRun {
		this.refuseIfBusy();
		if (this.#next.has(run))
			throw new ServiceError(errorProblem('run.used', run, `The run id “${run}” was already used; every run needs an id of its own.`, { run }));
		const isNews = novelty();
		const active: ActiveRun = {
			run,
			kind,
			control: new TrainingControl(),
			emit: (event) => {
				// Work that was given up (lost device) may still say something; its run has ended.
				if (this.#active === active && isNews(event)) this.emit(run, event);
			}
		};
		this.#active = active;
		this.#next.set(run, 0);
		return active;
	}

	end(active: ActiveRun, event: Extract<RunEvent, { type: 'ended' }>): void {
		active.emit(event);
		if (this.#active === active) this.#active = undefined;
	}

	refuseIfBusy(): void {
		if (!this.#active) return;
		const what = this.#active.kind === 'train' ? 'A training' : 'A picture being drawn';
		const message = `${what} is using the GPU. Wait until it has ended, or stop it first.`;
		throw new ServiceError(errorProblem('run.busy', this.#active.run, message, { run: this.#active.run, kind: this.#active.kind }));
	}
}
