/**
 * Turns anything (a file, a link, a form) into a complete `Recipe` or a list of what is wrong with it.
 *
 * Rules
 * - Missing fields take the family's default; unknown fields are a warning (a typo must not pass in silence).
 * - Only own, known properties are ever read: `__proto__`, `constructor` and friends are just unknown fields.
 * - Every problem names the field, the value given and what to do; all problems are reported at once.
 * - Numbers must be JSON numbers: "1e-4" in quotes is refused with the hint to drop the quotes, so nothing is guessed.
 * Ranges: TrainTrain's menus end at rank and alpha 1024 and at timesteps 0…1000; the rest are sanity limits.
 */
import * as v from 'valibot';
import { highestUsualRate } from './advice';
import { defaultRecipe } from './defaults';
import { defaultOptimizer, optimizerSchema } from './optimizers';
import { problem, shown } from './problem';
import type { RecipeProblem, RecipeProblemCode } from './problem';
import { int, num, SMALLEST } from './ranges';
import { BLOCK_IDS } from './recipe';
import type { ModelFamily, PassSettings, Recipe } from './recipe';
import { defaultSchedule, scheduleSchema } from './schedules';

export const MAX_SEED = 0xffffffff;

/** `problems` may hold warnings beside a good recipe. */
export type ParsedRecipe = { ok: true; recipe: Recipe; problems: RecipeProblem[] } | { ok: false; problems: RecipeProblem[] };

const text = (max: number) => v.pipe(v.string(), v.maxLength(max));
const pass = v.object({
	rank: int(1, 1024),
	alpha: num(0.001, 1024),
	convRank: int(0, 1024),
	convAlpha: num(0, 1024),
	blocks: v.pipe(v.array(v.picklist(BLOCK_IDS)), v.minLength(1), v.maxLength(64)),
	iterations: int(1, 1_000_000),
	batch: int(1, 64),
	learningRate: num(SMALLEST, 1),
	optimizer: optimizerSchema,
	schedule: scheduleSchema,
	seed: int(-1, MAX_SEED),
	minSnrGamma: num(0, 100),
	timesteps: v.object({ min: int(0, 999), max: int(1, 1000) }),
	loss: v.picklist(['mse', 'l1', 'smoothL1'] as const)
});

const sha256 = v.optional(v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)));
const path = v.optional(text(4096));
const bundled = v.optional(v.pipe(v.string(), v.regex(/^[a-z0-9-]+(\/[a-z0-9-]+)*(\.[a-z]+)?$/), v.maxLength(100)));
const image = v.object({ name: text(255), sha256, path, bundled });

const recipe = v.object({
	version: v.literal(1),
	name: v.pipe(v.string(), v.minLength(1), v.maxLength(100), v.check(isFileStem)),
	mode: v.literal('difference'),
	model: v.object({ name: text(255), family: v.picklist(['mini', 'sd15', 'sdxl'] as const), sha256, path, bundled }),
	images: v.object({ original: image, target: image }),
	prompts: v.object({ original: text(4000), target: text(4000) }),
	passes: v.object({ copier: pass, difference: pass }),
	saving: v.object({ everySteps: int(0, 1_000_000), precision: v.picklist(['f16', 'f32'] as const), keepCopier: v.boolean() }),
	preview: v.object({
		prompt: text(4000),
		negative: text(4000),
		seeds: v.pipe(v.array(int(0, MAX_SEED)), v.minLength(1), v.maxLength(64)),
		strengths: v.pipe(v.array(num(-10, 10)), v.minLength(1), v.maxLength(64)),
		steps: int(1, 200),
		cfg: num(0, 50),
		sampler: v.picklist(['ddim', 'euler_a'] as const),
		every: int(0, 1_000_000)
	}),
	probe: v.object({ every: int(0, 1_000_000) }),
	storage: v.picklist(['f16', 'f32'] as const)
});

/** A name becomes a file name and the alias typed in prompts: no folders, nothing a file system or a prompt trips over. */
function isFileStem(name: string): boolean {
	return ![...name].some((c) => c.charCodeAt(0) < 32 || '/\\:*?"<>|'.includes(c)) && name.trim() === name && !name.startsWith('.');
}

type Json = Record<string, unknown>;

function isObject(value: unknown): value is Json {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Optional fields, which no default can show the completion below. */
const OPTIONAL: Readonly<Record<string, readonly string[]>> = {
	model: ['sha256', 'path', 'bundled'],
	'images.original': ['sha256', 'path', 'bundled'],
	'images.target': ['sha256', 'path', 'bundled']
};

/** An optimizer or schedule of another kind has other settings. */
function standardOf(key: string, value: Json, standard: Json): Json {
	if (!Object.hasOwn(value, 'kind')) return standard;
	if (key === 'optimizer') return defaultOptimizer(value['kind']);
	return key === 'schedule' ? defaultSchedule(value['kind']) : standard;
}

/** `given` laid over `base`, reading known own fields only. A reference to another file drops what the default says about its own file. */
function complete(base: Json, given: Json, where: string, problems: RecipeProblem[]): Json {
	const optional = OPTIONAL[where] ?? [];
	const known = new Set([...Object.keys(base), ...optional]);
	const otherFile = ['name', ...optional].some((key) => Object.hasOwn(given, key));
	for (const key of Object.keys(given)) {
		if (known.has(key)) continue;
		const field = where ? `${where}.${key}` : key;
		problems.push(problem('warning', 'recipe.unknownField', field, { field }, `"${field}" is not a field of a recipe and was ignored. Check its spelling.`));
	}
	const out: Json = {};
	for (const key of known) {
		const value = Object.hasOwn(given, key) ? given[key] : undefined;
		const standard = base[key];
		if (value === undefined) {
			if (standard !== undefined && !(otherFile && optional.includes(key))) out[key] = standard;
		} else if (isObject(standard) && isObject(value)) {
			const field = where ? `${where}.${key}` : key;
			const own = standardOf(key, value, standard);
			out[key] = complete(own, value, field, problems);
		} else out[key] = value;
	}
	return out;
}

interface Issue {
	readonly type: string;
	readonly input: unknown;
	readonly requirement?: unknown;
	readonly expected: string | null;
	readonly path?: readonly { readonly key?: unknown }[] | undefined;
}

/** One validation issue in words. */
function explain(issue: Issue): RecipeProblem {
	const where = (issue.path ?? []).map((item) => String(item.key)).join('.');
	const given = shown(issue.input);
	const error = (code: RecipeProblemCode, message: string, values: Record<string, string | number> = {}) =>
		problem('error', code, where, { field: where, given, ...values }, message);
	const limit = typeof issue.requirement === 'number' ? issue.requirement : 0;
	switch (issue.type) {
		case 'number':
		case 'finite': {
			const hint = typeof issue.input === 'string' && issue.input.trim() !== '' && Number.isFinite(Number(issue.input)) ? ' without quotes' : '';
			return error('recipe.notNumber', `${where} is ${given}, which is not a number. Write a number such as 0.0001${hint}.`);
		}
		case 'integer':
			return error('recipe.notWhole', `${where} is ${given}; it must be a whole number.`);
		case 'string':
			return error('recipe.notText', `${where} is ${given}; it must be text in quotes.`);
		case 'boolean':
			return error('recipe.notBoolean', `${where} is ${given}; write true or false.`);
		case 'array':
			return error('recipe.notList', `${where} is ${given}; it must be a list in square brackets.`);
		case 'object':
			return error('recipe.notObject', `${where || 'The recipe'} is ${given}; it must be an object in braces.`);
		case 'min_value':
			return error('recipe.tooSmall', `${where} is ${given}; the smallest allowed value is ${limit}.`, { limit });
		case 'max_value':
			return error('recipe.tooLarge', `${where} is ${given}; the largest allowed value is ${limit}.`, { limit });
		case 'min_length':
			return error('recipe.tooShort', `${where} is empty; give at least ${limit === 1 ? 'one' : limit}.`, { limit });
		case 'max_length':
			return error('recipe.tooLong', `${where} is too long; at most ${limit} ${typeof issue.input === 'string' ? 'characters' : 'entries'} fit.`, { limit });
		case 'picklist':
		case 'literal':
		case 'variant': {
			const options = (issue.expected ?? '').replace(/[()]/g, '').replaceAll(' | ', ', ');
			return error('recipe.notOneOf', `${where} is ${given}; choose one of ${options}.`, { options });
		}
		case 'check':
			return error('recipe.badName', `${where} is ${given}; it becomes a file name, so leave out / \\ : * ? " < > | and spaces at the ends.`);
		case 'regex':
			if (where.endsWith('.rules'))
				return error('recipe.badRules', `${where} is ${given}; write factor:step pairs and a last factor, such as 1:500, 0.3:750, 0.1.`);
			return where.endsWith('sha256')
				? error('recipe.badHash', `${where} is ${given}; a SHA-256 has 64 hexadecimal digits.`)
				: error('recipe.invalid', `${where} is ${given}, which is not valid here.`);
		default:
			return error('recipe.invalid', `${where || 'The recipe'} is ${given}, which is not valid here.`);
	}
}

const FAMILIES: readonly string[] = ['mini', 'sd15', 'sdxl'] satisfies ModelFamily[];

function familyOf(given: Json): ModelFamily {
	const model = Object.hasOwn(given, 'model') ? given['model'] : undefined;
	const family = isObject(model) && Object.hasOwn(model, 'family') ? model['family'] : 'mini';
	return FAMILIES.includes(String(family)) ? (family as ModelFamily) : 'mini';
}

/** Settings that are allowed but usually a mistake, and pairs of fields that contradict each other. */
function checkPass(settings: PassSettings, where: string, family: ModelFamily): RecipeProblem[] {
	const found: RecipeProblem[] = [];
	const warn = (code: RecipeProblemCode, field: string, values: Record<string, string | number>, message: string) =>
		found.push(problem('warning', code, `${where}.${field}`, values, message));
	const { rank, alpha, convRank, convAlpha, timesteps, schedule, iterations } = settings;
	if (alpha > rank) {
		warn(
			'recipe.alphaAboveRank',
			'alpha',
			{ alpha, rank },
			`${where}.alpha ${alpha} is above the rank ${rank}: the change is multiplied by ${alpha / rank}, which often breaks pictures. Use at most ${rank}.`
		);
	}
	if (convRank > 0 && convAlpha === 0) {
		const message = `${where}.convAlpha is 0 while convRank is ${convRank}: nothing could be learned. Use ${convRank}.`;
		found.push(problem('error', 'recipe.alphaZero', `${where}.convAlpha`, { rank: convRank }, message));
	}
	if (convRank > 0 && convAlpha > convRank) {
		const values = { alpha: convAlpha, rank: convRank };
		warn('recipe.alphaAboveRank', 'convAlpha', values, `${where}.convAlpha ${convAlpha} is above the conv rank ${convRank}; use at most ${convRank}.`);
	}
	if (timesteps.min >= timesteps.max) {
		const message = `${where}.timesteps run from ${timesteps.min} to ${timesteps.max}; the end must be larger than the start (it is not included).`;
		found.push(problem('error', 'recipe.timestepRange', `${where}.timesteps`, { ...timesteps }, message));
	}
	if (schedule.warmup >= iterations) {
		const values = { warmup: schedule.warmup, iterations };
		warn(
			'recipe.warmupTooLong',
			'schedule.warmup',
			values,
			`${where}.schedule.warmup ${schedule.warmup} is not shorter than the ${iterations} iterations: the full rate is never reached.`
		);
	}
	if (settings.blocks.includes('BASE')) {
		warn('recipe.textEncoderBlock', 'blocks', {}, `${where}.blocks names BASE; a difference run does not train the text encoder, so BASE is ignored.`);
	}
	const usual = highestUsualRate(family, settings.batch);
	if (usual !== null && settings.learningRate > usual * 4) {
		const values = { rate: settings.learningRate, batch: settings.batch, usual };
		warn(
			'recipe.rateHighForBatch',
			'learningRate',
			values,
			`${where}.learningRate ${settings.learningRate} is high for batch ${settings.batch}; rates up to about ${usual} are usual, above that training often collapses.`
		);
	}
	return found;
}

/** Validates and completes. Never throws, whatever `input` is. */
export function parseRecipe(input: unknown): ParsedRecipe {
	if (!isObject(input)) {
		const message = `A recipe is a JSON object in braces; this is ${shown(input)}.`;
		return { ok: false, problems: [problem('error', 'recipe.notObject', '', { given: shown(input) }, message)] };
	}
	const version = Object.hasOwn(input, 'version') ? input['version'] : undefined;
	if (version !== 1) {
		const given = shown(version);
		const message = `This recipe has version ${given}; this Utsushi reads version 1. ${typeof version === 'number' && version > 1 ? 'Update Utsushi to open it.' : 'Add "version": 1.'}`;
		return { ok: false, problems: [problem('error', 'recipe.version', 'version', { given }, message)] };
	}
	const problems: RecipeProblem[] = [];
	const family = familyOf(input);
	const base = defaultRecipe(family);
	const result = v.safeParse(recipe, complete({ ...base }, input, '', problems));
	if (!result.success) return { ok: false, problems: [...result.issues.map((issue) => explain(issue as Issue)), ...problems] };
	const parsed = result.output as Recipe;
	for (const name of ['copier', 'difference'] as const) problems.push(...checkPass(parsed.passes[name], `passes.${name}`, family));
	const errors = problems.filter((p) => p.level === 'error');
	return errors.length > 0 ? { ok: false, problems } : { ok: true, recipe: parsed, problems };
}
