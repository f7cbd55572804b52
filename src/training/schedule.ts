/**
 * The learning rate of each step. k counts optimizer steps from 0, N iterations, w warm-up steps:
 *   k < w: rate · k / w;  constant: rate;  cosine: rate · ½(1 + cos(π (k − w)/(N − w))), half a wave down to 0.
 * Source: diffusers' and transformers' schedulers, which TrainTrain and kohya use. Exactly N steps are made, so the last one still learns a little.
 */
import type { ScheduleSettings } from '../recipe/recipe';

export function learningRateAt(k: number, rate: number, iterations: number, schedule: ScheduleSettings): number {
	const { kind, warmup } = schedule;
	if (k < warmup) return (rate * k) / warmup;
	if (kind === 'constant') return rate;
	const progress = (k - warmup) / Math.max(1, iterations - warmup);
	return rate * Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
}
