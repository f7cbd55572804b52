/** What an int8 base costs, in the run's words: how far the matrices are from the checkpoint's, and which is furthest. */
import type { WeightStore } from '../kernels/weights';
import type { Problem } from './events';
import { warningProblem } from './problem';

const percent = (error: number): number => Number((100 * error).toPrecision(2));

/** undefined where nothing is in int8 */
export function int8Told(weights: WeightStore): Problem | undefined {
	const error = weights.int8Error;
	if (!error) return undefined;
	const values = { mean: percent(error.mean), worst: percent(error.worst.error), layer: error.worst.name, matrices: error.byName.size };
	const message = `The model is kept in 11 bits: its ${values.matrices} large matrices are off by ${values.mean} % on average, the furthest by ${values.worst} % (${values.layer}). Above about 0.5 %, use base "f16".`;
	return warningProblem('base.int8', 'base', message, values);
}
