/**
 * TrainTrain's preset and run files ↔ recipes, without loss: what a preset says is either in the recipe's own fields or kept beside them (`Recipe.traintrain`), and
 * an export of an imported, unchanged recipe is the same document again.
 *
 * Rules (spec §2.3, §2.4)
 * - One flat object of the form's values; in mode Difference also `2nd pass` with the values of the second pass, or null. Its flag `use_2nd_pass_settings` counts in
 *   either place: TrainTrain's own files have it in both.
 * - Without a second block, or with the flag off, the second pass has the first one's settings.
 * - BASE is left out, and kept, outside of mode LoRA: there it trains nothing in TrainTrain and only adds zeros to the file.
 * - A kept value comes back only while the field it belongs to still says what it said at the import, so an edit always wins.
 * - Settings that have no counterpart are reported by name.
 */
import { defaultRecipe } from '../defaults';
import { problem, shown } from '../problem';
import type { RecipeProblem } from '../problem';
import type { JsonValue, KeptSetting, Mode, ModelFamily, PassSettings, Recipe } from '../recipe';
import { isFileStem, parseRecipe } from '../schema';
import type { ParsedRecipe } from '../schema';
import { FIRST_ONLY, readPass, readShared, STANDARD, writePass, writeShared } from './keys';
import { readOptimizer, writeOptimizer } from './optimizers';
import { readSchedule, writeSchedule } from './schedules';
import { flagOf, textOf } from './values';
import type { Raw } from './values';

const MODE_NAMES: Readonly<Record<Mode, string>> = { lora: 'LoRA', leco: 'iLECO', difference: 'Difference', addift: 'ADDifT', multiAddift: 'Multi-ADDifT' };
const SECOND = '2nd pass';
const FLAG = 'use_2nd_pass_settings';
/** Keys beside the form's settings. */
const AROUND = ['mode', 'model', 'vae', 'te', 'original prompt', 'target prompt', 'original image', 'target image', SECOND];

type Json = Record<string, JsonValue>;

const isBlock = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

function modeOf(raw: Raw): Mode | undefined {
	const name = textOf(raw['mode']).toLowerCase();
	return (Object.keys(MODE_NAMES) as Mode[]).find((mode) => MODE_NAMES[mode].toLowerCase() === name);
}

/** Whether this is a preset or run file of TrainTrain. */
export function isTrainTrainPreset(json: unknown): json is Json {
	return isBlock(json) && !Object.hasOwn(json, 'version') && modeOf(json) !== undefined && Object.keys(json).some((key) => Object.hasOwn(STANDARD, key));
}

/** Files do not say what a model is; its name usually does. */
function guessFamily(raw: Raw): ModelFamily {
	return /xl|pony|illustrious|noob/i.test(`${textOf(raw['model'])} ${textOf(raw['save_lora_name'])}`) ? 'sdxl' : 'sd15';
}

function stemOf(name: string): string {
	const cleaned = Array.from(name, (c) => (c.charCodeAt(0) < 32 || '/\\:*?"<>|'.includes(c) ? '_' : c))
		.join('')
		.replace(/^\.+/, '')
		.trim()
		.slice(0, 100)
		.trim();
	return isFileStem(cleaned) && cleaned !== '' ? cleaned : 'untitled';
}

function passOf(raw: Raw, mode: Mode): PassSettings {
	return {
		...readPass(raw, mode),
		optimizer: readOptimizer(textOf(raw['train_optimizer'], 'AdamW'), textOf(raw['train_optimizer_settings'])).optimizer,
		schedule: readSchedule(raw).schedule
	};
}

/** The second pass as it is used: its own settings where it has them. */
function secondOf(raw: Raw, mode: Mode): Raw {
	const second = raw[SECOND];
	if (mode !== 'difference' || !isBlock(second) || !(flagOf(raw[FLAG]) || flagOf(second[FLAG]))) return raw;
	return { ...second, ...Object.fromEntries([...FIRST_ONLY].flatMap((key) => (raw[key] === undefined ? [] : [[key, raw[key]]]))) };
}

/** The recipe's own fields. */
function recipeOf(raw: Raw, mode: Mode, family: ModelFamily): Record<string, unknown> {
	const base = defaultRecipe(family, mode);
	const second = secondOf(raw, mode);
	const { name, ratio, saving, ...shared } = readShared(raw, second, mode);
	const prompts = { original: textOf(raw['original prompt']), target: textOf(raw['target prompt']) };
	const picture = (key: string): { name: string; path?: string } => {
		const path = textOf(raw[key]);
		return path === '' ? { name: '' } : { name: path.split(/[\\/]/).at(-1) ?? path, path };
	};
	return {
		...base,
		...shared,
		name: stemOf(name),
		model: { name: textOf(raw['model']), family },
		images: { original: picture('original image'), target: picture('target image') },
		...(mode === 'leco' ? { leco: { ...prompts, neutral: '' } } : { prompts }),
		addift: { ...base.addift, ratio },
		saving: { ...base.saving, ...saving },
		passes: mode === 'difference' ? { copier: passOf(raw, mode), difference: passOf(second, mode) } : { ...base.passes, difference: passOf(raw, mode) }
	};
}

function blockOf(pass: PassSettings, recipe: Recipe): Json {
	const { name, settings } = writeOptimizer(pass.optimizer);
	return {
		...STANDARD,
		...writeShared(recipe),
		...writePass(pass),
		train_optimizer: name,
		train_optimizer_settings: settings,
		...writeSchedule(pass.schedule).raw
	};
}

/** The values of a second block: what it does not have a say in is at its default there. */
function secondBlock(own: Json): Json {
	const block = Object.fromEntries(Object.keys(STANDARD).map((key): [string, JsonValue] => [key, (FIRST_ONLY.has(key) ? STANDARD[key] : own[key]) ?? '']));
	return { ...block, [FLAG]: true };
}

/** What we would write, without anything kept. */
function written(recipe: Recipe): Json {
	const { mode, passes, images } = recipe;
	const texts = mode === 'leco' ? recipe.leco : recipe.prompts;
	const path = (ref: { name: string; path?: string }): string => ref.path ?? ref.name;
	const first = blockOf(mode === 'difference' ? passes.copier : passes.difference, recipe);
	const out: Json = {
		mode: MODE_NAMES[mode],
		model: recipe.model.name,
		vae: '',
		te: '',
		'original prompt': texts.original,
		'target prompt': texts.target,
		...first
	};
	if (images.original.path !== undefined) out['original image'] = path(images.original);
	if (images.target.path !== undefined) out['target image'] = path(images.target);
	if (mode !== 'difference') return out;
	const own = blockOf(passes.difference, recipe);
	out[SECOND] = Object.keys(STANDARD).every((key) => FIRST_ONLY.has(key) || same(first[key], own[key])) ? null : secondBlock(own);
	return out;
}

/** Under this key stand the names of settings that a file does not have. */
const MISSING = '';

/** `standard`: what we would write for a file without any settings; only what differs from it has to be remembered of the keys that are missing. */
function keep(given: Json, ours: Json, where: KeptSetting['in'], standard: Json): KeptSetting[] {
	const kept: KeptSetting[] = [];
	const missing = Object.keys(ours).filter((key) => !Object.hasOwn(given, key));
	const unusual = Object.fromEntries(missing.flatMap((key) => (ours[key] === undefined || same(ours[key], standard[key]) ? [] : [[key, ours[key]]])));
	if (missing.length > 0) kept.push({ in: where, key: MISSING, value: missing, ours: unusual });
	for (const [key, value] of Object.entries(given)) {
		const our = ours[key];
		if (key === SECOND && isBlock(value) && isBlock(our)) kept.push(...keep(value, our, 'second', secondBlock(standard)));
		else if (!same(value, our)) kept.push({ in: where, key, value, ...(our === undefined ? {} : { ours: our }) });
	}
	return kept;
}

/** What a file without any settings would make of our values: a key it lacked is written again once it says something else. */
function bare(recipe: Recipe): Json {
	const raw = { mode: MODE_NAMES[recipe.mode] };
	const parsed = parseRecipe(recipeOf(raw, recipe.mode, recipe.model.family));
	return parsed.ok ? written(parsed.recipe) : {};
}

function restore(ours: Json, kept: readonly KeptSetting[], where: KeptSetting['in'], standard: Json): Json {
	const out = { ...ours };
	for (const entry of kept) {
		if (entry.in !== where) continue;
		if (entry.key === MISSING) {
			const names = Array.isArray(entry.value) ? entry.value.map(String) : [];
			const then = isBlock(entry.ours) ? entry.ours : {};
			for (const name of names) if (same(ours[name], then[name] ?? standard[name])) delete out[name];
		} else if (entry.value !== undefined && same(ours[entry.key], entry.ours)) out[entry.key] = entry.value as JsonValue;
	}
	return out;
}

/** Settings of TrainTrain that change nothing here, or only how the form behaves. */
const HARMLESS: ReadonlySet<string> = new Set(['use_gradient_checkpointing', 'logging_save_csv', 'logging_verbose', 'save_overwrite', 'save_as_json', FLAG]);
/** Settings a recipe has no field for, and what is done instead. */
const FIXED: Readonly<Record<string, readonly string[]>> = {
	network_train_text_encoder: [],
	train_model_precision: ['bf16', 'int8', 'fp8'],
	train_lora_precision: ['bf16', 'fp16'],
	save_precision: ['bf16'],
	train_VAE_precision: ['bf16', 'fp16']
};

function unsupported(raw: Raw, where: string): RecipeProblem[] {
	const found: RecipeProblem[] = [];
	const report = (key: string, value: JsonValue): void => {
		const values = { key, value: shown(value) };
		const message = `TrainTrain's setting ${key} = ${shown(value)} has no counterpart here. It does not act, and is kept for an export.`;
		found.push(problem('warning', 'traintrain.unsupported', where + key, values, message));
	};
	for (const [key, value] of Object.entries(raw)) {
		if (AROUND.includes(key) || HARMLESS.has(key)) continue;
		if (!Object.hasOwn(STANDARD, key)) report(key, value);
		else if (FIXED[key]?.includes(textOf(value).toLowerCase()) || (key === 'network_train_text_encoder' && flagOf(value))) report(key, value);
	}
	const optimizer = readOptimizer(textOf(raw['train_optimizer'], 'AdamW'), textOf(raw['train_optimizer_settings']));
	for (const name of optimizer.unknown) report('train_optimizer', name);
	for (const name of readSchedule(raw).unknown) report('train_lr_scheduler', name);
	return found;
}

/**
 * A preset as a recipe.
 * @param family which models it is for; guessed from names when absent
 */
export function importTrainTrain(json: unknown, family?: ModelFamily): ParsedRecipe {
	if (!isTrainTrainPreset(json)) {
		const message = 'This is no preset of TrainTrain: it has no "mode" of its five modes, or none of its settings.';
		return { ok: false, problems: [problem('error', 'traintrain.notPreset', '', {}, message)] };
	}
	const mode = modeOf(json) ?? 'difference';
	const parsed = parseRecipe(recipeOf(json, mode, family ?? guessFamily(json)));
	const second = json[SECOND];
	const notes = [...unsupported(json, ''), ...(isBlock(second) ? unsupported(second, `${SECOND}.`) : [])];
	for (const key of ['vae', 'te']) {
		const value = textOf(json[key]);
		if (value !== '' && value !== 'None') {
			const message = `TrainTrain's ${key} "${value}" is not used: the checkpoint's own is. It is kept for an export.`;
			notes.push(problem('warning', 'traintrain.unsupported', key, { key, value }, message));
		}
	}
	if (!parsed.ok) return { ok: false, problems: [...parsed.problems, ...notes] };
	const recipe: Recipe = { ...parsed.recipe, traintrain: keep(json, written(parsed.recipe), 'first', bare(parsed.recipe)) };
	return { ok: true, recipe, problems: [...parsed.problems, ...notes] };
}

/** What of a recipe TrainTrain has no setting for, as field paths. */
function lost(recipe: Recipe): string[] {
	const base = defaultRecipe(recipe.model.family, recipe.mode);
	const fields: string[] = [];
	if (recipe.mask) fields.push('mask');
	if (recipe.masking.alpha) fields.push('masking.alpha');
	if (recipe.leco.neutral !== '') fields.push('leco.neutral');
	for (const key of ['timesteps', 'multiplier'] as const) if (recipe.addift[key] !== base.addift[key]) fields.push(`addift.${key}`);
	for (const name of recipe.mode === 'difference' ? (['copier', 'difference'] as const) : (['difference'] as const)) {
		const pass = recipe.passes[name];
		if (writeSchedule(pass.schedule).lost) fields.push(`passes.${name}.schedule.warmup`);
		if (pass.network === 'loha' && pass.convRank === 0) fields.push(`passes.${name}.convRank`);
	}
	return fields;
}

/** A recipe as a preset. `lost` names fields that TrainTrain has no setting for. */
export function exportTrainTrain(recipe: Recipe): { json: Json; lost: string[] } {
	const ours = written(recipe);
	const standard = bare(recipe);
	const json = restore(ours, recipe.traintrain, 'first', standard);
	const second = json[SECOND];
	if (isBlock(second) && isBlock(ours[SECOND])) json[SECOND] = restore(second, recipe.traintrain, 'second', secondBlock(standard));
	return { json, lost: lost(recipe) };
}

/** The text of a preset file, indented by four as TrainTrain writes it. */
export function printTrainTrain(json: Json): string {
	return JSON.stringify(json, null, 4);
}
