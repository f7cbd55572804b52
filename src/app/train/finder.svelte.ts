/** The learning-rate finder of this page: one ramp at a time, its points as they come, what it suggests. */
import type { PassName, Problem, RateAdvice, RatePoint, TrainRequest } from '../../service/protocol';
import { newId } from '../id';
import { toProblem, trainer } from './trainer.svelte';

class Finder {
	run = $state<string | null>(null);
	points = $state.raw<readonly RatePoint[]>([]);
	/** null: none yet; the ramp was stopped too early when `ended`. */
	advice = $state.raw<RateAdvice | null>(null);
	ended = $state(false);
	problem = $state.raw<Problem | null>(null);

	constructor() {
		trainer.subscribe(({ run, event }) => {
			if (run === this.run && event.type === 'ratePoints') this.points = event.points;
		});
	}

	async start(request: TrainRequest, pass: PassName): Promise<void> {
		if (this.run !== null) return;
		const run = newId();
		this.run = run;
		this.clear();
		try {
			this.advice = await trainer.request({ type: 'findRate', run, request, pass });
			this.ended = true;
		} catch (error) {
			this.problem = toProblem(error, 'finder');
		} finally {
			this.run = null;
		}
	}

	async stop(): Promise<void> {
		if (this.run !== null) await trainer.request({ type: 'cancel', run: this.run }).catch(() => undefined);
	}

	clear(): void {
		this.points = [];
		this.advice = null;
		this.ended = false;
		this.problem = null;
	}
}

export const finder = new Finder();
