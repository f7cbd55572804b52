/**
 * The rates of a pass as it runs. For all schedules but one they are a function of the step; `plateau` lowers the rate when the loss stalls, as
 * torch.optim.lr_scheduler.ReduceLROnPlateau does (mode min, relative threshold, its epsilon 1e-8), fed once a step with a running mean of the losses.
 *
 * Rules
 * - Losses come back from the GPU late. So that the rate is a function of the losses alone, and not of how fast they came, the rate of step k rests on the losses 10 to 19 steps back
 *   and more; it changes every 10 steps only.
 * - There is no state to save: the losses of a pass are kept with it, and the rates follow from them.
 */
import type { PassSettings } from '../recipe/recipe';
import type { ScheduleSettings } from '../recipe/schedules';
import { learningRateAt } from '../recipe/rates';

type Plateau = Extract<ScheduleSettings, { kind: 'plateau' }>;

const STRETCH = 10;
const EPSILON = 1e-8;

/** Torch's scheduler as a function: the factors on the rate after 0, 1, 2, … losses. */
class StallWatch {
	factor = 1;
	/** Losses taken in. */
	seen = 0;
	/** Running mean, and the weight of its start at 0. */
	#mean = 0;
	#missing = 1;
	#best = Infinity;
	#bad = 0;
	#cooldown = 0;

	constructor(
		private readonly rate: number,
		private readonly settings: Plateau
	) {}

	take(loss: number): void {
		const { smoothing, threshold, patience, factor, minRate, cooldown } = this.settings;
		this.seen++;
		if (!Number.isFinite(loss)) return;
		this.#mean = smoothing * this.#mean + (1 - smoothing) * loss;
		this.#missing *= smoothing;
		const metric = this.#mean / (1 - this.#missing);
		if (metric < this.#best * (1 - threshold)) {
			this.#best = metric;
			this.#bad = 0;
		} else this.#bad++;
		if (this.#cooldown > 0) {
			this.#cooldown--;
			this.#bad = 0;
		}
		if (this.#bad <= patience) return;
		const now = this.rate * this.factor;
		const next = Math.max(now * factor, minRate);
		if (now - next > EPSILON) this.factor = next / this.rate;
		this.#cooldown = cooldown;
		this.#bad = 0;
	}
}

export class Rates {
	#watch: StallWatch | undefined;
	/** The factor of steps 10·i to 10·i + 9. */
	#factors: number[] = [];

	/** @param known the losses of the pass's first so many steps */
	constructor(
		private readonly settings: Pick<PassSettings, 'learningRate' | 'iterations' | 'schedule'>,
		private readonly known: (count: number) => Promise<readonly number[]>
	) {
		this.rewind();
	}

	/** The rate of step k (0-based), the next one to be made. */
	async next(k: number): Promise<number> {
		const stretch = Math.floor(k / STRETCH);
		if (this.#watch && this.#factors.length <= stretch) {
			const losses = await this.known(Math.max(0, (stretch - 1) * STRETCH));
			while (this.#factors.length <= stretch) {
				const end = (this.#factors.length - 1) * STRETCH;
				while (this.#watch.seen < end) this.#watch.take(losses[this.#watch.seen] ?? NaN);
				this.#factors.push(this.#watch.factor);
			}
		}
		return this.past(k);
	}

	/** The rate of a step that `next` was asked for. */
	past(k: number): number {
		const { learningRate, iterations, schedule } = this.settings;
		return learningRateAt(k, learningRate, iterations, schedule) * (this.#factors[Math.floor(k / STRETCH)] ?? 1);
	}

	/** The pass goes back to an earlier step: losses after it will be others. */
	rewind(): void {
		const { learningRate, schedule } = this.settings;
		this.#factors = [];
		this.#watch = schedule.kind === 'plateau' ? new StallWatch(learningRate, schedule) : undefined;
	}
}
