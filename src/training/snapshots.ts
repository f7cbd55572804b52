/**
 * When a running pass is kept, and that keeping it costs little.
 *
 * Rules
 * - Due: `every` steps after the last one, or a minute after it, whichever comes first; never so often that packing and writing take more than 2 % of the time.
 *   One that somebody asked for (a page that is being put to sleep) is taken at the next step.
 * - Only one is on its way at a time. A snapshot that cannot be written never ends the training: it is said once, and tried again later.
 */
import type { TrainingControl } from './events';
import type { PassState } from './pass-state';

export interface SnapshotSink {
	/** Steps between snapshots; 0: none but those asked for. */
	readonly every: number;
	/** Packs and writes; resolves to the milliseconds this took. Rejects when it could not be kept. */
	save(state: PassState): Promise<number>;
	failed(error: unknown): void;
}

/** 2 %: fifty times as long trained as written. */
const SHARE = 50;
const LONGEST_MS = 60_000;

export class SnapshotKeeper {
	#lastStep: number;
	#lastTime: number;
	#cost = 0;
	/** A disk that was full a moment ago still is. */
	#notBefore = 0;
	#taken = false;
	#working: Promise<void> | undefined;

	constructor(
		private readonly sink: SnapshotSink | undefined,
		private readonly control: TrainingControl,
		step: number,
		private readonly now: () => number = () => performance.now()
	) {
		this.#lastStep = step;
		this.#lastTime = now();
	}

	/** Between two steps; `capture` is called at once when one is due. */
	offer(step: number, capture: () => Promise<PassState | undefined>): void {
		if (this.#working || !this.#due(step)) return;
		this.#start(step, capture);
	}

	/** Takes one now, after the one on its way, and waits for it. */
	async take(step: number, capture: () => Promise<PassState | undefined>): Promise<void> {
		await this.#working;
		if (this.sink && (step > this.#lastStep || !this.#taken)) this.#start(step, capture);
		await this.#working;
	}

	/** The pass goes back to an earlier step. */
	rewind(step: number): void {
		this.#lastStep = Math.min(this.#lastStep, step);
	}

	/** Resolves when nothing is on its way. */
	async settled(): Promise<void> {
		await this.#working;
	}

	#due(step: number): boolean {
		if (!this.sink || step <= this.#lastStep) return false;
		if (this.control.takeSnapshotRequest()) return true;
		if (this.sink.every === 0 || this.now() < this.#notBefore) return false;
		const passed = this.now() - this.#lastTime;
		return passed >= SHARE * this.#cost && (step - this.#lastStep >= this.sink.every || passed >= LONGEST_MS);
	}

	#start(step: number, capture: () => Promise<PassState | undefined>): void {
		const { sink } = this;
		if (!sink) return;
		this.#lastStep = step;
		this.#working = capture()
			.then(async (state) => {
				if (state) this.#cost = await sink.save(state);
				this.#taken = true;
			})
			.catch((error: unknown) => {
				this.#notBefore = this.now() + LONGEST_MS;
				sink.failed(error);
			})
			.finally(() => {
				this.#lastTime = this.now();
				this.#working = undefined;
			});
	}
}
