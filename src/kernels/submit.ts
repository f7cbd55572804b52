/**
 * Cuts a program into short submits and keeps few of them in flight.
 *
 * Rule: a submit should keep the GPU busy for at most ~100 ms (systems reset a GPU that is busy for seconds, and the screen must be
 * drawn in between), and at most three may be waiting, so that a stop is quick and errors show early. How long a slice takes is estimated
 * from its work and corrected by what earlier slices really took (moving average of measured / estimated). A device that was never measured is taken for
 * slow: its first slices are short, so that none exceeds 250 ms on a GPU several times slower than assumed. What was learned is kept for the device's other programs.
 */
import type { Gpu } from '../gpu/gpu';

export const SLICE_MS = 100;
const IN_FLIGHT = 3;

/** Rough machine rates before anything was measured. */
export interface Rates {
	readonly flopsPerMs: number;
	readonly bytesPerMs: number;
	readonly dispatchMs: number;
}

export function ratesOf(gpu: Gpu): Rates {
	return gpu.adapter.software ? { flopsPerMs: 4e6, bytesPerMs: 3e6, dispatchMs: 0.02 } : { flopsPerMs: 2e9, bytesPerMs: 1e8, dispatchMs: 0.01 };
}

/** Uncorrected milliseconds of one dispatch. */
export function estimateMs(rates: Rates, flops: number, bytes: number): number {
	return Math.max(flops / rates.flopsPerMs, bytes / rates.bytesPerMs) + rates.dispatchMs;
}

/** Cuts `[0, costs.length)` so that no slice costs more than `limit`, unless one step alone does. Returns the ends. */
export function slices(costs: readonly number[], limit: number): number[] {
	const ends: number[] = [];
	let sum = 0;
	costs.forEach((cost, index) => {
		if (sum > 0 && sum + cost > limit) {
			ends.push(index);
			sum = 0;
		}
		sum += cost;
	});
	if (costs.length > 0) ends.push(costs.length);
	return ends;
}

/** Assumed of a device before anything was measured. */
const CAUTION = 4;

const learned = new WeakMap<Gpu, number>();

export class Submitter {
	readonly #waiting: Promise<void>[] = [];
	#lastDone = 0;
	/** Measured time over estimated time, smoothed. */
	correction: number;

	constructor(readonly gpu: Gpu) {
		this.correction = learned.get(gpu) ?? CAUTION;
	}

	/** Submits; `estimate` is the slice's uncorrected cost in ms. */
	submit(commands: GPUCommandBuffer, estimate: number): void {
		const { queue } = this.gpu.device;
		const started = performance.now();
		queue.submit([commands]);
		// A lost device rejects; `gpu.check()` tells of it, so here it only ends the wait.
		const done = queue
			.onSubmittedWorkDone()
			.then(() => this.#measure(started, estimate))
			.catch(() => undefined)
			.then(() => {
				void this.#waiting.splice(this.#waiting.indexOf(done), 1);
			});
		this.#waiting.push(done);
	}

	#measure(started: number, estimate: number): void {
		const now = performance.now();
		const took = now - Math.max(started, this.#lastDone);
		this.#lastDone = now;
		if (estimate <= 1) return;
		this.correction += 0.2 * (Math.min(100, Math.max(0.01, took / estimate)) - this.correction);
		learned.set(this.gpu, this.correction);
	}

	get full(): boolean {
		return this.#waiting.length >= IN_FLIGHT;
	}

	/** Resolves when there is room for one more submit. */
	async room(): Promise<void> {
		while (this.full) await this.#waiting[0];
		this.gpu.check();
	}

	/** Resolves when everything submitted here is done. */
	async idle(): Promise<void> {
		while (this.#waiting.length > 0) await this.#waiting[0];
		this.gpu.check();
	}
}
