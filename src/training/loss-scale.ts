/**
 * Dynamic loss scaling for half storage: gradients travel through the network multiplied by the scale, so that small ones do not vanish in halves.
 *
 * Rules
 * - The optimizer kernel skips a step whose gradients are not finite, by itself, on the GPU. The host learns of it with a delay and corrects the scale:
 *   each skipped step halves it once; 400 steps without a skip double it.
 * - The counts are read at fixed steps and applied at fixed steps, so the scale is a function of the step number alone and runs repeat exactly.
 * - f32 storage needs no scaling: the scale stays 1.
 * Source: Micikevicius et al. 2018, "Mixed precision training". The start 2^14 leaves a factor 4 to the largest half for gradients around 1.
 */

export const FIRST_SCALE = 2 ** 14;
const MOST = 2 ** 20;
const LEAST = 2 ** -8;
const CLEAN_STEPS = 400;

export interface ScalerState {
	readonly scale: number;
	readonly skipped: number;
	readonly cleanSince: number;
}

export class LossScaler {
	#scale: number;
	#skipped = 0;
	#cleanSince = 0;

	constructor(readonly active: boolean) {
		this.#scale = active ? FIRST_SCALE : 1;
	}

	get state(): ScalerState {
		return { scale: this.#scale, skipped: this.#skipped, cleanSince: this.#cleanSince };
	}

	restore(state: ScalerState): void {
		this.#scale = state.scale;
		this.#skipped = state.skipped;
		this.#cleanSince = state.cleanSince;
	}

	get scale(): number {
		return this.#scale;
	}

	/** Steps skipped so far. */
	get skipped(): number {
		return this.#skipped;
	}

	/** True when even the smallest scale overflows: the training itself has diverged. */
	get exhausted(): boolean {
		return this.active && this.#scale <= LEAST;
	}

	/** @param skipped all steps skipped so far @param step steps done when this is applied */
	update(skipped: number, step: number): void {
		const fresh = skipped - this.#skipped;
		this.#skipped = skipped;
		if (!this.active) return;
		if (fresh > 0) {
			this.#scale = Math.max(LEAST, this.#scale / 2 ** Math.min(fresh, 10));
			this.#cleanSince = step;
		} else if (step - this.#cleanSince >= CLEAN_STEPS) {
			this.#scale = Math.min(MOST, this.#scale * 2);
			this.#cleanSince = step;
		}
	}
}
