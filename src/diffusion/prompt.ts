/**
 * What WebUI reads out of a prompt: emphasis, and chunks of 75 tokens.
 *   (x) ×1.1 · [x] ÷1.1 · (x:1.3) ×1.3, nested ones multiply · \( \) \[ \] \\ are plain characters · BREAK ends a chunk
 * An opening bracket without its closing one reaches to the end of the prompt. Where a chunk is full and its last comma is among its last
 * 20 tokens, what follows that comma moves into the next chunk, so that no description is cut in two.
 * Prompt editing ([a:b:0.5], [a|b], AND) is not evaluated.
 * Source: conventions of AUTOMATIC1111's WebUI as written down in its wiki.
 */
import type { ClipTokenizer } from './tokenizer';

/** Text of one weight; `null` stands for BREAK. */
export type Fragment = { readonly text: string; readonly weight: number } | null;

const ROUND = 1.1;
/** Escapes, brackets, an explicit weight with its closing bracket, BREAK as a word of its own, anything else; single backslashes and colons too. */
const PIECES = /\\[()[\]\\]|[([]|:\s*([+-]?\d*\.?\d+)\s*\)|[)\]]|\s*\bBREAK\b\s*|[^\\()[\]:B]+|[\\:B]/gu;

interface Run {
	text: string;
	weight: number;
}

/** The prompt in pieces of one weight each. Never throws. */
export function parseEmphasis(prompt: string): Fragment[] {
	const runs: (Run | null)[] = [];
	const round: number[] = [];
	const square: number[] = [];
	const multiply = (from: number, by: number): void => {
		for (const run of runs.slice(from)) if (run) run.weight *= by;
	};
	for (const match of prompt.matchAll(PIECES)) {
		const [piece, weight] = match;
		if (piece === '(') round.push(runs.length);
		else if (piece === '[') square.push(runs.length);
		else if (weight !== undefined && round.length > 0) multiply(round.pop() ?? 0, Number(weight));
		else if (piece === ')' && round.length > 0) multiply(round.pop() ?? 0, ROUND);
		else if (piece === ']' && square.length > 0) multiply(square.pop() ?? 0, 1 / ROUND);
		else if (piece.trim() === 'BREAK') runs.push(null);
		else runs.push({ text: /^\\[()[\]\\]$/u.test(piece) ? piece.slice(1) : piece, weight: 1 });
	}
	for (const from of round) multiply(from, ROUND);
	for (const from of square) multiply(from, 1 / ROUND);
	const merged: (Run | null)[] = [];
	for (const run of runs) {
		const last = merged.at(-1);
		if (run && last && last.weight === run.weight) last.text += run.text;
		else merged.push(run && { ...run });
	}
	return merged;
}

/** One context's worth of tokens, without begin, end and padding: at most `room` ids, a weight for each. */
export interface Chunk {
	readonly ids: number[];
	readonly weights: number[];
}

/** How far back a comma is looked for, in tokens. */
const COMMA_REACH = 20;

/** The tokens of a prompt in chunks of at most `room`; at least one chunk, perhaps an empty one. */
export function promptChunks(prompt: string, tokenizer: ClipTokenizer, room = 75): Chunk[] {
	const [comma] = tokenizer.tokens(',');
	const chunks: Chunk[] = [];
	let chunk: Chunk = { ids: [], weights: [] };
	let afterComma = -1;
	const close = (carry: number): void => {
		const next = { ids: chunk.ids.splice(chunk.ids.length - carry), weights: chunk.weights.splice(chunk.weights.length - carry) };
		chunks.push(chunk);
		chunk = next;
		afterComma = -1;
	};
	for (const fragment of parseEmphasis(prompt)) {
		if (!fragment) {
			close(0);
			continue;
		}
		for (const id of tokenizer.tokens(fragment.text)) {
			if (chunk.ids.length === room) close(id !== comma && afterComma >= 0 && room - afterComma < COMMA_REACH ? room - afterComma : 0);
			chunk.ids.push(id);
			chunk.weights.push(fragment.weight);
			if (id === comma) afterComma = chunk.ids.length;
		}
	}
	if (chunk.ids.length > 0 || chunks.length === 0) chunks.push(chunk);
	return chunks;
}
