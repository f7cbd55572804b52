/**
 * LoRA files side by side, ready to be merged or compared: the union of their modules under one name each, with the factors of every file that has the module.
 *
 * Rules
 * - Any naming, LoRA and LoCon mixed, ranks mixed. Missing alpha = rank. The change of a part is `scale · up · down`, scale = alpha/rank.
 * - Files of different architectures are refused, whatever their names say: the widths of every shared module must agree as well.
 * - Nothing is dropped in silence: tensors of unknown names and missing alphas become warnings, two tensors for one factor an error.
 * - Factors are read when asked for; a set of SDXL files is some hundred MB.
 */
import { openSafetensors } from '../formats/safetensors';
import type { ByteSource } from '../formats/source';
import type { BlockId, ModelFamily } from '../recipe/recipe';
import { LoraError } from './error';
import { blockOfName, splitKey } from './keys';
import type { ModulePart } from './keys';
import { modelName } from './names';
import { readLora } from './read';
import type { Lookalike, RawLora } from './read';

export interface Pair {
	/** `[rank, columns]` */
	readonly down: Float32Array;
	/** `[rows, rank]` */
	readonly up: Float32Array;
}

export interface StackPart {
	/** Which of the files. */
	readonly lora: number;
	readonly rank: number;
	/** alpha/rank */
	readonly scale: number;
	load(): Promise<Pair>;
	/** The same as halves, where the file stores them. */
	readonly loadHalves?: () => Promise<HalfPair>;
}

/** As `Pair`, in 16-bit halves. */
export interface HalfPair {
	readonly down: Uint16Array;
	readonly up: Uint16Array;
}

/** One module with the factors of all files that have it. */
export interface Stack {
	readonly name: string;
	readonly part: ModulePart;
	readonly block: BlockId;
	/** out */
	readonly rows: number;
	/** in, times the kernel's size */
	readonly columns: number;
	/** Sides of the kernel; 1×1 and Linear: none. */
	readonly kernel: readonly number[];
	readonly parts: readonly StackPart[];
}

export interface MergeFile {
	readonly name: string;
	readonly family: ModelFamily;
	readonly looksLike: Lookalike;
	readonly raw: RawLora;
	readonly metadata: Readonly<Record<string, string>>;
	readonly warnings: readonly LoraError[];
}

const listed = (names: readonly string[]): string => `${names.slice(0, 3).join(', ')}${names.length > 3 ? ' …' : ''}`;

/** The family by the file's look; without a cross attention in it, by the style of its names (kohya writes SDXL with the checkpoint's). */
function familyOf(raw: RawLora): ModelFamily {
	if (raw.looksLike.family) return raw.looksLike.family;
	return raw.modules.some(({ name }) => /^(input|output|middle)_blocks?_/.test(name)) ? 'sdxl' : 'sd15';
}

/** @throws LoraError or FormatError with the file's name in `where` */
export async function openMergeFile(name: string, source: ByteSource): Promise<MergeFile> {
	const file = await openSafetensors(source);
	const raw = await readLora(file);
	if (raw.looksLike.family === null && raw.looksLike.title !== 'an unknown architecture') {
		const title = raw.looksLike.title;
		throw new LoraError(
			'merge.architectures',
			name,
			`${name} was made for ${title}. Only LoRAs of Stable Diffusion 1.5, SDXL and the mini model can be used here.`,
			{
				names: name,
				titles: title
			}
		);
	}
	const family = familyOf(raw);
	const seen = new Map<string, string>();
	const withAlpha = new Set<string>();
	for (const tensor of raw.file.tensors.keys()) {
		const key = splitKey(tensor);
		if (!key) continue;
		const module = modelName(key.module, key.part, family);
		const place = `${module} ${key.role}`;
		const other = seen.get(place);
		if (other !== undefined) {
			const message = `${name} has the same factor twice, as ${other} and as ${tensor}. Which one is meant cannot be known: get the file again, or save it anew with the program it came from.`;
			throw new LoraError('lora.duplicate', tensor, message, { name, first: other, second: tensor });
		}
		seen.set(place, tensor);
		if (key.role === 'alpha') withAlpha.add(module);
	}
	const warnings: LoraError[] = [];
	const { unknown } = raw;
	if (unknown.length > 0) {
		const message = `${name}: ${unknown.length} tensors have names of no known style and are not used: ${listed(unknown)}.`;
		warnings.push(new LoraError('lora.unknownTensors', name, message, { tensors: unknown.length, first: unknown[0] ?? '' }));
	}
	const without = raw.modules.filter((m) => !withAlpha.has(modelName(m.name, m.part, family)));
	if (without.length > 0) {
		const message = `${name}: ${without.length} modules have no alpha; it is taken to be their rank (factor 1), as everywhere.`;
		warnings.push(new LoraError('lora.missingAlpha', name, message, { name, modules: without.length }));
	}
	return { name, family, looksLike: raw.looksLike, raw, metadata: file.metadata, warnings };
}

/** The family of all of them. @throws LoraError `merge.architectures` */
export function commonFamily(files: readonly MergeFile[]): ModelFamily {
	const known = files.filter(({ looksLike }) => looksLike.family !== null);
	const [first] = known;
	const other = known.find(({ family }) => family !== first?.family);
	if (first && other) {
		const message = `${first.name} was made for ${first.looksLike.title}, ${other.name} for ${other.looksLike.title}. Only LoRAs of one architecture can be merged: take one of them out.`;
		const values = { names: `${first.name}, ${other.name}`, titles: `${first.looksLike.title}, ${other.looksLike.title}` };
		throw new LoraError('merge.architectures', other.name, message, values);
	}
	return (first ?? files[0])?.family ?? 'sd15';
}

function notFinite(file: MergeFile, tensor: string, value: number): LoraError {
	const message = `${file.name}: the tensor ${tensor} holds ${value}: this training collapsed or the file is damaged. Leave this LoRA out, or take an earlier step of it.`;
	return new LoraError('lora.notFinite', tensor, message, { name: file.name });
}

async function factor(file: MergeFile, tensor: string): Promise<Float32Array> {
	const data = await file.raw.file.readFloat32(tensor);
	const bad = data.findIndex((x) => !Number.isFinite(x));
	if (bad >= 0) throw notFinite(file, tensor, data[bad] ?? NaN);
	return data;
}

/** All bits of a half's exponent: infinity or NaN. */
const EXPONENT = 0x7c00;

async function halfFactor(file: MergeFile, tensor: string): Promise<Uint16Array> {
	const data = await file.raw.file.readHalf(tensor);
	for (const bits of data) {
		if ((bits & EXPONENT) === EXPONENT) throw notFinite(file, tensor, (bits & 0x3ff) > 0 ? NaN : bits >> 15 ? -Infinity : Infinity);
	}
	return data;
}

/** The union of the modules, in the order of their first appearance. @throws LoraError when files contradict each other */
export function stacksOf(files: readonly MergeFile[]): { family: ModelFamily; stacks: Stack[] } {
	const family = commonFamily(files);
	const stacks = new Map<string, Omit<Stack, 'parts'> & { parts: StackPart[] }>();
	files.forEach((file, lora) => {
		for (const m of file.raw.modules) {
			const name = modelName(m.name, m.part, family);
			const [rows = 0] = m.upShape;
			const [, inFeatures = 0, ...sides] = m.downShape;
			const kernel = sides.some((side) => side !== 1) ? sides : [];
			const columns = kernel.reduce((product, side) => product * side, inFeatures);
			const block = m.part === 'te' ? 'BASE' : blockOfName(name);
			const stack = stacks.get(name) ?? { name, part: m.part, block, rows, columns, kernel, parts: [] };
			stacks.set(name, stack);
			if (stack.rows !== rows || stack.columns !== columns || stack.kernel.length !== kernel.length) {
				const first = files[stack.parts[0]?.lora ?? 0]?.name ?? '';
				const message = `The module ${name} is ${stack.rows}×${stack.columns} in ${first} but ${rows}×${columns} in ${file.name}: they were made for different models and cannot be merged.`;
				throw new LoraError('merge.shapes', file.name, message, { module: name, names: `${first}, ${file.name}` });
			}
			const load = async (): Promise<Pair> => ({ down: await factor(file, m.down), up: await factor(file, m.up) });
			const halves = [m.down, m.up].every((tensor) => file.raw.file.tensors.get(tensor)?.dtype === 'F16');
			const loadHalves = async (): Promise<HalfPair> => ({ down: await halfFactor(file, m.down), up: await halfFactor(file, m.up) });
			stack.parts.push({ lora, rank: m.rank, scale: m.alpha / m.rank, load, ...(halves ? { loadHalves } : {}) });
		}
	});
	return { family, stacks: [...stacks.values()] };
}
