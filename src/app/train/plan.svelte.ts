/**
 * The trainer's plan for the run being prepared: memory by kind and every problem it sees, asked again a moment after the last change.
 * Asked only while a model is open; planning allocates nothing.
 */
import type { Estimate, Problem, TrainRequest } from '../../service/protocol';
import { toProblem, trainer } from './trainer.svelte';

const PAUSE_MS = 500;

class Plan {
	estimate = $state.raw<Estimate | null>(null);
	problem = $state.raw<Problem | null>(null);
	busy = $state(false);
	#asked = 0;
	#timer: ReturnType<typeof setTimeout> | undefined;

	/** Asks soon; an answer to an older question is dropped. */
	ask(request: TrainRequest): void {
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => void this.now(request), PAUSE_MS);
	}

	async now(request: TrainRequest): Promise<Estimate | null> {
		clearTimeout(this.#timer);
		const turn = ++this.#asked;
		this.busy = true;
		try {
			const estimate = await trainer.request({ type: 'estimate', request });
			if (turn !== this.#asked) return estimate;
			this.estimate = estimate;
			this.problem = null;
			return estimate;
		} catch (error) {
			if (turn !== this.#asked) return null;
			this.estimate = null;
			this.problem = toProblem(error, 'estimate');
			return null;
		} finally {
			if (turn === this.#asked) this.busy = false;
		}
	}

	/** The model was closed: what was said about it no longer holds. */
	forget(): void {
		clearTimeout(this.#timer);
		this.#asked++;
		this.estimate = null;
		this.problem = null;
		this.busy = false;
	}
}

export const plan = new Plan();
