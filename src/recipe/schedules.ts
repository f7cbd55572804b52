/**
 * Every schedule of the learning rate: settings as a discriminated union, their ranges and their defaults. The formulas are in `rates.ts`.
 *
 * Rules
 * - Each has `warmup`: steps of linear rise from 0 to where the schedule starts; the schedule itself then runs over the steps that are left.
 *   (In TrainTrain warm-up works for constant, linear, cosine, cosineRestarts and polynomial only and is ignored elsewhere: its imports set 0 there.)
 * - Lengths are in steps, rates are absolute. `maxRate: 0` stands for the pass's own learning rate; TrainTrain's one_cycle and cyclic ignore
 *   that rate and use 1e-3.
 * - Defaults are torch's and diffusers' where those make sense for a run of about a thousand steps. Ours instead: cosineRestarts 3 cycles (theirs: 1, which
 *   restarts nothing), cosineWarmRestarts period 250 (TrainTrain: 10), exponential 0.997 (TrainTrain: 0.9 a step, which is over after 50 steps),
 *   step 250 (10), multiStep 500 and 750 (30, 60, 90), cyclic 250 steps up (2000), plateau with patience 100 (10) and smoothed losses.
 */
import * as v from 'valibot';
import { fraction, int, num, SMALLEST } from './ranges';

const steps = int(1, 1_000_000);
const warmup = int(0, 1_000_000);
const rate = num(0, 10);
const factor = num(SMALLEST, 1);
/** `factor:until, factor:until, …, factor`: as TrainTrain and diffusers write it. */
const rules = v.pipe(v.string(), v.maxLength(1000), v.regex(/^\s*([0-9.]+(e-?\d+)?\s*:\s*\d+\s*,\s*)*[0-9.]+(e-?\d+)?\s*$/i));

export const scheduleSchema = v.variant('kind', [
	v.object({ kind: v.literal('constant'), warmup }),
	v.object({ kind: v.literal('linear'), warmup }),
	/** Half a wave from the rate to 0. */
	v.object({ kind: v.literal('cosine'), warmup }),
	v.object({ kind: v.literal('cosineRestarts'), warmup, cycles: int(1, 1000) }),
	v.object({ kind: v.literal('polynomial'), warmup, power: num(0.01, 100), endRate: rate }),
	/** rules "1:100, 0.1:200, 0.01": the rate × 1 before step 100, × 0.1 before step 200, × 0.01 after. */
	v.object({ kind: v.literal('piecewise'), warmup, rules }),
	/** Half a wave from the rate to minRate. */
	v.object({ kind: v.literal('cosineAnnealing'), warmup, minRate: rate }),
	/** Waves of `period` steps, each `growth` times as long as the one before. */
	v.object({ kind: v.literal('cosineWarmRestarts'), warmup, period: steps, growth: int(1, 100), minRate: rate }),
	/** × gamma every step. */
	v.object({ kind: v.literal('exponential'), warmup, gamma: factor }),
	/** × gamma every `every` steps. */
	v.object({ kind: v.literal('step'), warmup, every: steps, gamma: factor }),
	v.object({ kind: v.literal('multiStep'), warmup, milestones: v.pipe(v.array(int(1, 1_000_000)), v.maxLength(64)), gamma: factor }),
	/** Torch's ReduceLROnPlateau on the loss, smoothed by a running mean with decay `smoothing` (0: as it is). */
	v.object({
		kind: v.literal('plateau'),
		warmup,
		factor: num(SMALLEST, 0.999),
		patience: int(0, 1_000_000),
		threshold: num(0, 1),
		cooldown: int(0, 1_000_000),
		minRate: rate,
		smoothing: fraction
	}),
	/** triangular: between minRate and maxRate; triangular2 halves the height every cycle; exponential multiplies it by gamma every step. */
	v.object({
		kind: v.literal('cyclic'),
		warmup,
		minRate: rate,
		maxRate: rate,
		stepsUp: steps,
		stepsDown: steps,
		shape: v.picklist(['triangular', 'triangular2', 'exponential'] as const),
		gamma: factor
	}),
	/** From maxRate/startDivisor up to maxRate over `rise` of the run, then down to maxRate/startDivisor/endDivisor. */
	v.object({
		kind: v.literal('oneCycle'),
		warmup,
		maxRate: rate,
		rise: num(0.001, 0.999),
		startDivisor: num(1, 1e6),
		endDivisor: num(1, 1e9),
		shape: v.picklist(['cosine', 'linear'] as const)
	})
]);

export type ScheduleSettings = v.InferOutput<typeof scheduleSchema>;
export type ScheduleKind = ScheduleSettings['kind'];
type SettingsOf<K extends ScheduleKind> = Extract<ScheduleSettings, { kind: K }>;

const DEFAULTS: { readonly [K in ScheduleKind]: SettingsOf<K> } = {
	cosine: { kind: 'cosine', warmup: 0 },
	constant: { kind: 'constant', warmup: 0 },
	linear: { kind: 'linear', warmup: 0 },
	cosineAnnealing: { kind: 'cosineAnnealing', warmup: 0, minRate: 0 },
	cosineRestarts: { kind: 'cosineRestarts', warmup: 0, cycles: 3 },
	cosineWarmRestarts: { kind: 'cosineWarmRestarts', warmup: 0, period: 250, growth: 1, minRate: 0 },
	polynomial: { kind: 'polynomial', warmup: 0, power: 1, endRate: 1e-7 },
	exponential: { kind: 'exponential', warmup: 0, gamma: 0.997 },
	step: { kind: 'step', warmup: 0, every: 250, gamma: 0.1 },
	multiStep: { kind: 'multiStep', warmup: 0, milestones: [500, 750], gamma: 0.1 },
	piecewise: { kind: 'piecewise', warmup: 0, rules: '1:500,0.3:750,0.1' },
	plateau: { kind: 'plateau', warmup: 0, factor: 0.1, patience: 100, threshold: 1e-4, cooldown: 0, minRate: 0, smoothing: 0.98 },
	cyclic: { kind: 'cyclic', warmup: 0, minRate: 1e-5, maxRate: 0, stepsUp: 250, stepsDown: 250, shape: 'triangular', gamma: 1 },
	oneCycle: { kind: 'oneCycle', warmup: 0, maxRate: 0, rise: 0.3, startDivisor: 25, endDivisor: 1e4, shape: 'cosine' }
};

/** In the order menus show them. */
export const SCHEDULE_KINDS = Object.keys(DEFAULTS) as readonly ScheduleKind[];

/** Cosine for a kind that does not exist, so that the schema can then refuse the kind by name. */
export function defaultSchedule<K extends ScheduleKind>(kind: K): SettingsOf<K>;
export function defaultSchedule(kind: unknown): ScheduleSettings;
export function defaultSchedule(kind: unknown): ScheduleSettings {
	const known = SCHEDULE_KINDS.find((name) => name === kind) ?? 'cosine';
	return structuredClone(DEFAULTS[known]);
}
