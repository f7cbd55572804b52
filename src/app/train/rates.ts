/**
 * The settings of an optimizer or a schedule as the form shows them: every kind brings its own, read off its defaults, so a new setting needs a label and a line but no code.
 * The texts come with this part of the form, not with the first load.
 */
import { defaultOptimizer } from '../../recipe/optimizers';
import { learningRateAt } from '../../recipe/rates';
import type { OptimizerSettings, PassSettings, ScheduleSettings } from '../../recipe/recipe';
import { defaultSchedule } from '../../recipe/schedules';
import { exact, short } from '../format';
import { rates as en } from '../i18n/en/rates';
import { rates as ja } from '../i18n/ja/rates';
import type { Language } from '../i18n/language';
import { listOf, numberOrText } from './fields';

export type RateTexts = typeof en;
export type OwnKey = keyof RateTexts['fields'];

export function rateTexts(language: Language): RateTexts {
	return language === 'ja' ? ja : en;
}

/** Fields with a fixed set of values. */
const CHOICES: Readonly<Partial<Record<string, readonly (string | number)[]>>> = {
	stateBits: [32, 8],
	'cyclic.shape': ['triangular', 'triangular2', 'exponential'],
	'oneCycle.shape': ['cosine', 'linear']
};

export interface OwnField {
	readonly key: OwnKey;
	readonly value: unknown;
	readonly standard: unknown;
	readonly control: 'typed' | 'flag' | 'choice';
	readonly choices: readonly (string | number)[];
	readonly parse: (text: string) => unknown;
}

function parseAs(standard: unknown): (text: string) => unknown {
	if (standard === null) return (text) => (text.trim() === '' ? null : numberOrText(text));
	if (Array.isArray(standard)) return listOf;
	return typeof standard === 'string' ? (text) => text : numberOrText;
}

/** What this kind of optimizer or schedule can be told, in the order of its settings. */
export function ownFields(settings: OptimizerSettings | ScheduleSettings, which: 'optimizer' | 'schedule'): OwnField[] {
	const standards: Record<string, unknown> = which === 'optimizer' ? defaultOptimizer(settings.kind) : defaultSchedule(settings.kind);
	return Object.entries(settings)
		.filter(([key]) => key !== 'kind')
		.map(([key, value]) => {
			const standard = standards[key];
			const choices = CHOICES[`${settings.kind}.${key}`] ?? CHOICES[key] ?? [];
			const control = typeof standard === 'boolean' ? 'flag' : choices.length > 0 ? 'choice' : 'typed';
			return { key: key as OwnKey, value, standard, control, choices, parse: parseAs(standard) };
		});
}

/** A value in a field. */
export function valueText(value: unknown): string {
	if (value === null) return '';
	if (Array.isArray(value)) return value.join(', ');
	return typeof value === 'number' ? exact(value) : String(value);
}

/** A value in a sentence. */
export function shownValue(value: unknown, texts: RateTexts): string {
	if (typeof value === 'boolean') return value ? texts.on : texts.off;
	if (typeof value === 'string' && Object.hasOwn(texts.choices, value)) return texts.choices[value as keyof RateTexts['choices']];
	return value === null ? '√β2' : valueText(value);
}

/** Adafactor with its own rate uses neither the pass's rate nor its schedule. */
export const ignoresSchedule = ({ optimizer }: PassSettings): boolean => optimizer.kind === 'adafactor' && optimizer.relativeStep;

/** Points of the curve, at most so many. */
const POINTS = 400;

/** Steps (0-based) and their rates over the run; the corners of short runs are all there. */
export function rateCurve({ learningRate, iterations, schedule }: PassSettings): { steps: number[]; rates: number[] } {
	const count = Math.min(POINTS, iterations);
	const steps = Array.from({ length: count }, (_, i) => Math.round((i * (iterations - 1)) / Math.max(1, count - 1)));
	return { steps, rates: steps.map((k) => learningRateAt(k, learningRate, iterations, schedule)) };
}

/** The curve in words. */
export function curveInWords(name: string, pass: PassSettings, texts: RateTexts): string {
	if (ignoresSchedule(pass)) return texts.curveUnused(name);
	const { rates } = rateCurve(pass);
	const sentence = texts.curveSummary(name, short(rates[0] ?? 0), short(Math.max(...rates)), short(rates.at(-1) ?? 0));
	return pass.schedule.kind === 'plateau' ? `${sentence} · ${texts.curveStall(name)}` : sentence;
}
