/**
 * What training reports. Each is one of the run's events as the service carries them (`jobs/events.ts` takes these types as they are and adds the rest: encoding, the
 * final strip, the end). Everything survives structured clone.
 */

export type PassName = 'copier' | 'difference';

/** 8-bit RGBA, row-major. */
export interface Picture {
	width: number;
	height: number;
	data: Uint8ClampedArray;
}

/** What the probe's curve says (`verdict.ts` has the rules). */
export type ProbeVerdict = 'notYet' | 'learning' | 'converged' | 'overfitting' | 'collapsed' | 'notConverging';

/** Loss at fixed noise, without the trained network (base) and now, over one stretch of timesteps. */
export interface ProbeBand {
	/** The end is not included. */
	min: number;
	max: number;
	base: number;
	now: number;
}

/** Why the guard stepped in (`guard.ts` has the rules). */
export type GuardReason = 'notFinite' | 'loss' | 'norm' | 'probe';

/** Steps of a pass so far. `etaSeconds` counts all passes. */
export interface ProgressEvent {
	type: 'progress';
	pass: PassName;
	/** From 1. After a rollback of the guard it goes back. */
	step: number;
	steps: number;
	/** Mean training loss of this step (before loss scaling), and its 0.9 moving average. */
	loss: number;
	lossAverage: number;
	learningRate: number;
	stepsPerSecond: number;
	etaSeconds: number;
}

export type TrainingEvent =
	| { type: 'state'; state: 'compiling' | 'training' | 'saving'; pass: PassName; fraction?: number }
	| ProgressEvent
	/** Means over all bands, and the bands themselves. */
	| { type: 'probe'; pass: PassName; step: number; base: number; now: number; bands: ProbeBand[]; verdict: ProbeVerdict }
	/**
	 * The guard stepped in at `step`: the network went back to what it was at step `to`. With `rollback` the pass goes on from there at `factor` times the recipe's rate,
	 * with `stop` it ends with that network. `value` against `limit` is what was measured: skipped steps, loss against its reference, growth of the norm.
	 */
	| { type: 'guard'; pass: PassName; step: number; action: 'rollback' | 'stop'; reason: GuardReason; to: number; factor: number; value: number; limit: number }
	/** The probe found the pass converged and the recipe asks to end it then. */
	| { type: 'endedEarly'; pass: PassName; step: number; steps: number }
	/** As training begins; what decodes previews comes with the first of them, and is in the estimate. */
	| { type: 'memory'; pass: PassName; planned: number; allocated: number }
	| { type: 'preview'; pass: PassName; step: number; seed: number; strength: number; picture: Picture }
	| { type: 'file'; role: 'copier' | 'intermediate' | 'result'; name: string; step: number; bytes: ArrayBuffer }
	| { type: 'warning'; problem: TrainingProblem };

export interface TrainingProblem {
	level: 'error' | 'warning';
	/** Stable id, also the key of the translated text. */
	code: string;
	/** Which field or file; e.g. `passes.copier.learningRate`, `images.target`. */
	where: string;
	/** Values for the message. */
	values: Record<string, string | number>;
	/** English text: what is wrong, where, what to do. */
	message: string;
}

/** Training that cannot go on; `problem` says why and what to do. */
export class TrainingError extends Error {
	override readonly name = 'TrainingError';

	constructor(readonly problem: TrainingProblem) {
		super(problem.message);
	}
}

/** The handle by which a run is stopped from outside; looked at between steps. */
export class TrainingControl {
	#request: 'stop' | 'stopAndSave' | 'pause' | null = null;
	#snapshot = false;

	/** Ends the run after the current step; with `save`, the network trained at that moment is saved as it is. */
	stop(save: boolean): void {
		this.#request = save ? 'stopAndSave' : 'stop';
	}

	/** Ends the run after the current step with a snapshot, so that it can go on from there. */
	pause(): void {
		this.#request = 'pause';
	}

	/** Asks for a snapshot after the current step. */
	snapshot(): void {
		this.#snapshot = true;
	}

	/** Whether one was asked for since the last call. */
	takeSnapshotRequest(): boolean {
		const asked = this.#snapshot;
		this.#snapshot = false;
		return asked;
	}

	get request(): 'stop' | 'stopAndSave' | 'pause' | null {
		return this.#request;
	}
}
