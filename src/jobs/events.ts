/**
 * What a run reports while it works: all that training reports (`training/events.ts`), and what the runner adds around it. The protocol (`service/protocol.ts`)
 * carries exactly these; they live here because the runner that makes them stands below the service. Everything survives structured clone.
 */
import type { PassName, Picture, TrainingEvent, TrainingProblem } from '../training/events';

export type { PassName, Picture } from '../training/events';

export type Problem = TrainingProblem;

/** Bytes of GPU memory. */
export interface MemoryEstimate {
	weights: number;
	activations: number;
	factors: number;
	optimizer: number;
	staging: number;
	/** What decodes previews holds besides its part of the activations; absent: nothing. */
	decoder?: number;
	total: number;
	/** Share of the work that is done twice to save memory; absent: none. */
	again?: number;
}

/** GPU memory while pictures are encoded or drawn: all in all, and of it the VAE's; and where the VAE works. */
export interface PhaseMemory {
	total: number;
	vae: number;
	on: 'gpu' | 'cpu';
}

/** What a run takes outside its passes. */
export interface PictureMemory {
	/** Absent: the run encodes none. */
	encode?: PhaseMemory;
	/** Where live previews are decoded; absent: there are none. */
	preview?: 'gpu' | 'cpu';
	/** The pictures at the end; absent: there are none. */
	strip?: PhaseMemory;
	/** The most that the run takes, passes included. */
	most: number;
}

export type TrainState = 'preparing' | 'encoding' | 'compiling' | 'training' | 'sampling' | 'saving' | 'done' | 'stopped' | 'failed';

/** One loss per step from step 1, and the probes. */
export interface TrainedCurve {
	losses: Float64Array;
	probes: { step: number; base: number; now: number }[];
}

export type RunEvent =
	| Exclude<TrainingEvent, { type: 'state' }>
	| { type: 'state'; state: TrainState; pass?: PassName; detail?: string; fraction?: number }
	| { type: 'stripCell'; seed: number; strength: number; picture: Picture }
	| { type: 'sampleStep'; step: number; steps: number }
	/** The run can go on from here. `milliseconds`: what packing and writing took. */
	| { type: 'snapshot'; pass: PassName; step: number; bytes: number; milliseconds: number }
	/** The run goes on behind `step` of `pass`; `curves` are what was trained before. */
	| { type: 'resumed'; pass: PassName; step: number; curves: Partial<Record<PassName, TrainedCurve>> }
	/** Of the learning-rate finder: all points so far, loss by what a network that does nothing has. */
	| { type: 'ratePoints'; points: { rate: number; ratio: number }[] }
	/** `index`: of the request's cells. */
	| { type: 'plotCell'; index: number; picture: Picture }
	/** Cells handed out; `fraction` counts steps of cells under way too. */
	| { type: 'plotProgress'; done: number; total: number; fraction: number; secondsLeft: number | null }
	| { type: 'ended'; outcome: 'done' | 'stopped' | 'failed'; problem?: Problem };
