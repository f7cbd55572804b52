/**
 * Schedulers of TrainTrain's menu ↔ ours. Defaults are those that apply there, not ours: periods of 10 steps, ×0.9 a step.
 * Warm-up, cycles, power and step rules are settings of their own there; warm-up works with five schedulers and is ignored elsewhere.
 */
import { defaultSchedule } from '../schedules';
import type { ScheduleKind, ScheduleSettings } from '../schedules';
import { differing, numberOf, readSettings, textOf, wholeOf, writeSettings } from './values';
import type { Literal, Naming, Raw } from './values';

interface Entry {
	readonly name: string;
	readonly kind: ScheduleKind;
	readonly warmup?: true;
	/** What applies there when nothing is set. */
	readonly standard?: Readonly<Record<string, unknown>>;
	/** Settings of the setting string by their names in torch. */
	readonly names?: Naming;
}

const ENTRIES: readonly Entry[] = [
	{ name: 'constant', kind: 'constant' },
	{ name: 'constant_with_warmup', kind: 'constant', warmup: true },
	{ name: 'linear', kind: 'linear', warmup: true },
	{ name: 'cosine', kind: 'cosine', warmup: true },
	{ name: 'cosine_with_restarts', kind: 'cosineRestarts', warmup: true },
	{ name: 'polynomial', kind: 'polynomial', warmup: true },
	{ name: 'piecewise_constant', kind: 'piecewise' },
	{ name: 'cosine_annealing', kind: 'cosineAnnealing', names: { minRate: 'eta_min' } },
	{
		name: 'cosine_annealing_with_restarts',
		kind: 'cosineWarmRestarts',
		standard: { period: 10, growth: 1, minRate: 0 },
		names: { period: 'T_0', growth: 'T_mult', minRate: 'eta_min' }
	},
	{ name: 'exponential', kind: 'exponential', standard: { gamma: 0.9 }, names: { gamma: 'gamma' } },
	{ name: 'step', kind: 'step', standard: { every: 10, gamma: 0.1 }, names: { every: 'step_size', gamma: 'gamma' } },
	{ name: 'multi_step', kind: 'multiStep', standard: { milestones: [30, 60, 90], gamma: 0.1 }, names: { milestones: 'milestones', gamma: 'gamma' } },
	{
		name: 'reduce_on_plateau',
		kind: 'plateau',
		standard: { factor: 0.1, patience: 10, smoothing: 0 },
		names: { factor: 'factor', patience: 'patience', threshold: 'threshold', cooldown: 'cooldown', minRate: 'min_lr' }
	},
	{
		name: 'cyclic',
		kind: 'cyclic',
		standard: { minRate: 1e-5, maxRate: 1e-3, stepsUp: 2000, stepsDown: 2000, shape: 'triangular', gamma: 1 },
		names: { minRate: 'base_lr', maxRate: 'max_lr', stepsUp: 'step_size_up', stepsDown: 'step_size_down', shape: 'mode', gamma: 'gamma' }
	},
	{
		name: 'one_cycle',
		kind: 'oneCycle',
		standard: { maxRate: 1e-3 },
		names: { maxRate: 'max_lr', rise: 'pct_start', startDivisor: 'div_factor', endDivisor: 'final_div_factor', shape: 'anneal_strategy' }
	}
];

const SHAPES: Readonly<Record<string, string>> = { exp_range: 'exponential', cos: 'cosine' };

const standardOf = (entry: Entry): Record<string, unknown> => ({ ...defaultSchedule(entry.kind), ...entry.standard });

/** Reads five keys of a block. `unknown`: names and settings that have no place here. */
export function readSchedule(raw: Raw): { schedule: ScheduleSettings; unknown: string[] } {
	const name = textOf(raw['train_lr_scheduler'], 'cosine').toLowerCase();
	const known = ENTRIES.find((candidate) => candidate.name === name);
	const unknown = known || name === '' ? [] : [name];
	const entry = known ?? { name: 'cosine', kind: 'cosine' as const, warmup: true as const };
	const made = standardOf(entry);
	if (entry.warmup) made['warmup'] = Math.max(0, wholeOf(raw['train_lr_warmup_steps'], 0));
	if (entry.kind === 'cosineRestarts') made['cycles'] = Math.max(1, wholeOf(raw['train_lr_scheduler_num_cycles'], 1));
	if (entry.kind === 'polynomial') {
		const power = numberOf(raw['train_lr_scheduler_power'], 1);
		made['power'] = power > 0 ? power : 1;
	}
	if (entry.kind === 'piecewise') made['rules'] = textOf(raw['train_lr_step_rules']) || '1';
	for (const [key, value] of readSettings(textOf(raw['train_lr_scheduler_settings']))) {
		const field = Object.entries(entry.names ?? {}).find(([, library]) => library === key)?.[0];
		const shaped = field === 'shape' && typeof value === 'string' ? (SHAPES[value] ?? value) : value;
		if (field && (typeof shaped === typeof made[field] || Array.isArray(shaped))) made[field] = Array.isArray(shaped) ? [...(shaped as Literal[])] : shaped;
		else unknown.push(key);
		// torch: as long down as up unless said otherwise.
		if (field === 'stepsUp') made['stepsDown'] = value;
	}
	return { schedule: made as ScheduleSettings, unknown };
}

/** The five keys. `lost`: the warm-up, where TrainTrain has none. */
export function writeSchedule(schedule: ScheduleSettings): { raw: Record<string, string>; lost: boolean } {
	const entry = ENTRIES.find(({ kind, warmup }) => kind === schedule.kind && (kind !== 'constant' || (warmup === true) === schedule.warmup > 0));
	const own: Readonly<Record<string, unknown>> = { ...schedule };
	const names = entry?.names ?? {};
	const shape = (value: Literal): Literal => (typeof value === 'string' ? (Object.entries(SHAPES).find(([, ours]) => ours === value)?.[0] ?? value) : value);
	const settings = entry ? differing(own, standardOf(entry), names).map(([key, value]): [string, Literal] => [key, shape(value)]) : [];
	return {
		raw: {
			train_lr_scheduler: entry?.name ?? 'cosine',
			train_lr_scheduler_settings: writeSettings(settings),
			train_lr_step_rules: schedule.kind === 'piecewise' ? schedule.rules : '',
			train_lr_warmup_steps: String(schedule.warmup),
			train_lr_scheduler_num_cycles: String(schedule.kind === 'cosineRestarts' ? schedule.cycles : 1),
			train_lr_scheduler_power: String(schedule.kind === 'polynomial' ? schedule.power : 1)
		},
		lost: schedule.warmup > 0 && entry?.warmup !== true
	};
}
