/**
 * Turns anything (a file, a form) into a complete `Plot` or a list of what is wrong with it, as `schema.ts` does for recipes: missing
 * fields take defaults, unknown ones are a warning, all problems come at once, and nothing is drawn before there are none.
 * The values of an axis may be a list or one text in WebUI's grammar (`plot-values.ts`).
 */
import * as v from 'valibot';
import { blockWeights, BLOCK_PRESETS } from './plot-blocks';
import { AXES, AXIS_KINDS, countCells, lorasOfValue, MAX_CELLS, parseDimension } from './plot';
import type { AxisKind, AxisName, Plot, PlotAxis } from './plot';
import { MAX_VALUES, parseNumbers, parseWords } from './plot-values';
import { explain } from './explain';
import { SAMPLERS } from './recipe';
import { shown } from './problem';

export interface PlotProblem {
	level: 'error' | 'warning';
	code: string;
	/** `x.values`, `loras.0.blocks`, …; empty for the whole plot. */
	where: string;
	values: Record<string, string | number>;
	message: string;
}

export type ParsedPlot = { ok: true; plot: Plot; problems: PlotProblem[] } | { ok: false; problems: PlotProblem[] };

const MAX_SEED = 0xffffffff;

const num = (min: number, max: number) => v.pipe(v.number(), v.finite(), v.minValue(min), v.maxValue(max));
const int = (min: number, max: number) => v.pipe(v.number(), v.finite(), v.integer(), v.minValue(min), v.maxValue(max));
const text = (max: number) => v.pipe(v.string(), v.maxLength(max));
const sha256 = v.optional(v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)));
const list = <T extends v.GenericSchema>(item: T) => v.pipe(v.array(item), v.minLength(1), v.maxLength(MAX_VALUES));
const names = v.pipe(v.array(text(255)), v.maxLength(256));

const axis = v.nullable(
	v.variant('kind', [
		v.object({ kind: v.literal('strength'), loras: names, values: list(num(-10, 10)) }),
		v.object({ kind: v.literal('ratio'), loras: names, values: list(num(-10, 10)) }),
		v.object({ kind: v.literal('seed'), values: list(int(-1, MAX_SEED)) }),
		v.object({ kind: v.literal('steps'), values: list(int(1, 200)) }),
		v.object({ kind: v.literal('cfg'), values: list(num(0, 50)) }),
		v.object({ kind: v.literal('sampler'), values: list(v.picklist(SAMPLERS)) }),
		v.object({ kind: v.literal('lora'), values: list(text(4000)) }),
		v.object({ kind: v.literal('blocks'), loras: names, values: list(text(400)) }),
		v.object({ kind: v.literal('prompt'), values: list(text(4000)) }),
		v.object({ kind: v.literal('dimension'), values: list(text(40)) })
	])
);

const schema = v.object({
	version: v.literal(1),
	name: text(100),
	model: v.object({
		name: text(255),
		family: v.picklist(['mini', 'sd15', 'sdxl'] as const),
		sha256,
		path: v.optional(text(4096)),
		bundled: v.optional(v.pipe(v.string(), v.regex(/^[a-z0-9-]+$/))),
		vae: v.optional(v.object({ name: text(255), sha256, path: v.optional(text(4096)) })),
		prediction: v.optional(v.literal('v'))
	}),
	loras: v.pipe(
		v.array(
			v.object({
				name: v.pipe(text(255), v.minLength(1)),
				sha256,
				path: v.optional(text(4096)),
				strength: num(-10, 10),
				ratio: num(-10, 10),
				blocks: text(400)
			})
		),
		v.maxLength(256)
	),
	base: v.object({
		prompt: text(4000),
		negative: text(4000),
		seed: int(-1, MAX_SEED),
		steps: int(1, 200),
		cfg: num(0, 50),
		sampler: v.picklist(SAMPLERS),
		width: int(0, 4096),
		height: int(0, 4096),
		dimension: text(40)
	}),
	x: axis,
	y: axis,
	z: axis,
	region: v.nullable(v.object({ left: num(0, 1), top: num(0, 1), right: num(0, 1), bottom: num(0, 1) }))
});

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A plot nobody has touched. */
export function defaultPlot(): Plot {
	return {
		version: 1,
		name: 'plot',
		model: { name: 'mini', family: 'mini', bundled: 'mini' },
		loras: [],
		base: { prompt: '', negative: '', seed: 1111, steps: 20, cfg: 7, sampler: 'euler_a', width: 0, height: 0, dimension: '' },
		x: null,
		y: null,
		z: null,
		region: null
	};
}

const LORA = { name: '', strength: 1, ratio: 1, blocks: '' };
const OPTIONAL: Readonly<Record<string, readonly string[]>> = { model: ['sha256', 'path', 'bundled', 'vae', 'prediction'], lora: ['sha256', 'path'] };

/** `given` over `standard`, known own fields only. */
function over(standard: Json, optional: readonly string[], given: unknown, where: string, problems: PlotProblem[]): unknown {
	if (given === undefined) return standard;
	if (!isObject(given)) return given;
	const known = new Set([...Object.keys(standard), ...optional]);
	for (const key of Object.keys(given)) {
		if (known.has(key)) continue;
		const field = where ? `${where}.${key}` : key;
		const message = `"${field}" is not a field of a plot and was ignored. Check its spelling.`;
		problems.push({ level: 'warning', code: 'recipe.unknownField', where: field, values: { field }, message });
	}
	const out: Json = {};
	for (const key of known) {
		const value = Object.hasOwn(given, key) ? given[key] : standard[key];
		if (value !== undefined) out[key] = value;
	}
	return out;
}

const NUMERIC: Readonly<Partial<Record<AxisKind, 'whole' | 'any'>>> = { strength: 'any', ratio: 'any', cfg: 'any', seed: 'whole', steps: 'whole' };
const PICKY: readonly AxisKind[] = ['strength', 'ratio', 'blocks'];

const REASONS = {
	empty: 'holds no value',
	notNumber: 'is neither a number nor a range such as 1-5, 1-10 (+2) or 0-1 [5]',
	notWhole: 'must be whole',
	tooMany: `makes more than ${MAX_VALUES} values`,
	quote: 'has a quotation mark that is never closed'
} as const;

function readAxis(given: unknown, where: AxisName, problems: PlotProblem[]): unknown {
	if (given === null || given === undefined || !isObject(given)) return given ?? null;
	const kind = AXIS_KINDS.find((name) => name === given['kind']);
	if (kind === undefined) return given;
	const standard: Json = PICKY.includes(kind) ? { kind, loras: [], values: undefined } : { kind, values: undefined };
	const axis = over(standard, [], given, where, problems) as Json;
	const { values } = axis;
	if (typeof values !== 'string') return { ...axis, values: values ?? [] };
	const numeric = NUMERIC[kind];
	// Block lists hold commas themselves: one to a line, or separated by semicolons.
	const lines = kind === 'blocks' ? values.split(/[;\n]/).map((part) => part.trim()) : null;
	const parsed = lines ? { ok: true as const, values: lines } : numeric ? parseNumbers(values, numeric === 'whole') : parseWords(values);
	if (parsed.ok) return { ...axis, values: parsed.values };
	const message = `${where}.values: ${shown(parsed.at)} ${REASONS[parsed.reason]}.`;
	problems.push({ level: 'error', code: `plot.values.${parsed.reason}`, where: `${where}.values`, values: { at: parsed.at, limit: MAX_VALUES }, message });
	return undefined;
}

/** Problems that need more than one field. */
function consider(plot: Plot): PlotProblem[] {
	const found: PlotProblem[] = [];
	const error = (code: string, where: string, values: PlotProblem['values'], message: string) => found.push({ level: 'error', code, where, values, message });
	const known = new Set<string>();
	plot.loras.forEach(({ name, blocks }, i) => {
		if (known.has(name)) error('plot.sameName', `loras.${i}.name`, { name }, `Two LoRAs are called “${name}”. Give each a name of its own.`);
		known.add(name);
		checkBlocks(blocks, `loras.${i}.blocks`);
	});
	function checkBlocks(value: string, where: string): void {
		if (blockWeights(value) !== undefined) return;
		const presets = BLOCK_PRESETS.join(', ');
		const message = `${where}: “${value}” is no block preset (${presets}) and no list of 12, 17, 20 or 26 numbers.`;
		error('plot.blocks', where, { given: value, presets, count: value.split(',').length }, message);
	}
	function checkNames(wanted: readonly string[], where: string): void {
		for (const name of wanted) {
			if (known.has(name)) continue;
			error('plot.unknownLora', where, { name }, `${where} names “${name}”, but the plot has no LoRA of this name.`);
		}
	}
	function checkDimension(value: string, where: string): void {
		if (parseDimension(value)) return;
		error('plot.dimension', where, { given: value }, `${where}: “${value}” is no dimension. Write a whole number up to 1024, auto, or energy=0.99.`);
	}
	if (plot.base.dimension !== '') checkDimension(plot.base.dimension, 'base.dimension');
	const taken = new Map<string, AxisName>();
	for (const name of AXES) {
		const axis = plot[name];
		if (!axis) continue;
		const where = `${name}.values`;
		const key = axis.kind + ('loras' in axis ? JSON.stringify([...axis.loras].sort()) : axis.kind === 'prompt' ? (axis.values[0] ?? '') : '');
		const other = taken.get(key);
		if (other) error('plot.sameAxis', name, { axis: name.toUpperCase(), other: other.toUpperCase() }, `Axes ${other} and ${name} vary the same thing.`);
		taken.set(key, name);
		if ('loras' in axis) checkNames(axis.loras, `${name}.loras`);
		if (plot.loras.length === 0 && ['strength', 'ratio', 'lora', 'blocks', 'dimension'].includes(axis.kind)) {
			error('plot.noLora', name, { axis: name.toUpperCase() }, `Axis ${name} varies a LoRA, but the plot has none. Add one.`);
			continue;
		}
		if (axis.kind === 'lora')
			checkNames(
				axis.values.flatMap((value) => lorasOfValue(value, [...known])),
				where
			);
		if (axis.kind === 'blocks') for (const value of axis.values) checkBlocks(value, where);
		if (axis.kind === 'dimension') for (const value of axis.values) checkDimension(value, where);
		if (axis.kind === 'prompt') checkSearch(axis, where);
	}
	function checkSearch(axis: Extract<PlotAxis, { kind: 'prompt' }>, where: string): void {
		const search = axis.values[0] ?? '';
		if (search !== '' && (plot.base.prompt.includes(search) || plot.base.negative.includes(search))) return;
		const message = `${where}: the first value, “${search}”, is what is searched for, but neither prompt holds it.`;
		error('plot.search', where, { search }, message);
	}
	const cells = countCells(plot);
	if (cells > MAX_CELLS)
		error('plot.tooMany', '', { cells, limit: MAX_CELLS }, `The plot has ${cells} cells; at most ${MAX_CELLS} are drawn. Take fewer values.`);
	const { region } = plot;
	if (region && (region.left >= region.right || region.top >= region.bottom))
		error('plot.region', 'region', {}, 'The region is empty: its right and lower edges must lie behind its left and upper ones.');
	return found;
}

/** Validates and completes. Never throws, whatever `input` is. */
export function parsePlot(input: unknown): ParsedPlot {
	const problems: PlotProblem[] = [];
	const standard = defaultPlot();
	const given = over({ ...standard }, [], input, '', problems);
	if (isObject(given)) {
		// A model named by the plot is not the bundled one.
		const model = given['model'] === standard.model ? standard.model : { name: standard.model.name, family: standard.model.family };
		given['model'] = over({ ...model }, OPTIONAL['model'] ?? [], given['model'], 'model', problems);
		given['base'] = over({ ...standard.base }, [], given['base'], 'base', problems);
		const loras = given['loras'];
		if (Array.isArray(loras)) given['loras'] = loras.map((lora: unknown, i) => over(LORA, OPTIONAL['lora'] ?? [], lora, `loras.${i}`, problems));
		for (const name of AXES) {
			const read = readAxis(given[name], name, problems);
			// What is wrong with its text has been said; the rest is judged without this axis.
			given[name] = read === undefined ? null : read;
		}
	}
	const parsed = v.safeParse(schema, given);
	if (!parsed.success) return { ok: false, problems: [...parsed.issues.map(explain), ...problems] };
	const plot = parsed.output as Plot;
	problems.push(...consider(plot));
	return problems.some(({ level }) => level === 'error') ? { ok: false, problems } : { ok: true, plot, problems };
}
