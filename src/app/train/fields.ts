/**
 * The fields of a pass as the form shows them: which are in sight, which fold away, how each is read. The schema alone
 * knows what is valid; hints come from `recipe/advice`.
 */
import { alphaScale, highestUsualRate } from '../../recipe/advice';
import type { ModelFamily, PassSettings, Recipe } from '../../recipe/recipe';
import { short } from '../format';
import type { Dictionary } from '../i18n/i18n.svelte';

export type FieldKey = keyof Dictionary['recipe']['fields'];

export interface NumberField {
	key: Exclude<FieldKey, 'optimizer' | 'schedule' | 'loss' | 'blocks'>;
	/** Under `passes.<pass>.`, as the schema names it. */
	path: string;
	read: (pass: PassSettings) => number;
	/** Says what the value means here and now; null: nothing worth saying. */
	hint?: (pass: PassSettings, family: ModelFamily, t: Dictionary) => string | null;
}

const rank: NumberField = { key: 'rank', path: 'rank', read: (p) => p.rank };

const alpha: NumberField = {
	key: 'alpha',
	path: 'alpha',
	read: (p) => p.alpha,
	hint: (p, _family, t) => (p.alpha === p.rank ? null : t.recipe.hints.scale(short(alphaScale(p.alpha, p.rank))))
};

const iterations: NumberField = { key: 'iterations', path: 'iterations', read: (p) => p.iterations };

const learningRate: NumberField = {
	key: 'learningRate',
	path: 'learningRate',
	read: (p) => p.learningRate,
	hint(p, family, t) {
		const scale = alphaScale(p.alpha, p.rank);
		if (scale !== 1) return t.recipe.hints.effectiveRate(short(p.learningRate * scale));
		const usual = highestUsualRate(family, p.batch);
		return usual === null ? null : t.recipe.hints.rateAtBatch(short(usual), p.batch);
	}
};

/** In sight. */
export const MAIN_FIELDS: readonly NumberField[] = [rank, alpha, iterations, learningRate];

/** Folded away. */
export const MORE_FIELDS: readonly NumberField[] = [
	{ key: 'batch', path: 'batch', read: (p) => p.batch },
	{ key: 'convRank', path: 'convRank', read: (p) => p.convRank },
	{
		key: 'convAlpha',
		path: 'convAlpha',
		read: (p) => p.convAlpha,
		hint: (p, _family, t) => (p.convRank === 0 || p.convAlpha === p.convRank ? null : t.recipe.hints.scale(short(alphaScale(p.convAlpha, p.convRank))))
	},
	{ key: 'seed', path: 'seed', read: (p) => p.seed },
	{ key: 'minSnrGamma', path: 'minSnrGamma', read: (p) => p.minSnrGamma },
	{ key: 'timestepMin', path: 'timesteps.min', read: (p) => p.timesteps.min },
	{ key: 'timestepMax', path: 'timesteps.max', read: (p) => p.timesteps.max }
];

/** What was typed, as the schema wants it: a number where it is one, else the text itself (which the schema then refuses by name). */
export function numberOrText(text: string): number | string {
	const clean = text.trim().replace('−', '-');
	return clean !== '' && Number.isFinite(Number(clean)) ? Number(clean) : text;
}

/** "1111, 2222" → numbers or texts; spaces and Japanese commas are fine, empty pieces fall away. */
export function listOf(text: string): (number | string)[] {
	return text
		.split(/[,、，\s]+/)
		.filter((piece) => piece !== '')
		.map(numberOrText);
}

/** A field being edited: its text, and the value that text stands for. */
export interface Typed {
	text: string;
	value: unknown;
}

/** `recipe` as JSON with what is being typed laid over it; keys of `typed` are paths with dots. */
export function overlay(recipe: Recipe, typed: Readonly<Record<string, Typed>>): unknown {
	const document: unknown = JSON.parse(JSON.stringify(recipe));
	for (const [path, { value }] of Object.entries(typed)) {
		const keys = path.split('.');
		const last = keys.pop() ?? '';
		let at: unknown = document;
		for (const key of keys) at = isRecord(at) && Object.hasOwn(at, key) ? at[key] : undefined;
		if (isRecord(at) && Object.hasOwn(at, last)) at[last] = value;
	}
	return document;
}

function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}
