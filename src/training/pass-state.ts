/**
 * A pass between two steps as a value: everything it takes to go on from there bit by bit, in this process or another one.
 *
 * Rules
 * - What the GPU holds is copied by commands that are queued at the moment of the capture; the loop may queue the next step at once, only the reading comes later.
 * - Host state that changes with the loop is taken at the same moment: the loss scale, and the count of skipped steps that was read but is to be applied later.
 * - Draws and learning rates are functions of the step and need no state. The moving average of the loss follows from the losses.
 */
import type { FactorState } from '../kernels/factors';
import type { PassName } from './events';
import type { GuardDriver, GuardSnapshot } from './guard-driver';
import type { LossReporter } from './loss-reporter';
import type { LossScaler, ScalerState } from './loss-scale';
import type { Network } from './network';
import type { Observer, ProbeState } from './observer';

export interface PassState {
	readonly pass: PassName;
	/** Steps done. */
	readonly step: number;
	readonly factors: FactorState;
	readonly scaler: ScalerState;
	/** Skipped steps so far, as counted on the GPU. */
	readonly skipped: number;
	/** An earlier count that the loop has asked for and not applied yet. */
	readonly pendingSkipped: number | null;
	/** Of steps 1…step. */
	readonly losses: Float64Array;
	readonly probe: ProbeState;
	/** Absent: the guard was off. */
	readonly guard?: GuardSnapshot | undefined;
}

export interface PassParts {
	readonly network: Network;
	readonly scaler: LossScaler;
	readonly reporter: LossReporter;
	readonly observer: Observer;
	readonly guard: GuardDriver | undefined;
	/** Skipped steps so far, over all processes that had this pass. */
	skipped(): Promise<number>;
}

/** Everything is queued and noted when this returns; the promise waits for the copies. undefined: the guard went back behind this step meanwhile. */
export function capturePass(parts: PassParts, pass: PassName, step: number, pendingSkipped: Promise<number> | undefined): Promise<PassState | undefined> {
	const scaler = parts.scaler.state;
	const probe = parts.observer.probes;
	const copies = Promise.all([parts.network.store.readState(), parts.skipped(), pendingSkipped ?? null, parts.reporter.upTo(step), parts.guard?.capture()]);
	return copies.then(([factors, skipped, pending, losses, guard]) =>
		losses.length === step ? { pass, step, factors, scaler, skipped, pendingSkipped: pending, losses, probe, guard } : undefined
	);
}

/** The parts that are not given the state when they are made. */
export async function restorePass({ network, scaler, observer, guard }: Omit<PassParts, 'reporter'>, state: PassState): Promise<void> {
	await network.store.writeState(state.factors);
	scaler.restore(state.scaler);
	observer.restoreProbes(state.probe);
	if (state.guard) guard?.restore(state.guard, state.step);
	else guard?.begin(state.step);
}
