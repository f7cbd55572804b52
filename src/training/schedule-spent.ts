/** How much of a pass's learning rate is spent: the sum of the rates of the steps made, as a share of the sum of all. What can still be learnt goes with what is left. */
import type { PassSettings } from '../recipe/recipe';
import { learningRateAt } from '../recipe/rates';

/** Computed once; the function takes steps done, 0 … iterations, and grows from 0 to 1. */
export function rateSpent({ learningRate, iterations, schedule }: Pick<PassSettings, 'learningRate' | 'iterations' | 'schedule'>): (step: number) => number {
	const sums = new Float64Array(iterations + 1);
	for (let k = 0; k < iterations; k++) sums[k + 1] = (sums[k] ?? 0) + learningRateAt(k, learningRate, iterations, schedule);
	const all = sums[iterations] ?? 0;
	return (step) => (all > 0 ? (sums[Math.min(step, iterations)] ?? 0) / all : step / iterations);
}
