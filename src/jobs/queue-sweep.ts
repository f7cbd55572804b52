/**
 * A sweep: one recipe, one field, a list of values → one recipe per value. The field is a recipe path as in problems (`passes.difference.learningRate`); every recipe
 * that comes out is judged by the schema, so a value that cannot be is refused with the schema's own words before anything is queued.
 */
import type { Recipe } from '../recipe/recipe';
import { parseRecipe } from '../recipe/schema';
import type { Problem } from './events';
import { errorProblem } from './problem';

/** Short names for the file; other fields go by the last part of their path. */
const SHORT: Readonly<Record<string, string>> = {
	learningRate: 'lr',
	iterations: 'steps',
	rank: 'dim',
	alpha: 'alpha',
	convRank: 'cdim',
	convAlpha: 'calpha',
	batch: 'batch',
	seed: 'seed',
	minSnrGamma: 'snr',
	strength: 'x'
};

const PASS_SHORT: Readonly<Record<string, string>> = { copier: 'p1', difference: '' };

export interface Sweep {
	recipes: Recipe[];
	problems: Problem[];
}

/** A value as it stands in a file name: `5e-5`, `16`, `cosine`. */
function label(value: unknown): string {
	if (typeof value === 'number') return value !== 0 && Math.abs(value) < 0.01 ? value.toExponential().replace('e-0', 'e-') : String(value);
	return String(typeof value === 'object' ? JSON.stringify(value) : value)
		.replace(/[^\p{L}\p{N}.+-]+/gu, '_')
		.slice(0, 24);
}

function short(path: readonly string[]): string {
	const last = path.at(-1) ?? '';
	const inPass = path[0] === 'passes' ? (PASS_SHORT[path[1] ?? ''] ?? '') : '';
	const kind = last === 'kind' ? '' : (SHORT[last] ?? last);
	return inPass + kind;
}

function at(root: unknown, path: readonly string[]): unknown {
	return path.reduce<unknown>((node, key) => (typeof node === 'object' && node !== null ? (node as Record<string, unknown>)[key] : undefined), root);
}

function withValue(node: unknown, path: readonly string[], value: unknown): unknown {
	const [key, ...rest] = path;
	if (key === undefined) return value;
	if (Array.isArray(node)) return node.map((item: unknown, i) => (String(i) === key ? withValue(item, rest, value) : item));
	const object = typeof node === 'object' && node !== null ? (node as Record<string, unknown>) : {};
	return { ...object, [key]: withValue(object[key], rest, value) };
}

/** Numbers become numbers, `true` and `false` truth values, everything else stays text. */
export function sweepValues(text: string): unknown[] {
	return text
		.split(/[,、;\s]+/)
		.filter((part) => part !== '')
		.map((part) => (Number.isFinite(Number(part)) ? Number(part) : part === 'true' ? true : part === 'false' ? false : part));
}

/** All recipes, or what is wrong with the values (then none is usable as a whole). */
export function sweepRecipes(recipe: Recipe, field: string, values: readonly unknown[]): Sweep {
	const path = field.split('.').filter((part) => part !== '');
	if (path.length === 0 || at(recipe, path) === undefined) {
		const message = `A sweep needs a field of the recipe such as passes.difference.learningRate; “${field}” is none.`;
		return { recipes: [], problems: [errorProblem('queue.sweepField', field, message, { field })] };
	}
	if (values.length === 0) return { recipes: [], problems: [errorProblem('queue.sweepValues', field, 'A sweep needs at least one value.')] };
	const recipes: Recipe[] = [];
	const problems: Problem[] = [];
	for (const value of new Set(values)) {
		const name = `${recipe.name}_${short(path)}${label(value)}`;
		const parsed = parseRecipe({ ...(withValue(recipe, path, value) as Recipe), name });
		if (parsed.ok) recipes.push(parsed.recipe);
		else problems.push(...parsed.problems.filter(({ level }) => level === 'error'));
	}
	return { recipes, problems };
}
