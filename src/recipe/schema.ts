/**
 * Turns anything (a file, a link, a form) into a complete `Recipe` or a list of what is wrong with it.
 *
 * Rules
 * - Missing fields take the default of the family and mode (`complete.ts`); unknown fields are a warning (a typo must not pass in silence).
 * - Every problem names the field, the value given and what to do (`explain.ts`); all problems are reported at once. Fields that contradict each other: `check.ts`.
 * - Numbers must be JSON numbers: "1e-4" in quotes is refused with the hint to drop the quotes, so nothing is guessed.
 * Ranges: TrainTrain's menus end at rank and alpha 1024 and at timesteps 0…1000; the rest are sanity limits.
 */
import * as v from 'valibot';
import { checkRecipe } from './check';
import { complete, isObject } from './complete';
import type { Json } from './complete';
import { defaultRecipe } from './defaults';
import { explain } from './explain';
import type { Issue } from './explain';
import { optimizerSchema } from './optimizers';
import { problem, shown } from './problem';
import type { RecipeProblem } from './problem';
import { int, num, SMALLEST } from './ranges';
import { BLOCK_IDS, MODES, SAMPLERS } from './recipe';
import type { Mode, ModelFamily, Recipe } from './recipe';
import { scheduleSchema } from './schedules';

export const MAX_SEED = 0xffffffff;

/** `problems` may hold warnings beside a good recipe. */
export type ParsedRecipe = { ok: true; recipe: Recipe; problems: RecipeProblem[] } | { ok: false; problems: RecipeProblem[] };

const text = (max: number) => v.pipe(v.string(), v.maxLength(max));
const steps = int(0, 1_000_000);
const pixels = int(8, 8192);

const pass = v.object({
	network: v.picklist(['lierla', 'loha'] as const),
	attention: v.picklist(['full', 'cross', 'self'] as const),
	rank: int(1, 1024),
	alpha: num(0.001, 1024),
	convRank: int(0, 1024),
	convAlpha: num(0, 1024),
	strength: num(0.001, 100),
	blocks: v.pipe(v.array(v.picklist(BLOCK_IDS)), v.minLength(1), v.maxLength(64)),
	iterations: int(1, 1_000_000),
	batch: int(1, 64),
	learningRate: num(SMALLEST, 1),
	optimizer: optimizerSchema,
	schedule: scheduleSchema,
	seed: int(-1, MAX_SEED),
	minSnrGamma: num(0, 100),
	timesteps: v.object({ min: int(0, 999), max: int(1, 1000) }),
	sharedTimesteps: v.boolean(),
	textEncoderRate: num(0, 1),
	loss: v.picklist(['mse', 'l1', 'smoothL1'] as const)
});

const sha256 = v.optional(v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)));
const path = v.optional(text(4096));
const bundled = v.optional(v.pipe(v.string(), v.regex(/^[a-z0-9-]+(\/[a-z0-9-]+)*(\.[a-z]+)?$/), v.maxLength(100)));
const image = v.object({ name: text(255), sha256, path, bundled });
const file = v.nullable(v.object({ name: text(255), sha256, path }));

const dataset = v.object({
	folder: v.nullable(v.object({ name: text(255), path })),
	trigger: text(1000),
	captions: v.picklist(['files', 'names'] as const),
	suffix: text(100),
	bucketStep: int(0, 4096),
	minSide: pixels,
	maxRatio: num(1, 100),
	repeats: int(1, 10_000),
	subImages: int(0, 100),
	mirror: v.boolean(),
	upscale: v.boolean()
});

/** Kept values are small: anything longer did not come from a preset. */
const json = v.custom<unknown>((value) => value !== undefined && ((JSON.stringify(value) as string | undefined) ?? '').length <= 8000);
const kept = v.object({ in: v.picklist(['first', 'second'] as const), key: text(200), value: v.optional(json), ours: v.optional(json) });

const recipe = v.object({
	version: v.literal(1),
	name: v.pipe(v.string(), v.minLength(1), v.maxLength(100), v.check(isFileStem)),
	mode: v.picklist(MODES),
	model: v.object({
		name: text(255),
		family: v.picklist(['mini', 'sd15', 'sdxl'] as const),
		sha256,
		path,
		vae: v.exactOptional(v.object({ name: text(255), sha256, path })),
		bundled
	}),
	prediction: v.picklist(['epsilon', 'v'] as const),
	sizes: v.picklist(['pixels', 'latents'] as const),
	images: v.object({ original: image, target: image }),
	prompts: v.object({ original: text(4000), target: text(4000) }),
	swap: v.boolean(),
	mask: v.nullable(image),
	masking: v.object({ alpha: v.boolean(), difference: v.boolean(), renormalise: v.boolean() }),
	copier: v.object({ use: v.picklist(['train', 'file'] as const), file, only: v.boolean() }),
	addift: v.object({ timesteps: v.picklist(['traintrain', 'random'] as const), multiplier: num(0.01, 4), ratio: num(-4, 4) }),
	dataset,
	leco: v.object({ original: text(4000), target: text(4000), neutral: text(4000) }),
	resolution: v.object({ width: pixels, height: pixels }),
	resumeFrom: file,
	passes: v.object({ copier: pass, difference: pass }),
	guard: v.object({ action: v.picklist(['off', 'stop', 'rollback'] as const), rollbacks: int(0, 100) }),
	stopWhenConverged: v.boolean(),
	saving: v.object({
		everySteps: steps,
		snapshotEvery: steps,
		precision: v.picklist(['f16', 'f32'] as const),
		keepCopier: v.boolean()
	}),
	preview: v.object({
		prompt: text(4000),
		negative: text(4000),
		seeds: v.pipe(v.array(int(0, MAX_SEED)), v.minLength(1), v.maxLength(64)),
		strengths: v.pipe(v.array(num(-10, 10)), v.minLength(1), v.maxLength(64)),
		steps: int(1, 200),
		cfg: num(0, 50),
		sampler: v.picklist(SAMPLERS),
		every: steps,
		live: v.object({
			seeds: v.pipe(v.array(int(0, MAX_SEED)), v.maxLength(8)),
			strengths: v.pipe(v.array(num(-10, 10)), v.minLength(1), v.maxLength(8))
		})
	}),
	probe: v.object({ every: steps }),
	storage: v.picklist(['f16', 'f32'] as const),
	base: v.picklist(['f16', 'int8'] as const),
	traintrain: v.pipe(v.array(kept), v.maxLength(200))
});

/** A name becomes a file name and the alias typed in prompts: no folders, nothing a file system or a prompt trips over. */
export function isFileStem(name: string): boolean {
	return ![...name].some((c) => c.charCodeAt(0) < 32 || '/\\:*?"<>|'.includes(c)) && name.trim() === name && !name.startsWith('.');
}

const FAMILIES: readonly string[] = ['mini', 'sd15', 'sdxl'] satisfies ModelFamily[];

function familyOf(given: Json): ModelFamily {
	const model = Object.hasOwn(given, 'model') ? given['model'] : undefined;
	const family = isObject(model) && Object.hasOwn(model, 'family') ? model['family'] : 'mini';
	return FAMILIES.includes(String(family)) ? (family as ModelFamily) : 'mini';
}

function modeOf(given: Json): Mode {
	const mode = Object.hasOwn(given, 'mode') ? given['mode'] : undefined;
	return MODES.find((name) => name === mode) ?? 'difference';
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
	const base = defaultRecipe(family, modeOf(input));
	const result = v.safeParse(recipe, complete({ ...base }, input, '', problems));
	if (!result.success) return { ok: false, problems: [...result.issues.map((issue) => explain(issue as Issue)), ...problems] };
	const parsed = result.output as Recipe;
	problems.push(...checkRecipe(parsed));
	const errors = problems.filter((p) => p.level === 'error');
	return errors.length > 0 ? { ok: false, problems } : { ok: true, recipe: parsed, problems };
}
