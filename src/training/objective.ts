/**
 * What a pass trains. A mode (difference, ADDifT, …) builds an objective; the pass runs it without knowing which mode it is.
 *
 * Rules
 * - An objective is one or several step graphs, one for each shape of picture, that all train the same network, and the inputs of step k.
 * - `write` is a function of seed and k alone (counter-based draws): a resumed run goes on exactly as an uninterrupted one.
 */
import type { Graph, Value } from '../graph/ir';
import type { Program } from '../kernels/program';
import type { Conditioning } from './sample';

/** A step made ready to be compiled: forward and backward. */
export interface StepGraph {
	readonly graph: Graph;
	/** `[B]`, before loss scaling. */
	readonly loss: Value;
	/** Parameter → gradient, times the scalar `lossScale`. */
	readonly gradients: ReadonlyMap<Value, Value>;
}

export interface StepRun {
	/** Index into `shapes`. */
	readonly shape: number;
	/** Scalars beside `lossScale`. */
	readonly scalars: Readonly<Record<string, number>>;
}

/** At which picture a pass is judged while it trains, and against what: the probe's noises and timesteps are always the same. */
export interface ProbeSource {
	/** Of the latent. */
	readonly height: number;
	readonly width: number;
	/** `[h, w, 4]`, scaled. */
	readonly latent: Float32Array;
	readonly conditioning: Conditioning;
	/** Strength of the trained network while it is measured. */
	readonly multiplier: number;
	/** The picture is unit noise at every timestep, not a latent noised for it (iLECO). */
	readonly pureNoise?: boolean | undefined;
	/** Absent: the prediction should be the noise (or the velocity). Else: what the model without the trained network predicts for this picture under the same noise. */
	readonly teacher?: { readonly latent: Float32Array; readonly conditioning: Conditioning } | undefined;
	/** What the model predicts; absent: the noise. Without meaning when there is a teacher. */
	readonly prediction?: 'epsilon' | 'v' | undefined;
	/** The ratio to the loss without the trained network at which the pass has done its work; absent: as in a difference run (`verdict.ts`). */
	readonly enough?: number | undefined;
	/** `[h, w]`: where the loss counts, 0…1. */
	readonly mask?: Float32Array | undefined;
}

export interface Objective {
	readonly shapes: readonly StepGraph[];
	readonly probe: ProbeSource;
	/** Inputs that stay the same during the pass; called once for each program. */
	begin(program: Program, shape: number): void;
	/** Writes the inputs of step k (from 0) and says which program runs it. */
	write(k: number, programs: readonly Program[]): StepRun;
	/** Timesteps of step k, one for each item: by them the guard knows what loss to expect. Absent: it compares with the beginning of the pass. */
	timesteps?(k: number): readonly number[];
}
