/**
 * The command line as data: `parseArguments` turns words into one `Command` or throws a `UsageError` that says which option is wrong and
 * what it wants. Nothing is opened or started here.
 */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import {
	extractCommand,
	LAB_OPTIONS,
	mergeCommand,
	resizeCommand,
	type ExtractCommand,
	type Given,
	type MergeCommand,
	type ResizeCommand
} from './labArguments';
import { modelsCommand } from './modelsArguments';
import type { ModelsCommand } from './modelsCommand';
import { pairCommand, type PairCommand } from './pair';
import { RECIPE_ACTIONS, type RecipeCommand } from './recipe-actions';
import type { TrainCommand } from './train';
import { SAMPLERS, type ModelFamily, type SamplerKind } from '../recipe/recipe';

export type Command =
	| { name: 'help'; topic?: CommandName }
	| { name: 'version' }
	| { name: 'serve'; port?: number; open: boolean }
	| PairCommand
	| TrainCommand
	| SampleCommand
	| PlotCommand
	| MergeCommand
	| ResizeCommand
	| ExtractCommand
	| RecipeCommand
	| ModelsCommand
	| { name: 'inspect'; file: string; json: boolean }
	| { name: 'bench'; json: boolean; f32: boolean; tune: boolean };

export interface SampleCommand {
	name: 'sample';
	/** Without it the bundled model. */
	model?: string;
	/** A file with another VAE. */
	vae?: string;
	/** Said of the model, where its file does not say it. */
	prediction?: 'v';
	loras: { file: string; strength: number }[];
	prompt: string;
	negative: string;
	seed: number;
	steps: number;
	sampler: SamplerKind;
	cfg: number;
	/** Without it the size the model was made for. */
	size?: { width: number; height: number };
	out: string;
	json: boolean;
}

export interface PlotCommand {
	name: 'plot';
	plot: string;
	out: string;
	/** Folder of the cells; by default beside the picture. */
	cells?: string;
	json: boolean;
}

export const COMMANDS = ['serve', 'pair', 'train', 'sample', 'plot', 'merge', 'resize', 'extract', 'recipe', 'models', 'inspect', 'bench'] as const;
export type CommandName = (typeof COMMANDS)[number];

/** Wrong use of the command line; exit code 2. */
export class UsageError extends Error {
	override readonly name = 'UsageError';
}

type Options = NonNullable<ParseArgsConfig['options']>;

const OPTIONS: Record<CommandName, Options> = {
	serve: { port: { type: 'string' }, open: { type: 'boolean' } },
	pair: { list: { type: 'boolean' }, revoke: { type: 'string' }, allow: { type: 'string' }, disallow: { type: 'string' }, json: { type: 'boolean' } },
	train: {
		out: { type: 'string' },
		model: { type: 'string' },
		vae: { type: 'string' },
		resume: { type: 'string' },
		sweep: { type: 'string', multiple: true },
		'gpu-memory': { type: 'string' },
		csv: { type: 'boolean' },
		json: { type: 'boolean' }
	},
	sample: {
		model: { type: 'string' },
		vae: { type: 'string' },
		prediction: { type: 'string' },
		lora: { type: 'string', multiple: true },
		prompt: { type: 'string' },
		negative: { type: 'string' },
		seed: { type: 'string' },
		steps: { type: 'string' },
		sampler: { type: 'string' },
		cfg: { type: 'string' },
		size: { type: 'string' },
		out: { type: 'string' },
		json: { type: 'boolean' }
	},
	plot: { out: { type: 'string' }, cells: { type: 'string' }, json: { type: 'boolean' } },
	...LAB_OPTIONS,
	recipe: { out: { type: 'string' }, family: { type: 'string' }, json: { type: 'boolean' } },
	models: { results: { type: 'boolean' }, json: { type: 'boolean' } },
	inspect: { json: { type: 'boolean' } },
	bench: { json: { type: 'boolean' }, f32: { type: 'boolean' }, tune: { type: 'boolean' } }
};

/** parseArgs takes `-1` for an option; numbers after options that want one are joined to them. */
const NUMERIC = /^-\d/;
function joinNegativeNumbers(words: readonly string[]): string[] {
	const joined: string[] = [];
	for (const word of words) {
		const last = joined.at(-1);
		if (NUMERIC.test(word) && last?.startsWith('--') && !last.includes('=')) joined[joined.length - 1] = `${last}=${word}`;
		else joined.push(word);
	}
	return joined;
}

class Values implements Given {
	constructor(private readonly given: Readonly<Record<string, unknown>>) {}

	fail(message: string): never {
		throw new UsageError(message);
	}
	flag(name: string): boolean {
		return this.given[name] === true;
	}
	text(name: string): string | undefined {
		const value = this.given[name];
		return typeof value === 'string' ? value : undefined;
	}
	list(name: string): string[] {
		const value = this.given[name];
		return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
	}
	number(name: string, o: { min: number; max: number; whole: boolean }): number | undefined {
		const text = this.text(name);
		if (text === undefined) return undefined;
		const value = text.trim() === '' ? NaN : Number(text);
		if (!Number.isFinite(value) || (o.whole && !Number.isInteger(value)) || value < o.min || value > o.max)
			throw new UsageError(`--${name} wants a ${o.whole ? 'whole number' : 'number'} from ${o.min} to ${o.max}, not “${text}”.`);
		return value;
	}
	required(name: string, what: string): string {
		const value = this.text(name);
		if (value === undefined || value === '') throw new UsageError(`--${name} is missing: ${what}.`);
		return value;
	}
}

function parseLora(text: string): { file: string; strength: number } {
	const colon = text.lastIndexOf(':');
	const tail = text.slice(colon + 1);
	// A colon may also belong to a Windows path (C:\…): only a number behind it is a strength.
	if (colon <= 0 || tail.trim() === '' || /[\\/]/.test(tail)) return { file: text, strength: 1 };
	const strength = Number(tail);
	if (!Number.isFinite(strength) || Math.abs(strength) > 10) throw new UsageError(`--lora wants FILE:STRENGTH with a strength from -10 to 10, not “${text}”.`);
	return { file: text.slice(0, colon), strength };
}

function parseSize(text: string): { width: number; height: number } {
	const match = /^(\d{1,5})[x×](\d{1,5})$/i.exec(text);
	const [width, height] = [Number(match?.[1]), Number(match?.[2])];
	if (!match || width < 64 || height < 64 || width > 4096 || height > 4096 || width % 8 !== 0 || height % 8 !== 0)
		throw new UsageError(`--size wants WIDTHxHEIGHT, multiples of 8 from 64 to 4096 such as 128x128, not “${text}”.`);
	return { width, height };
}

function parseSampler(text: string): SamplerKind {
	const name = text.toLowerCase().replace(/[\s-]/g, '_');
	const known = SAMPLERS.find((sampler) => sampler === name);
	if (known) return known;
	throw new UsageError(`--sampler wants one of ${SAMPLERS.join(', ')}, not “${text}”.`);
}

/** `epsilon` is what a model predicts that says nothing; one that says v is not contradicted. */
function parsePrediction(text: string | undefined): 'v' | undefined {
	if (text !== undefined && text !== 'v' && text !== 'epsilon') throw new UsageError(`--prediction wants epsilon or v, not “${text}”.`);
	return text === 'v' ? 'v' : undefined;
}

function sample(values: Values): SampleCommand {
	const model = values.text('model');
	const vae = values.text('vae');
	const prediction = parsePrediction(values.text('prediction'));
	const size = values.text('size');
	return {
		name: 'sample',
		...(model === undefined ? {} : { model }),
		...(vae === undefined ? {} : { vae }),
		...(prediction === undefined ? {} : { prediction }),
		loras: values.list('lora').map(parseLora),
		prompt: values.text('prompt') ?? '',
		negative: values.text('negative') ?? '',
		seed: values.number('seed', { min: 0, max: 2 ** 32 - 1, whole: true }) ?? 0,
		steps: values.number('steps', { min: 1, max: 1000, whole: true }) ?? 30,
		sampler: parseSampler(values.text('sampler') ?? 'ddim'),
		cfg: values.number('cfg', { min: 0, max: 100, whole: false }) ?? 5,
		...(size === undefined ? {} : { size: parseSize(size) }),
		out: values.required('out', 'the PNG file to write'),
		json: values.flag('json')
	};
}

function train(values: Values, recipes: string[]): TrainCommand {
	const json = values.flag('json');
	const csv = values.flag('csv');
	const resume = values.text('resume');
	const sweeps = values.list('sweep').map((text) => {
		const at = text.indexOf('=');
		if (at <= 0 || at === text.length - 1)
			throw new UsageError(`--sweep wants FIELD=VALUE,VALUE such as passes.difference.learningRate=5e-5,1e-4, not “${text}”.`);
		return { field: text.slice(0, at), values: text.slice(at + 1) };
	});
	const gigabytes = values.number('gpu-memory', { min: 0.1, max: 1024, whole: false });
	const memory = gigabytes === undefined ? {} : { gpuMemory: Math.round(gigabytes * 2 ** 30) };
	const [model, vae] = [values.text('model'), values.text('vae')];
	if (resume !== undefined && recipes.length === 0) {
		if (sweeps.length > 0 || model !== undefined || vae !== undefined || values.text('out') !== undefined)
			throw new UsageError('--resume without a recipe goes on with what was interrupted; it takes no --sweep, --model, --vae or --out.');
		return { name: 'train', recipes, sweeps, out: resume, resume: true, ...memory, csv, json };
	}
	if (recipes.length === 0) throw new UsageError('RECIPE.json is missing.');
	if (resume !== undefined && !/\.safetensors$/i.test(resume))
		throw new UsageError(
			'With a recipe, --resume wants the LoRA (.safetensors) to train on from. To go on with an interrupted training, leave the recipe out.'
		);
	const out = values.required('out', 'the folder for the results');
	const from = { ...(model === undefined ? {} : { model }), ...(vae === undefined ? {} : { vae }), ...(resume === undefined ? {} : { start: resume }) };
	return { name: 'train', recipes, sweeps, out, resume: false, ...from, ...memory, csv, json };
}

function recipe(values: Values, [action, ...files]: string[]): RecipeCommand {
	const known = RECIPE_ACTIONS.find((name) => name === action);
	if (!known) throw new UsageError(`recipe wants one of ${RECIPE_ACTIONS.join(', ')}${action === undefined ? '' : `, not “${action}”`}.`);
	const [out, family] = [values.text('out'), values.text('family')];
	const wanted = FAMILIES.find((name) => name === family);
	if (family !== undefined && !wanted) throw new UsageError(`--family wants one of ${FAMILIES.join(', ')}, not “${family}”.`);
	const json = values.flag('json');
	return { name: 'recipe', action: known, file: only(files, 'FILE'), ...(out === undefined ? {} : { out }), ...(wanted ? { family: wanted } : {}), json };
}

const FAMILIES = ['sd15', 'sdxl', 'mini'] as const satisfies readonly ModelFamily[];

function only(positionals: readonly string[], what: string): string {
	const [first, second] = positionals;
	if (first === undefined) throw new UsageError(`${what} is missing.`);
	if (second !== undefined) throw new UsageError(`One ${what} at a time, but “${second}” follows.`);
	return first;
}

function isCommand(word: string): word is CommandName {
	return COMMANDS.some((name) => name === word);
}

function parse(name: CommandName, words: readonly string[]): { values: Values; positionals: string[] } {
	try {
		const parsed = parseArgs({ args: joinNegativeNumbers(words), options: OPTIONS[name], allowPositionals: true, strict: true });
		return { values: new Values(parsed.values), positionals: parsed.positionals };
	} catch (error) {
		// The first sentence names the option; the rest is about escaping.
		const text = error instanceof Error ? error.message : String(error);
		throw new UsageError(`${(text.split('. ')[0] ?? text).replace(/\.$/, '')}. See “utsushi ${name} --help”.`, { cause: error });
	}
}

/** @param words everything behind `utsushi`. Throws `UsageError`. */
export function parseArguments(words: readonly string[]): Command {
	const [first, ...rest] = words;
	if (first === undefined || first === '--help' || first === '-h') return { name: 'help' };
	if (first === '--version' || first === '-v') return { name: 'version' };
	if (first === 'help') return rest[0] !== undefined && isCommand(rest[0]) ? { name: 'help', topic: rest[0] } : { name: 'help' };
	if (!isCommand(first)) throw new UsageError(`“${first}” is no command. Commands: ${COMMANDS.join(', ')}.`);
	const end = rest.indexOf('--');
	if ((end < 0 ? rest : rest.slice(0, end)).some((word) => word === '--help' || word === '-h')) return { name: 'help', topic: first };
	const { values, positionals } = parse(first, rest);
	const none = (): void => {
		if (positionals[0] !== undefined) throw new UsageError(`“${positionals[0]}” is not expected here. See “utsushi ${first} --help”.`);
	};
	switch (first) {
		case 'serve': {
			none();
			const port = values.number('port', { min: 0, max: 65535, whole: true });
			return { name: 'serve', ...(port === undefined ? {} : { port }), open: values.flag('open') };
		}
		case 'pair':
			none();
			return pairCommand(values);
		case 'train':
			return train(values, positionals);
		case 'sample':
			none();
			return sample(values);
		case 'plot': {
			const cells = values.text('cells');
			const out = values.required('out', 'the PNG file for the grid');
			return { name: 'plot', plot: only(positionals, 'PLOT.json'), out, ...(cells === undefined ? {} : { cells }), json: values.flag('json') };
		}
		case 'merge':
			return mergeCommand(values, positionals);
		case 'resize':
			return resizeCommand(values, positionals);
		case 'extract':
			return extractCommand(values, positionals);
		case 'recipe':
			return recipe(values, positionals);
		case 'models':
			return modelsCommand(values, positionals);
		case 'inspect':
			return { name: 'inspect', file: only(positionals, 'FILE'), json: values.flag('json') };
		case 'bench':
			none();
			return { name: 'bench', json: values.flag('json'), f32: values.flag('f32'), tune: values.flag('tune') };
	}
}
