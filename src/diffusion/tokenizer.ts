/**
 * CLIP's tokenizer: byte-pair encoding over UTF-8 bytes.
 * The rule: NFC, white space to single blanks, lower case; then words (letters), single digits, runs of other characters and the English
 * contractions apart; each piece as bytes, the last one marked with the end of a word; the two neighbours with the best merge are joined until none is left.
 * This is transformers' (fast) CLIPTokenizer, which is what diffusers runs, and equals WebUI wherever its text repair (ftfy) finds nothing to repair.
 * Source: Sennrich et al. 2016 (arXiv 1508.07909); the merges are OpenAI's `bpe_simple_vocab_16e6.txt`.
 */

export const BOS = 49406;
export const EOS = 49407;

const PIECES = /'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\p{White_Space}\p{L}\p{N}]+/gu;
const SPECIAL = /(<\|startoftext\|>|<\|endoftext\|>)/;
const END = '</w>';

export interface ClipTokenizer {
	/** Begin, at most length − 2 tokens, end, padding: `length` ids. */
	encode(text: string, options?: { length?: number; padToken?: number }): number[];
	/** All tokens without begin and end, however many; more than 75 do not fit one context. */
	tokens(text: string): number[];
}

let loading: Promise<ClipTokenizer> | undefined;

/** The tokenizer; its 0.5 MB of merges are loaded the first time it is asked for. */
export function clipTokenizer(): Promise<ClipTokenizer> {
	loading ??= import('./clip-merges.txt?raw').then(({ default: merges }) => new Bpe(merges));
	return loading;
}

class Bpe implements ClipTokenizer {
	/** Token → id; ids are in the order of creation: bytes, bytes at the end of a word, merges. */
	readonly #ids = new Map<string, number>();
	/** `left right` → rank, low is better. */
	readonly #ranks = new Map<string, number>();
	readonly #letters = byteLetters();
	readonly #cache = new Map<string, readonly number[]>();
	readonly #utf8 = new TextEncoder();

	constructor(merges: string) {
		const order = [...this.#letters].sort(([, a], [, b]) => vocabularyOrder(a) - vocabularyOrder(b)).map(([, letter]) => letter);
		for (const letter of order) this.#ids.set(letter, this.#ids.size);
		for (const letter of order) this.#ids.set(letter + END, this.#ids.size);
		for (const line of merges.trimEnd().split('\n')) {
			this.#ranks.set(line, this.#ranks.size);
			this.#ids.set(line.replace(' ', ''), this.#ids.size);
		}
	}

	encode(text: string, { length = 77, padToken = EOS }: { length?: number; padToken?: number } = {}): number[] {
		const ids = [BOS, ...this.tokens(text).slice(0, length - 2), EOS];
		return [...ids, ...Array<number>(length - ids.length).fill(padToken)];
	}

	tokens(text: string): number[] {
		return text.split(SPECIAL).flatMap((part) => {
			if (part === '<|startoftext|>') return [BOS];
			if (part === '<|endoftext|>') return [EOS];
			return (normalise(part).match(PIECES) ?? []).flatMap((piece) => this.#piece(piece));
		});
	}

	#piece(piece: string): readonly number[] {
		const known = this.#cache.get(piece);
		if (known) return known;
		const parts = Array.from(this.#utf8.encode(piece), (byte) => this.#letters.get(byte) ?? '');
		parts.push((parts.pop() ?? '') + END);
		for (;;) {
			let best = Infinity;
			let at = 0;
			for (let i = 0; i + 1 < parts.length; i++) {
				const rank = this.#ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
				if (rank < best) [best, at] = [rank, i];
			}
			if (best === Infinity) break;
			parts.splice(at, 2, `${parts[at]}${parts[at + 1]}`);
		}
		const ids = parts.map((part) => this.#ids.get(part) ?? EOS);
		if (this.#cache.size < 4096) this.#cache.set(piece, ids);
		return ids;
	}
}

/** Lower case goes by code point: no special form for a sigma at the end of a word. */
function normalise(text: string): string {
	const spaced = text.normalize('NFC').replace(/\p{White_Space}+/gu, ' ');
	return Array.from(spaced, (character) => character.toLowerCase()).join('');
}

/** Bytes as printable letters, as in GPT-2: printable Latin-1 stands for itself, the rest follows from U+0100 on. */
function byteLetters(): Map<number, string> {
	const letters = new Map<number, string>();
	let next = 256;
	for (let byte = 0; byte < 256; byte++) {
		const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
		letters.set(byte, String.fromCharCode(printable ? byte : next++));
	}
	return letters;
}

/** Printable letters come first in the vocabulary, and they are also the smaller code points. */
function vocabularyOrder(letter: string): number {
	return letter.charCodeAt(0);
}
