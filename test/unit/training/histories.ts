/** Recorded runs of the mini model (tools/judgement/histories.py), good and bad, and the judgement run over them as a pass runs it. */
import { readFileSync } from 'node:fs';
import { defaultSchedule } from '../../../src/recipe/schedules';
import { lookEvery, look, newGuard } from '../../../src/training/guard';
import type { Alarm } from '../../../src/training/guard';
import { baseAt, mean } from '../../../src/training/probe';
import { rateSpent } from '../../../src/training/schedule-spent';
import { judge } from '../../../src/training/verdict';

export interface History {
	name: string;
	kind: 'copier' | 'difference' | 'addift';
	rate: number;
	steps: number;
	/** Steps between probes and norms. */
	every: number;
	/** null: not finite. */
	losses: (number | null)[];
	timesteps: number[][];
	/** By band, from step 0; each band is the mean of two points. */
	probes: (number | null)[][];
	/** Of all down factors, of all up factors, of the largest module; from step 0. */
	norms: (number | null)[][];
}

export const histories = JSON.parse(readFileSync('test/fixtures/judgement/histories.json', 'utf8')) as History[];

/** Curves of the probe as this engine drew them (bench/judgement.ts): step and loss by base. */
interface Curve {
	name: string;
	kind: History['kind'];
	steps: number;
	base: number;
	readings: [step: number, ratio: number][];
}

export const curves = JSON.parse(readFileSync('test/fixtures/judgement/engine.json', 'utf8')) as Curve[];

const finite = (value: number | null | undefined): number => value ?? Infinity;

const spentOf = (steps: number) => rateSpent({ learningRate: 1, iterations: steps, schedule: defaultSchedule('cosine') });

function verdictsAt(kind: History['kind'], base: number, steps: number, readings: { step: number; now: number }[]) {
	const frame = { base, steps, enough: kind === 'copier' ? 0.45 : 0.7, spent: spentOf(steps) };
	return readings.map((_, i) => judge(readings.slice(0, i + 1), frame));
}

/** What the probe says at each of its readings; `every` of the recorded ones make one. */
export function verdictsOf({ kind, probes, steps, every }: History, take = 1) {
	const means = probes.map((bands) => mean(bands.map(finite)));
	const readings = means.map((now, i) => ({ step: i * every, now })).filter((_, i) => i > 0 && i % take === 0);
	return verdictsAt(kind, means[0] ?? NaN, steps, readings);
}

export function verdictsOfCurve({ kind, base, steps, readings }: Curve) {
	return verdictsAt(
		kind,
		base,
		steps,
		readings.map(([step, ratio]) => ({ step, now: ratio * base }))
	);
}

/** The first alarm of the guard and its step, or null. Numbers come in one look late, as in training. */
export function alarmOf(run: History, options: { blind?: boolean; probe?: boolean } = {}): { step: number; alarm: Alarm } | null {
	const looks = Math.max(run.every, Math.round(lookEvery(run.steps) / run.every) * run.every);
	const range = run.kind === 'addift' ? { min: 200, max: 800 } : { min: 0, max: 1000 };
	const points = { t: [0, 1, 2, 3].map((band) => range.min + ((band + 0.5) / 4) * (range.max - range.min)) };
	const base = (run.probes[0] ?? []).map(finite);
	const verdicts = verdictsOf(run);
	const spent = spentOf(run.steps);
	let state = newGuard();
	for (let step = looks; step <= run.steps; step += looks) {
		const losses = run.losses.slice(step - looks, step).map((loss, i) => ({
			loss: finite(loss),
			expected: options.blind ? undefined : mean((run.timesteps[step - looks + i] ?? []).map((t) => baseAt(points, base, t)))
		}));
		const [down, up] = run.norms[step / run.every] ?? [];
		const verdict = options.probe === false ? 'notYet' : (verdicts[step / run.every - 1] ?? 'notYet');
		const norm = Math.hypot(finite(down), finite(up));
		const found = look(state, { losses, base: options.blind ? undefined : mean(base), skipped: 0, norm, verdict, spent: spent(step) });
		state = found.state;
		if (found.alarm) return { step, alarm: found.alarm };
	}
	return null;
}
