/**
 * A whole run as a value, and its keeper: which seeds were drawn, the copier once it is finished, and the pass that is going on. Every mode trains through a keeper,
 * so that every mode can be taken up again.
 *
 * Rules
 * - The copier is stored once, when pass 1 has ended, and never with the snapshots of pass 2.
 * - A run without a memory behind it behaves the same and keeps nothing.
 */
import { GpuError } from '../gpu/gpu';
import type { Factors } from '../lora/init';
import type { NetworkModule } from '../lora/modules';
import type { PassName } from './events';
import type { ProbeState } from './observer';
import type { PassState } from './pass-state';
import type { PassOptions, PassResult } from './pass';

export type TrainedModules = (NetworkModule & Factors)[];

/** A pass that has ended, for the curves and the files. */
export interface FinishedPass {
	readonly losses: Float64Array;
	readonly probe: ProbeState;
	readonly skipped: number;
}

export interface RunState {
	/** As used: never -1. */
	readonly seeds: Record<PassName, number>;
	/** Milliseconds since the epoch. */
	readonly startedAt: number;
	/** Absent while pass 1 runs, and in modes with one pass. */
	readonly copier?: FinishedPass | undefined;
	/** null between the passes. */
	readonly pass: PassState | null;
}

/** Where a run's state is kept; `jobs/resume.ts` puts it on disk. */
export interface RunMemory {
	/** Where to go on; undefined: from the beginning. */
	readonly from: RunState | undefined;
	/** Steps between snapshots; 0: only when asked for. */
	readonly every: number;
	/** The finished copier of `from`. */
	readonly copier: TrainedModules | undefined;
	/** Resolves to the milliseconds that packing and writing took. */
	save(state: RunState): Promise<number>;
	saveCopier(modules: TrainedModules): Promise<void>;
	/** A snapshot could not be kept; training goes on. */
	failed(error: unknown): void;
}

export class RunKeeper {
	readonly seeds: Record<PassName, number>;
	readonly startedAt: Date;
	#copier: FinishedPass | undefined;

	/** @param draw a seed that is given, or a fresh one for -1 */
	constructor(
		private readonly memory: RunMemory | undefined,
		given: Record<PassName, number>,
		draw: (seed: number) => number
	) {
		this.seeds = memory?.from?.seeds ?? { copier: draw(given.copier), difference: draw(given.difference) };
		this.startedAt = new Date(memory?.from?.startedAt ?? Date.now());
		this.#copier = memory?.from?.copier;
	}

	/** The copier, when an earlier process has finished it. */
	get finishedCopier(): { modules: TrainedModules; pass: FinishedPass } | undefined {
		const modules = this.memory?.copier;
		return this.#copier && modules ? { modules, pass: this.#copier } : undefined;
	}

	/** What a pass needs to go on and to be kept. */
	options(pass: PassName): Pick<PassOptions, 'resume' | 'snapshots'> {
		const { memory } = this;
		if (!memory) return {};
		const before = memory.from?.pass;
		return {
			resume: before?.pass === pass ? before : undefined,
			snapshots: { every: memory.every, save: (state) => memory.save(this.#state(state)), failed: (error) => this.#failed(error) }
		};
	}

	/** Pass 1 has ended: what comes after starts from here. */
	async copierDone(modules: TrainedModules, { losses, probe, skipped }: PassResult): Promise<void> {
		const { memory } = this;
		if (!memory) return;
		this.#copier = { losses: Float64Array.from(losses), probe, skipped };
		try {
			await memory.saveCopier(modules);
			await memory.save(this.#state(null));
		} catch (error) {
			this.#failed(error);
		}
	}

	#state(pass: PassState | null): RunState {
		return { seeds: this.seeds, startedAt: this.startedAt.getTime(), copier: this.#copier, pass };
	}

	/** A GPU that is gone is told by the run itself. */
	#failed(error: unknown): void {
		if (!(error instanceof GpuError)) this.memory?.failed(error);
	}
}
