/**
 * The rates of a pass as it runs. For all schedules but one they are a function of the step; `plateau` lowers the rate when the loss stalls, as
 * torch.optim.lr_scheduler.ReduceLROnPlateau does (mode min, relative threshold, its epsilon 1e-8), fed once a step with a running mean of the losses.
 *
 * Rules
 * - Losses come back from the GPU late. So that the rate is a function of the losses alone, and not of how fast they came, the rate of step k rests on
 *   the losses of the steps before `needs(k)`, 10 to 19 steps back. The pass waits for exactly these.
 * - `state()` is all there is to remember: a run resumed with it makes the same rates.
 */
import type { ScheduleSettings } from '../recipe/schedules';
import { learningRateAt } from './schedule';

const STRETCH = 10;
const EPSILON = 1e-8;

export interface RateState {
	/** Losses taken in so far. */
	seen: number;
	/** Running mean of the losses and the weight of its start at 0. */
	mean: number;
	missing: number;
	/** null: none yet. */
	best: number | null;
	bad: number;
	cooldown: number;
	/** What the rate is multiplied by. */
	factor: number;
}

const FRESH: RateState = { seen: 0, mean: 0, missing: 1, best: null, bad: 0, cooldown: 0, factor: 1 };

export class Rates {
	#state: RateState = { ...FRESH };
	/** Losses that came before they are needed, the first being that of step `seen`. */
	#waiting: number[] = [];
	/** Factors from step `#from` on, as they were used. */
	readonly #factors = new Map<number, number>();

	constructor(
		private readonly rate: number,
		private readonly iterations: number,
		private readonly schedule: ScheduleSettings
	) {}

	/** How many losses, of steps 0, 1, …, must have been given to `observe` before `at(k)`. */
	needs(k: number): number {
		return this.schedule.kind === 'plateau' ? Math.max(0, Math.floor(k / STRETCH) * STRETCH - STRETCH) : 0;
	}

	/** Losses taken in or waiting. */
	get observed(): number {
		return this.#state.seen + this.#waiting.length;
	}

	/** The losses of the next steps, in order. */
	observe(losses: readonly number[]): void {
		if (this.schedule.kind === 'plateau') this.#waiting.push(...losses);
	}

	/** The rate of step k (0-based). Steps are asked for in order; earlier ones may be asked for again. @throws Error when losses it rests on are missing */
	at(k: number): number {
		const plain = learningRateAt(k, this.rate, this.iterations, this.schedule);
		if (this.schedule.kind !== 'plateau') return plain;
		const known = this.#factors.get(k);
		if (known !== undefined) return plain * known;
		const needed = this.needs(k);
		if (this.observed < needed) throw new Error(`The rate of step ${k} rests on ${needed} losses; ${this.observed} are known.`);
		while (this.#state.seen < needed) this.#take(this.#waiting.shift() ?? NaN, this.schedule);
		this.#factors.set(k, this.#state.factor);
		return plain * this.#state.factor;
	}

	state(): RateState {
		return { ...this.#state };
	}

	/** Goes on where `state()` was taken; the losses of steps from `state.seen` on are to be observed again. */
	restore(state: RateState): void {
		this.#state = { ...state };
		this.#waiting = [];
		this.#factors.clear();
	}

	#take(loss: number, schedule: Extract<ScheduleSettings, { kind: 'plateau' }>): void {
		const s = this.#state;
		s.seen++;
		if (!Number.isFinite(loss)) return;
		s.mean = schedule.smoothing * s.mean + (1 - schedule.smoothing) * loss;
		s.missing *= schedule.smoothing;
		const metric = s.mean / (1 - s.missing);
		if (s.best === null || metric < s.best * (1 - schedule.threshold)) {
			s.best = metric;
			s.bad = 0;
		} else s.bad++;
		if (s.cooldown > 0) {
			s.cooldown--;
			s.bad = 0;
		}
		if (s.bad <= schedule.patience) return;
		const now = this.rate * s.factor;
		const next = Math.max(now * schedule.factor, schedule.minRate);
		if (now - next > EPSILON) s.factor = next / this.rate;
		s.cooldown = schedule.cooldown;
		s.bad = 0;
	}
}
