/**
 * Reads the rings of losses without holding the loop up: the reading of one stretch is awaited when the next one is due. Keeps every loss of the pass, so that a
 * snapshot can carry the curve and a resumed pass goes on with the same moving average.
 */
import type { Program } from '../kernels/program';
import type { PassSettings } from '../recipe/recipe';
import type { PassName, TrainingEvent } from './events';
import { awaitedLater } from './awaited-later';
import type { Objective } from './objective';
import { ProgressMeter } from './progress';
import type { PassLength } from './progress';

/** Steps between two readings; slow adapters report more often. */
export const CHECK_EVERY = 10;
const REPORT_MS = 250;

export interface ReporterOptions {
	readonly pass: PassName;
	readonly settings: PassSettings;
	readonly objective: Objective;
	readonly later: readonly PassLength[];
	readonly emit: (event: TrainingEvent) => void;
	/** On the recipe's learning rate, for the report. */
	readonly rateFactor?: () => number;
	/** The rate of step k (0-based), before that factor. */
	readonly rateAt: (k: number) => number;
}

export class LossReporter {
	readonly meter: ProgressMeter;
	/** Of steps 1, 2, … as far as they are read. */
	readonly losses: number[];
	#reading: Promise<void> = Promise.resolve();
	#last = performance.now();
	/** Programs of the steps not yet read. */
	#ran: number[] = [];

	/** @param before losses of the steps made before this process took the pass up */
	constructor(
		private readonly options: ReporterOptions,
		private readonly programs: readonly Program[],
		before: ArrayLike<number> = []
	) {
		const { iterations, batch } = options.settings;
		this.losses = Array.from(before);
		this.meter = new ProgressMeter(options.pass, { iterations, batch }, options.later);
		this.meter.resume(this.losses);
	}

	ran(shape: number): void {
		this.#ran.push(shape);
	}

	async after(k: number): Promise<void> {
		if (k % CHECK_EVERY !== 0 && performance.now() - this.#last < REPORT_MS) return;
		await this.#reading;
		this.#last = performance.now();
		this.#read();
	}

	/** Starts a reading between two steps; nobody waits for it. */
	ask(): void {
		if (this.#ran.length > 0) this.#read();
	}

	/** The losses of steps 1…k, which have been asked for. */
	async known(k: number): Promise<number[]> {
		if (this.losses.length < k) await this.#reading;
		return this.losses.slice(0, k);
	}

	/** Forgets the steps after k: the pass goes back to it. Everything made so far has been read. */
	rewind(k: number): void {
		this.losses.length = k;
		this.meter.rewind(this.losses);
	}

	async flush(): Promise<void> {
		if (this.#ran.length > 0) this.#read();
		await this.#reading;
	}

	/** The losses of steps 1…k, once they are all there; asks for them at once and does not hold up the loop. */
	async upTo(k: number): Promise<Float64Array> {
		await this.flush();
		return Float64Array.from(this.losses.slice(0, k));
	}

	/** What is to be read is settled now, between two steps; it is appended behind what is still on its way. */
	#read(): void {
		const [before, means] = [this.#reading, awaitedLater(this.#means())];
		this.#reading = awaitedLater(before.then(async () => this.#append(await means)));
	}

	#append(losses: readonly number[]): void {
		const { emit, rateAt } = this.options;
		if (losses.length === 0) return;
		const factor = this.options.rateFactor?.() ?? 1;
		const first = this.losses.length + 1;
		this.losses.push(...losses);
		for (const event of this.meter.report(first, losses, (step) => factor * rateAt(step - 1))) emit(event);
	}

	/** Means over the batch, in the order of the steps. Which steps belong to it is settled before the first wait: the loop goes on meanwhile. */
	async #means(): Promise<number[]> {
		const { batch } = this.options.settings;
		const ran = this.#ran;
		this.#ran = [];
		const values = await Promise.all(
			this.options.objective.shapes.map(async ({ loss }, i) => (await this.programs[i]?.readHistory(loss)) ?? new Float32Array(0))
		);
		const next = values.map(() => 0);
		return ran.map((shape) => {
			const start = next[shape] ?? 0;
			next[shape] = start + batch;
			const items = values[shape]?.subarray(start, start + batch) ?? new Float32Array(0);
			return items.reduce((a, b) => a + b, 0) / batch;
		});
	}
}
