/** The words of `merge`, `resize` and `extract` as commands. */
import type { ParseArgsConfig } from 'node:util';
import { MERGE_METHODS, MERGE_PRECISIONS, MergeGrammarError, parseMergePart } from '../recipe/merge';
import type { Dimension, MergeMethod, MergePart, MergePrecision } from '../recipe/merge';
import { parseDimension } from '../recipe/plot';
import type { ResizeSettings } from '../recipe/resize';

export interface MergeCommand {
	name: 'merge';
	out: string;
	/** The part's name is the path of its file. */
	parts: MergePart[];
	/** The checkpoint to merge into. */
	into?: string;
	method: MergeMethod;
	dimension: Dimension;
	convDimension: Dimension | null;
	precision: MergePrecision;
	clamp: boolean;
	json: boolean;
}

export interface ResizeCommand {
	name: 'resize';
	file: string;
	out: string;
	settings: ResizeSettings;
	precision: MergePrecision;
	json: boolean;
}

export interface ExtractCommand {
	name: 'extract';
	tuned: string;
	base: string;
	out: string;
	rank: number;
	convRank: number;
	precision: MergePrecision;
	json: boolean;
}

const TEXT = { type: 'string' } as const;
const FLAG = { type: 'boolean' } as const;

export const LAB_OPTIONS: Record<'merge' | 'resize' | 'extract', NonNullable<ParseArgsConfig['options']>> = {
	merge: { out: TEXT, into: TEXT, dim: TEXT, 'conv-dim': TEXT, method: TEXT, dtype: TEXT, clamp: FLAG, json: FLAG },
	resize: { out: TEXT, dim: TEXT, 'conv-dim': TEXT, 'sv-ratio': TEXT, 'sv-fro': TEXT, 'sv-cumulative': TEXT, dtype: TEXT, json: FLAG },
	extract: { out: TEXT, dim: TEXT, 'conv-dim': TEXT, dtype: TEXT, json: FLAG }
};

/** What `arguments.ts` hands over: values by name, and how it complains. */
export interface Given {
	flag(name: string): boolean;
	text(name: string): string | undefined;
	number(name: string, o: { min: number; max: number; whole: boolean }): number | undefined;
	required(name: string, what: string): string;
	fail(message: string): never;
}

const RANK = { min: 1, max: 1024, whole: true } as const;

function oneOf<T extends string>(given: Given, name: string, values: readonly T[], otherwise: T): T {
	const text = given
		.text(name)
		?.toLowerCase()
		.replace(/^fp(?=\d)/, 'f');
	if (text === undefined) return otherwise;
	const found = values.find((value) => value === (text === 'float' ? 'f32' : text));
	return found ?? given.fail(`--${name} wants one of ${values.join(', ')}, not “${text}”.`);
}

const precision = (given: Given): MergePrecision => oneOf(given, 'dtype', MERGE_PRECISIONS, 'f16');

function dimension(given: Given, name: string): Dimension | undefined {
	const text = given.text(name);
	if (text === undefined) return undefined;
	return parseDimension(text) ?? given.fail(`--${name} wants a whole number from 1 to 1024, auto, or energy=0.99, not “${text}”.`);
}

function part(given: Given, word: string): MergePart {
	try {
		return parseMergePart(word);
	} catch (error) {
		if (error instanceof MergeGrammarError) return given.fail(error.message);
		throw error;
	}
}

export function mergeCommand(given: Given, positionals: readonly string[]): MergeCommand {
	const into = given.text('into');
	const named = given.text('out');
	const [first, ...rest] = positionals;
	const out = named ?? first ?? given.fail('OUT.safetensors is missing: the file to write.');
	const words = named === undefined ? rest : positionals;
	if (words.length === 0) given.fail('There is nothing to merge: name at least one LoRA, such as smile.safetensors:0.6.');
	return {
		name: 'merge',
		out,
		...(into === undefined ? {} : { into }),
		parts: words.map((word) => part(given, word)),
		method: oneOf(given, 'method', MERGE_METHODS, 'svd'),
		dimension: dimension(given, 'dim') ?? { kind: 'auto' },
		convDimension: dimension(given, 'conv-dim') ?? null,
		precision: precision(given),
		clamp: given.flag('clamp'),
		json: given.flag('json')
	};
}

export function resizeCommand(given: Given, positionals: readonly string[]): ResizeCommand {
	const [file, extra] = positionals;
	if (file === undefined) given.fail('FILE is missing: the LoRA to resize.');
	if (extra !== undefined) given.fail(`One FILE at a time, but “${extra}” follows.`);
	const ratio = given.number('sv-ratio', { min: 1, max: 1e6, whole: false });
	const frobenius = given.number('sv-fro', { min: 0, max: 1, whole: false });
	const cumulative = given.number('sv-cumulative', { min: 0, max: 1, whole: false });
	const chosen = (
		[
			['ratio', ratio],
			['frobenius', frobenius],
			['cumulative', cumulative]
		] as const
	).flatMap(([method, value]) => (value === undefined ? [] : [{ method, value }]));
	if (chosen.length > 1) given.fail('Only one of --sv-ratio, --sv-fro and --sv-cumulative can decide.');
	const dynamic = chosen[0] ?? null;
	const rank =
		given.number('dim', RANK) ??
		(dynamic ? RANK.max : given.fail('--dim is missing: the dimension to resize to, or one of --sv-ratio, --sv-fro, --sv-cumulative.'));
	const convRank = given.number('conv-dim', RANK) ?? rank;
	const out = given.required('out', 'the file to write');
	return { name: 'resize', file: file ?? '', out, settings: { rank, convRank, dynamic }, precision: precision(given), json: given.flag('json') };
}

export function extractCommand(given: Given, positionals: readonly string[]): ExtractCommand {
	const [tuned, base, extra] = positionals;
	if (tuned === undefined || base === undefined) given.fail('Two checkpoints are needed: TUNED and BASE.');
	if (extra !== undefined) given.fail(`Two checkpoints are enough, but “${extra}” follows.`);
	const rank = given.number('dim', RANK) ?? given.fail('--dim is missing: the dimension of the LoRA.');
	const convRank = given.number('conv-dim', { ...RANK, min: 0 }) ?? 0;
	const out = given.required('out', 'the file to write');
	return { name: 'extract', tuned: tuned ?? '', base: base ?? '', out, rank, convRank, precision: precision(given), json: given.flag('json') };
}
