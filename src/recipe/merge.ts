/**
 * What a merge is asked to do, and SuperMerger's way of writing it: `name:ratio`, `name:ratio:PRESET`, `name:ratio:v1,v2,…`, several joined by commas.
 *
 * Rules
 * - The merged change is Σ ratio · block weight · alpha/rank · up·down: strength means what a prompt's `<lora:name:ratio>` means.
 * - Block lists have 12, 17, 20 or 26 numbers; ids that a list does not name count 0. A wrong length is refused, not taken for "everywhere".
 * - A list multiplies the ratio. (SuperMerger ignores the ratio beside a list. Lists are therefore written with ratio 1 and the ratio
 *   multiplied in, which both read alike.)
 * - A piece without a colon goes on with the list of the LoRA before it. A drive letter (`C:\…`) is part of a name. `<lora:name:0.6:lbw=OUTD>` is read too.
 * Source: the reference on SuperMerger's inputs and on block lists.
 */
import type { PlotDimension } from './plot';
import { BLOCK_LISTS, BLOCK_PRESETS, blockWeights } from './plot-blocks';
import { BLOCK_IDS, type BlockId } from './recipe';

/** A fixed rank, "auto" (the largest of the parts), or the smallest that keeps this share of Σσ². */
export type Dimension = PlotDimension;

export const MERGE_METHODS = ['svd', 'concat', 'average'] as const;
/** svd: the best approximation of that dimension. concat: exact, ranks add up. average: weighted mean of the factors, ranks must agree. */
export type MergeMethod = (typeof MERGE_METHODS)[number];

export const MERGE_PRECISIONS = ['f16', 'bf16', 'f32'] as const;
export type MergePrecision = (typeof MERGE_PRECISIONS)[number];

export interface MergePart {
	/** For people, and in the result's metadata. */
	name: string;
	ratio: number;
	/** Factor per block on top of the ratio; a block that is not named counts 0. null: 1 everywhere. */
	blocks: Partial<Record<BlockId, number>> | null;
}

export interface MergeSettings {
	/** File stem of the result. */
	name: string;
	method: MergeMethod;
	/** Of `svd`. */
	dimension: Dimension;
	/** Of 3×3 kernels; null: like the others. */
	convDimension: Dimension | null;
	precision: MergePrecision;
	parts: MergePart[];
	/** Clip the largest hundredth of the factors, as kohya's and SuperMerger's SVD merges do. Never exact; off unless wanted. */
	clamp?: boolean;
}

export class MergeGrammarError extends Error {
	override readonly name = 'MergeGrammarError';
	constructor(
		readonly code: 'merge.noParts' | 'merge.ratio' | 'merge.blocks' | 'merge.noName',
		/** The piece that is wrong. */
		readonly where: string,
		message: string,
		readonly values: Readonly<Record<string, string | number>> = {}
	) {
		super(message);
	}
}

const LIMIT = 100;
const LENGTHS = Object.keys(BLOCK_LISTS).join(', ');

/** The factor of one block: ratio times its weight. */
export function blockRatio(part: Pick<MergePart, 'ratio' | 'blocks'>, block: BlockId): number {
	return part.ratio * (part.blocks === null ? 1 : (part.blocks[block] ?? 0));
}

function parseRatio(text: string, piece: string): number {
	const ratio = text.trim() === '' ? NaN : Number(text);
	if (Number.isFinite(ratio) && Math.abs(ratio) <= LIMIT) return ratio;
	throw new MergeGrammarError('merge.ratio', piece, `The ratio of “${piece}” is not a number from -${LIMIT} to ${LIMIT}: “${text}”. Write it as NAME:0.6.`, {
		given: text
	});
}

function parseBlocks(text: string, piece: string): MergePart['blocks'] {
	const weights = blockWeights(text);
	if (weights !== undefined) return weights;
	const count = text.split(',').length;
	const what = count > 1 ? `The block list of “${piece}” has ${count} numbers` : `“${text}” is no block preset (${BLOCK_PRESETS.join(', ')})`;
	throw new MergeGrammarError(
		'merge.blocks',
		piece,
		`${what}, or holds something that is no number from -10 to 10. Lists have ${LENGTHS} numbers: 12 for SDXL's attention blocks, 17 for SD1.5's, 20 for all of SDXL, 26 for all of SD1.5.`,
		{ given: text, count }
	);
}

/** Splits at colons, but not at the one of a drive letter. */
function fields(piece: string): string[] {
	const drive = /^[A-Za-z]:(?=[\\/])/.exec(piece)?.[0] ?? '';
	const [name = '', ...rest] = piece.slice(drive.length).split(':');
	return [drive + name, ...rest];
}

/** One LoRA: `name`, `name:ratio`, `name:ratio:PRESET` or `name:ratio:v1,v2,…`. @throws MergeGrammarError */
export function parseMergePart(piece: string): MergePart {
	const prompt = /^<lora:(.+)>$/.exec(piece.trim())?.[1];
	const [name = '', ratio, ...rest] = fields(prompt ?? piece);
	if (name.trim() === '') throw new MergeGrammarError('merge.noName', piece, `“${piece}” names no LoRA. Write it as NAME:0.6.`);
	// A prompt may hold a second (UNet) strength and named options; a plain piece has its blocks third.
	const option = prompt === undefined ? rest.join(':') : (rest.find((word) => word.startsWith('lbw='))?.slice(4) ?? '');
	const second = prompt === undefined ? undefined : rest.find((word) => word !== '' && Number.isFinite(Number(word)));
	return { name: name.trim(), ratio: ratio === undefined ? 1 : parseRatio(second ?? ratio, piece), blocks: parseBlocks(option, piece) };
}

/** A whole merge in one line. @throws MergeGrammarError that says which piece is wrong */
export function parseMergeParts(text: string): MergePart[] {
	const pieces: string[] = [];
	for (const word of text.split(/,|(?<=>)\s*(?=<)/)) {
		const last = pieces.length - 1;
		if (word.includes(':') || last < 0) pieces.push(word);
		else pieces[last] = `${pieces[last] ?? ''},${word}`;
	}
	const given = pieces.map((piece) => piece.trim()).filter((piece) => piece !== '');
	if (given.length === 0) throw new MergeGrammarError('merge.noParts', '', 'There is nothing to merge. Name at least one LoRA, such as smile:0.6.');
	return given.map(parseMergePart);
}

/** Six digits are more than half precision keeps. */
const short = (value: number): string => String(Number(value.toPrecision(6)));

function sameWeights(a: MergePart['blocks'], b: MergePart['blocks']): boolean {
	return a === b || (a !== null && b !== null && BLOCK_IDS.every((id) => (a[id] ?? 0) === (b[id] ?? 0)));
}

export function printMergePart({ name, ratio, blocks }: MergePart): string {
	if (blocks === null) return `${name}:${short(ratio)}`;
	const preset = BLOCK_PRESETS.find((word) => sameWeights(blockWeights(word) ?? null, blocks));
	if (preset !== undefined) return `${name}:${short(ratio)}:${preset}`;
	const list = Object.values(BLOCK_LISTS).find((ids) => BLOCK_IDS.every((id) => ids.includes(id) || (blocks[id] ?? 0) === 0)) ?? BLOCK_IDS;
	return `${name}:1:${list.map((id) => short(ratio * (blocks[id] ?? 0))).join(',')}`;
}

/** The line that SuperMerger and `parseMergeParts` read. */
export function printMergeParts(parts: readonly MergePart[]): string {
	return parts.map(printMergePart).join(',');
}
