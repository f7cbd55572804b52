/**
 * What a run reports while it works, and the few types that every report needs. The protocol (`service/protocol.ts`) carries exactly
 * these; they live here because the runner that makes them stands below the service. Everything survives structured clone.
 */

export type PassName = 'copier' | 'difference';

/** 8-bit RGBA, row-major. */
export interface Picture {
	width: number;
	height: number;
	data: Uint8ClampedArray;
}

export interface Problem {
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

/** Bytes of GPU memory. */
export interface MemoryEstimate {
	weights: number;
	activations: number;
	factors: number;
	optimizer: number;
	staging: number;
	total: number;
}

/** Seconds and steps of the run so far. `etaSeconds` counts both passes. */
export interface ProgressEvent {
	type: 'progress';
	pass: PassName;
	step: number;
	steps: number;
	/** Mean training loss of this step (before loss scaling), and its 0.9 moving average. */
	loss: number;
	lossAverage: number;
	learningRate: number;
	stepsPerSecond: number;
	etaSeconds: number;
}

export type TrainState = 'preparing' | 'encoding' | 'compiling' | 'training' | 'sampling' | 'saving' | 'done' | 'stopped' | 'failed';

export type RunEvent =
	| { type: 'state'; state: TrainState; pass?: PassName; detail?: string; fraction?: number }
	| ProgressEvent
	/** Loss at fixed noise and timesteps: without the network (base) and now. */
	| { type: 'probe'; pass: PassName; step: number; base: number; now: number; verdict: 'notYet' | 'converged' | 'collapsing' }
	| { type: 'memory'; pass: PassName; planned: number; allocated: number }
	| { type: 'preview'; pass: PassName; step: number; seed: number; strength: number; picture: Picture }
	| { type: 'stripCell'; seed: number; strength: number; picture: Picture }
	/** A finished or intermediate LoRA. */
	| { type: 'file'; role: 'copier' | 'intermediate' | 'result'; name: string; step: number; bytes: ArrayBuffer }
	| { type: 'warning'; problem: Problem }
	| { type: 'sampleStep'; step: number; steps: number }
	| { type: 'ended'; outcome: 'done' | 'stopped' | 'failed'; problem?: Problem };
