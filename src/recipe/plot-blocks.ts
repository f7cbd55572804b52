/**
 * Block presets of a plot: what stands for weights per block, and what it means for the 26 ids.
 *
 * Rules
 * - Lists have 12, 17, 20 or 26 numbers in the usual orders (SDXL's attention blocks, SD 1.5's, all of SDXL, all of SD 1.5); ids that a
 *   list does not name count 0.
 * - The ten presets are SuperMerger's, as lists of 17. Names are trimmed and compared without regard to case.
 * Source: the block weights of SuperMerger and LoRA Block Weight.
 */
import type { BlockWeights } from './plot';
import { BLOCK_IDS, type BlockId } from './recipe';

const IN = (...numbers: number[]): BlockId[] => numbers.map((n) => `IN${String(n).padStart(2, '0')}` as BlockId);
const OUT = (from: number, to: number): BlockId[] => Array.from({ length: to - from + 1 }, (_, i) => `OUT${String(from + i).padStart(2, '0')}` as BlockId);

/** Orders of the ids in lists of each length. */
export const BLOCK_LISTS: Readonly<Record<number, readonly BlockId[]>> = {
	12: ['BASE', ...IN(4, 5, 7, 8), 'M00', ...OUT(0, 5)],
	17: ['BASE', ...IN(1, 2, 4, 5, 7, 8), 'M00', ...OUT(3, 11)],
	20: ['BASE', ...IN(0, 1, 2, 3, 4, 5, 6, 7, 8), 'M00', ...OUT(0, 8)],
	26: BLOCK_IDS
};

/** Ones and zeros of the 17 blocks. */
const PRESETS: Readonly<Record<string, string>> = {
	NONE: '00000000000000000',
	ALL: '11111111111111111',
	INS: '11100000000000000',
	IND: '10001110000000000',
	INALL: '11111110000000000',
	MIDD: '10001111111100000',
	OUTD: '10000000111100000',
	OUTS: '10000000000011111',
	OUTALL: '10000000111111111'
};

export const BLOCK_PRESETS: readonly string[] = [...Object.keys(PRESETS), 'ALL0.5'];

const every = (weight: number): BlockWeights => Object.fromEntries(BLOCK_IDS.map((id) => [id, weight]));

/** The weights a text stands for; null for 1 everywhere (an empty text, ALL); undefined when it is no preset and no list of a known length. */
export function blockWeights(text: string): BlockWeights | null | undefined {
	const word = text.trim().toUpperCase();
	if (word === '' || word === 'ALL') return null;
	if (word === 'NONE') return every(0);
	if (word === 'ALL0.5') return every(0.5);
	const preset = Object.hasOwn(PRESETS, word) ? PRESETS[word] : undefined;
	const numbers = preset === undefined ? listed(word) : Array.from(preset, Number);
	const ids = BLOCK_LISTS[numbers.length];
	if (!ids || !numbers.every((n) => Number.isFinite(n) && Math.abs(n) <= 10)) return undefined;
	const weights: BlockWeights = {};
	ids.forEach((id, i) => (weights[id] = numbers[i] ?? 0));
	return weights;
}

const listed = (word: string): number[] => word.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
