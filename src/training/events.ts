/**
 * What training reports. Each is one of the run's events as the service carries them; the runner above adds the rest (encoding, the final strip, the end).
 */

export type PassName = 'copier' | 'difference';

/** 8-bit RGBA, row-major. */
export interface Picture {
	width: number;
	height: number;
	data: Uint8ClampedArray;
}

export type ProbeVerdict = 'notYet' | 'converged' | 'collapsing';

export type TrainingEvent =
	| { type: 'state'; state: 'compiling' | 'training' | 'saving'; pass: PassName; fraction?: number }
	| {
			type: 'progress';
			pass: PassName;
			/** From 1. */
			step: number;
			steps: number;
			loss: number;
			/** 0.9 moving average. */
			lossAverage: number;
			learningRate: number;
			stepsPerSecond: number;
			/** Both passes. */
			etaSeconds: number;
	  }
	| { type: 'probe'; pass: PassName; step: number; base: number; now: number; verdict: ProbeVerdict }
	| { type: 'memory'; pass: PassName; planned: number; allocated: number }
	| { type: 'preview'; pass: PassName; step: number; seed: number; strength: number; picture: Picture }
	| { type: 'file'; role: 'copier' | 'intermediate' | 'result'; name: string; step: number; bytes: ArrayBuffer }
	| { type: 'warning'; problem: TrainingProblem };

export interface TrainingProblem {
	level: 'error' | 'warning';
	code: string;
	where: string;
	values: Record<string, string | number>;
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
	#request: 'stop' | 'stopAndSave' | null = null;

	/** Ends the run after the current step; with `save`, the network trained at that moment is saved as it is. */
	stop(save: boolean): void {
		this.#request = save ? 'stopAndSave' : 'stop';
	}

	get request(): 'stop' | 'stopAndSave' | null {
		return this.#request;
	}
}
