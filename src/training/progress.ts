/**
 * From raw losses to progress events: moving average, speed, time left over both passes.
 * The loss average is 0.9 × old + 0.1 × new, starting at the first loss (TrainTrain); a step whose loss is not finite (it was skipped) leaves it alone.
 */
import type { PassName, TrainingEvent } from './events';

/** How long a batch item takes, known only from the pass that runs: the other pass is assumed to take as long per item. */
export interface PassLength {
	readonly iterations: number;
	readonly batch: number;
}

export class ProgressMeter {
	#average: number | undefined;
	#rate: number | undefined;
	#lastTime: number;
	#lastStep = 0;

	/** @param later passes still to come after this one */
	constructor(
		private readonly pass: PassName,
		private readonly own: PassLength,
		private readonly later: readonly PassLength[],
		private readonly now: () => number = () => performance.now()
	) {
		this.#lastTime = now();
	}

	/** Starts measuring the speed afresh after so many steps: the time before went into a probe, a preview, a file. */
	pause(step: number): void {
		this.#lastTime = this.now();
		this.#lastStep = step;
	}

	/** Goes back to where only these had been made. */
	rewind(losses: readonly number[]): void {
		this.#average = undefined;
		this.resume(losses);
	}

	/** Goes on behind steps that were made before, with their moving average. */
	resume(losses: readonly number[]): void {
		for (const loss of losses) this.#add(loss);
		this.pause(losses.length);
	}

	/**
	 * @param first step number (from 1) of the first loss
	 * @param losses one per step, already the mean over the batch
	 */
	report(first: number, losses: readonly number[], rateOf: (step: number) => number): Extract<TrainingEvent, { type: 'progress' }>[] {
		const done = first + losses.length - 1;
		const time = this.now();
		const seconds = (time - this.#lastTime) / 1000;
		if (seconds > 0 && done > this.#lastStep) {
			const rate = (done - this.#lastStep) / seconds;
			this.#rate = this.#rate === undefined ? rate : 0.6 * this.#rate + 0.4 * rate;
			this.#lastTime = time;
			this.#lastStep = done;
		}
		return losses.map((loss, i) => {
			const step = first + i;
			this.#add(loss);
			return {
				type: 'progress',
				pass: this.pass,
				step,
				steps: this.own.iterations,
				loss,
				lossAverage: this.#average ?? loss,
				learningRate: rateOf(step),
				stepsPerSecond: this.#rate ?? 0,
				etaSeconds: this.#eta(step)
			};
		});
	}

	#add(loss: number): void {
		if (Number.isFinite(loss)) this.#average = this.#average === undefined ? loss : 0.9 * this.#average + 0.1 * loss;
	}

	#eta(step: number): number {
		if (!this.#rate) return 0;
		const items = this.later.reduce((sum, pass) => sum + pass.iterations * pass.batch, 0);
		return (this.own.iterations - step + items / this.own.batch) / this.#rate;
	}
}
