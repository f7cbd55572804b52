/**
 * Lays what somebody gave over the defaults: missing fields take them, unknown fields are named.
 *
 * Rules
 * - Only own, known properties are ever read: `__proto__`, `constructor` and friends are just unknown fields.
 * - An optimizer or schedule of another kind takes that kind's own defaults.
 * - A reference to another file drops what the default says about its own file.
 */
import { defaultOptimizer } from './optimizers';
import { problem } from './problem';
import type { RecipeProblem } from './problem';
import { defaultSchedule } from './schedules';

export type Json = Record<string, unknown>;

export function isObject(value: unknown): value is Json {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const PICTURE = ['name', 'sha256', 'path', 'bundled'];
const FILE = ['name', 'sha256', 'path'];
/** Fields of references, which no default can show: some are optional, and a reference that is null by default has none at all. */
const REFERENCES: Readonly<Record<string, readonly string[]>> = {
	model: ['name', 'family', 'sha256', 'path', 'bundled', 'vae'],
	'model.vae': FILE,
	'images.original': PICTURE,
	'images.target': PICTURE,
	mask: PICTURE,
	'copier.file': FILE,
	resumeFrom: FILE,
	'dataset.folder': ['name', 'path']
};

function standardOf(key: string, value: Json, standard: Json): Json {
	if (!Object.hasOwn(value, 'kind')) return standard;
	if (key === 'optimizer') return defaultOptimizer(value['kind']);
	return key === 'schedule' ? defaultSchedule(value['kind']) : standard;
}

/** `given` over `base`; `where` is the field path of both. */
export function complete(base: Json, given: Json, where: string, problems: RecipeProblem[]): Json {
	const reference = REFERENCES[where] ?? [];
	const optional = reference.filter((key) => key !== 'name' && key !== 'family');
	const known = new Set([...Object.keys(base), ...reference]);
	const otherFile = reference.some((key) => key !== 'family' && Object.hasOwn(given, key));
	for (const key of Object.keys(given)) {
		if (known.has(key)) continue;
		const field = where ? `${where}.${key}` : key;
		problems.push(problem('warning', 'recipe.unknownField', field, { field }, `"${field}" is not a field of a recipe and was ignored. Check its spelling.`));
	}
	const out: Json = {};
	for (const key of known) {
		const field = where ? `${where}.${key}` : key;
		const value = Object.hasOwn(given, key) ? given[key] : undefined;
		const standard = base[key];
		if (value === undefined) {
			if (standard !== undefined && !(otherFile && optional.includes(key))) out[key] = standard;
		} else if (isObject(value) && (isObject(standard) || REFERENCES[field])) {
			out[key] = complete(isObject(standard) ? standardOf(key, value, standard) : {}, value, field, problems);
		} else out[key] = value;
	}
	return out;
}
