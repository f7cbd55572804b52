/**
 * The log of a pass as TrainTrain writes it, so that its plot page and people's own scripts read ours.
 *
 * Rules (spec §2.6)
 * - Eight rows `key,value` (rank, alpha, rate, iterations, scheduler, model version, optimizer, name), one row of columns, then `step,loss,rate`.
 * - The loss is the moving average (0.9), not the raw loss; the rate is the one used in that step. Steps count from 1.
 * - Commas, quotes where needed, CRLF, numbers as Python prints them: the format of Python's csv module.
 * - The copier's file has `_copy` before `.csv`.
 */
import { learningRateAt } from './rates';
import type { ModelFamily, Recipe } from './recipe';
import { writeOptimizer } from './traintrain/optimizers';
import { writeSchedule } from './traintrain/schedules';

export interface LogPoint {
	readonly step: number;
	readonly lossAverage: number;
	readonly learningRate: number;
}

const VERSION: Readonly<Record<ModelFamily, string>> = { mini: 'sd_v1', sd15: 'sd_v1', sdxl: 'sdxl_base_v1-0' };

/** A float as Python's repr prints it: 0.0001, 5e-05, 1.0. */
export function pythonFloat(value: number): string {
	if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
	const size = Math.abs(value);
	if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
		const [digits, exponent] = value.toExponential().split('e');
		const n = Number(exponent);
		return `${digits ?? ''}e${n < 0 ? '-' : '+'}${String(Math.abs(n)).padStart(2, '0')}`;
	}
	return Number.isInteger(value) ? `${value}.0` : String(value);
}

const field = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const row = (...fields: string[]): string => `${fields.map(field).join(',')}\r\n`;

function header(recipe: Recipe, pass: 'copier' | 'difference'): string {
	const settings = recipe.passes[pass];
	return [
		row('network_rank', String(settings.rank)),
		row('network_alpha', pythonFloat(settings.alpha)),
		row('train_learning_rate', pythonFloat(settings.learningRate)),
		row('train_iterations', String(settings.iterations)),
		row('train_lr_scheduler', writeSchedule(settings.schedule).raw['train_lr_scheduler'] ?? ''),
		row('model_version', VERSION[recipe.model.family]),
		row('train_optimizer', writeOptimizer(settings.optimizer).name.toLowerCase()),
		row('save_lora_name', recipe.name),
		row('Step', 'Loss', 'Learning Rate 1')
	].join('');
}

/** The file of one pass. */
export function csvLog(recipe: Recipe, pass: 'copier' | 'difference', points: readonly LogPoint[]): { name: string; text: string } {
	const rows = points.map(({ step, lossAverage, learningRate }) => row(String(step), pythonFloat(lossAverage), pythonFloat(learningRate)));
	return { name: `${recipe.name}${pass === 'copier' ? '_copy' : ''}.csv`, text: header(recipe, pass) + rows.join('') };
}

/** Points of a curve; the moving average is made here, a loss that is not finite leaves it alone. */
export function logPoints(steps: ArrayLike<number>, losses: ArrayLike<number>, rates: ArrayLike<number | null>): LogPoint[] {
	let average: number | undefined;
	return Array.from(losses, (loss, i) => {
		if (Number.isFinite(loss)) average = average === undefined ? loss : 0.9 * average + 0.1 * loss;
		return { step: steps[i] ?? i + 1, lossAverage: average ?? loss, learningRate: rates[i] ?? NaN };
	});
}

/** Collects points; steps that a rollback or a resumption did again replace what was there from that step on. */
export class LogPoints {
	readonly #points: Record<'copier' | 'difference', LogPoint[]> = { copier: [], difference: [] };

	add(pass: 'copier' | 'difference', point: LogPoint): void {
		const points = this.#points[pass];
		while ((points.at(-1)?.step ?? 0) >= point.step) points.pop();
		points.push(point);
	}

	/** What an interrupted run trained before: the rates are the schedule's own. */
	before(recipe: Recipe, pass: 'copier' | 'difference', losses: ArrayLike<number>): void {
		const { learningRate, iterations, schedule } = recipe.passes[pass];
		const rates = Array.from(losses, (_, k) => learningRateAt(k, learningRate, iterations, schedule));
		for (const point of logPoints([], losses, rates)) this.add(pass, point);
	}

	/** Files of the passes that have points, the copier's first. */
	files(recipe: Recipe): { name: string; text: string }[] {
		return (['copier', 'difference'] as const).flatMap((pass) => (this.#points[pass].length > 0 ? [csvLog(recipe, pass, this.#points[pass])] : []));
	}
}
