/**
 * The learning rate of each step: pure functions of the step. k counts optimizer steps from 0, N iterations, w warm-up steps:
 *   k < w: shape(0) · k / w;  else shape(k − w) over the N − w steps that are left.
 * Exactly N steps are made, so the last one still learns a little.
 * Sources: diffusers' `get_scheduler` (constant, linear, cosine, cosineRestarts, polynomial, piecewise) and torch.optim.lr_scheduler (all others), which TrainTrain uses.
 * `plateau` needs the losses: `training/plateau.ts`; here it is what it is while no loss stalls.
 */
import type { ScheduleSettings } from './schedules';

/** @param k 0-based; beyond the iterations the schedule's end is held or its formula goes on */
export function learningRateAt(k: number, rate: number, iterations: number, schedule: ScheduleSettings): number {
	const { warmup } = schedule;
	const left = Math.max(1, iterations - warmup);
	return k < warmup ? (shapeAt(0, rate, left, schedule) * k) / warmup : shapeAt(k - warmup, rate, left, schedule);
}

/** Half a cosine wave: 1 at 0, 0 at 1. */
const wave = (progress: number): number => 0.5 * (1 + Math.cos(Math.PI * progress));

/** The rate at step k of n. */
function shapeAt(k: number, rate: number, n: number, schedule: ScheduleSettings): number {
	const progress = k / n;
	switch (schedule.kind) {
		case 'constant':
		case 'plateau':
			return rate;
		case 'linear':
			return rate * Math.max(0, 1 - progress);
		case 'cosine':
			return rate * Math.max(0, wave(progress));
		case 'cosineRestarts':
			return progress >= 1 ? 0 : rate * Math.max(0, wave((schedule.cycles * progress) % 1));
		case 'polynomial':
			return progress > 1 ? schedule.endRate : (rate - schedule.endRate) * (1 - progress) ** schedule.power + schedule.endRate;
		case 'piecewise':
			return rate * pieceAt(k, schedule.rules);
		case 'cosineAnnealing':
			return schedule.minRate + (rate - schedule.minRate) * wave(progress);
		case 'cosineWarmRestarts':
			return schedule.minRate + (rate - schedule.minRate) * wave(withinPeriod(k, schedule.period, schedule.growth));
		case 'exponential':
			return rate * schedule.gamma ** k;
		case 'step':
			return rate * schedule.gamma ** Math.floor(k / schedule.every);
		case 'multiStep':
			return rate * schedule.gamma ** schedule.milestones.filter((milestone) => milestone <= k).length;
		case 'cyclic':
			return cyclic(k, schedule.maxRate || rate, schedule);
		case 'oneCycle':
			return oneCycle(k, n, schedule.maxRate || rate, schedule);
	}
}

/** The factor in force at step k; rules as in `recipe/schedules.ts`. */
function pieceAt(k: number, rules: string): number {
	for (const rule of rules.split(',')) {
		const [factor, until] = rule.split(':');
		if (until === undefined || k < Number(until)) return Number(factor);
	}
	return 0;
}

/** How far k is in its period, 0…1; period i is `growth`^i times the first. */
function withinPeriod(k: number, period: number, growth: number): number {
	if (growth === 1) return (k % period) / period;
	let [start, length] = [0, period];
	while (k >= start + length) {
		start += length;
		length *= growth;
	}
	return (k - start) / length;
}

function cyclic(k: number, maxRate: number, schedule: Extract<ScheduleSettings, { kind: 'cyclic' }>): number {
	const { minRate, stepsUp, stepsDown, shape, gamma } = schedule;
	const length = stepsUp + stepsDown;
	const cycle = Math.floor(k / length);
	const at = k - cycle * length;
	const height = (maxRate - minRate) * (at <= stepsUp ? at / stepsUp : (length - at) / stepsDown);
	return minRate + height * (shape === 'triangular' ? 1 : shape === 'triangular2' ? 2 ** -cycle : gamma ** k);
}

function oneCycle(k: number, n: number, maxRate: number, schedule: Extract<ScheduleSettings, { kind: 'oneCycle' }>): number {
	const start = maxRate / schedule.startDivisor;
	const end = start / schedule.endDivisor;
	const peak = Math.max(0, schedule.rise * n - 1);
	const between = (from: number, to: number, part: number): number => (schedule.shape === 'cosine' ? to + (from - to) * wave(part) : from + (to - from) * part);
	if (k < peak) return between(start, maxRate, k / peak);
	return between(maxRate, end, Math.min(1, (k - peak) / Math.max(1e-9, n - 1 - peak)));
}
