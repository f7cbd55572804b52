/** "What differs" between recipes: the settings that are not the same in all of them, and nothing else. Pure. */
import type { Recipe } from '../../recipe/recipe';

export interface Difference {
	/** With dots, as the schema names it. */
	path: string;
	/** One text per recipe; null where a recipe has no such setting. */
	values: (string | null)[];
}

/** Said elsewhere, or different in every run anyway. */
const SKIPPED = new Set(['version', 'name']);

function text(value: unknown): string {
	if (typeof value === 'string') return value;
	if (typeof value === 'number' && value !== 0 && Math.abs(value) < 1e-3) return value.toExponential();
	return JSON.stringify(value);
}

/** Objects are walked into; lists are values of their own, because a list that differs is read as a whole. */
function leaves(value: unknown, path: string, into: Map<string, string>): void {
	if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
		for (const [key, inner] of Object.entries(value)) leaves(inner, path ? `${path}.${key}` : key, into);
	} else if (value !== undefined) into.set(path, text(value));
}

/** In the order in which the recipes name them. */
export function differences(recipes: readonly Recipe[]): Difference[] {
	const flat = recipes.map((recipe) => {
		const found = new Map<string, string>();
		leaves(recipe, '', found);
		return found;
	});
	const paths = new Set(flat.flatMap((found) => [...found.keys()]));
	return [...paths]
		.filter((path) => !SKIPPED.has(path) && !/(^|\.)(sha256|path)$/.test(path))
		.map((path) => ({ path, values: flat.map((found) => found.get(path) ?? null) }))
		.filter(({ values }) => values.some((value) => value !== values[0]));
}
