/** Number fields of the schema. JSON numbers only: nothing is guessed from text. */
import * as v from 'valibot';

export const num = (min: number, max: number) => v.pipe(v.number(), v.finite(), v.minValue(min), v.maxValue(max));
export const int = (min: number, max: number) => v.pipe(v.number(), v.finite(), v.integer(), v.minValue(min), v.maxValue(max));
/** Decay of a running mean. */
export const fraction = num(0, 0.999999);
/** The smallest number that still means something as a rate or an epsilon. */
export const SMALLEST = 1e-12;
