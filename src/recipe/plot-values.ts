/**
 * What is typed for the values of an axis, and back. The grammar is the one people know from WebUI's X/Y/Z script:
 * - values are separated by commas; quotes protect commas ("a, b", "say ""hi"""), white space around a value is dropped;
 * - numbers may be ranges with both ends: `1-5` (step 1), `1-10 (+2)`, `5-1 (-2)`, `0-1 [5]` (five evenly spaced values).
 * An end is never passed over: `1-10 (+2)` ends at 9. Numbers are rounded to 8 decimals, so that 0.1 + 0.2 reads 0.3.
 * Source: the X/Y/Z plot conventions of WebUI.
 */

/** More values than this on one axis are a slip of the finger. */
export const MAX_VALUES = 1024;

export type ParsedValues<T> = { ok: true; values: T[] } | { ok: false; reason: 'empty' | 'notNumber' | 'notWhole' | 'tooMany' | 'quote'; at: string };

const NUMBER = String.raw`[+-]?\s*(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?`;
const RANGE = new RegExp(String.raw`^\s*(${NUMBER})\s*-\s*(${NUMBER})\s*(?:\(\s*(${NUMBER})\s*\)|\[\s*(\d+)\s*\])?\s*$`, 'i');

/** Splits at commas outside of quotes; empty parts are kept, so that a prompt may be replaced by nothing. null: a quote is never closed. */
export function splitValues(text: string): string[] | null {
	const parts: string[] = [];
	let part = '';
	let quoted = false;
	let wasQuoted = false;
	const end = (): void => {
		parts.push(wasQuoted ? part : part.trim());
		part = '';
		wasQuoted = false;
	};
	for (let i = 0; i < text.length; i++) {
		const c = text[i] ?? '';
		if (quoted) {
			if (c !== '"') part += c;
			else if (text[i + 1] === '"') part += text[++i] ?? '';
			else quoted = false;
		} else if (c === '"' && part.trim() === '' && !wasQuoted) {
			quoted = wasQuoted = true;
			part = '';
		} else if (c === ',') end();
		// Behind a closing quote only blanks may follow; they are no part of the value.
		else if (!wasQuoted || c.trim() !== '') part += c;
	}
	if (quoted) return null;
	end();
	return parts.length === 1 && parts[0] === '' && !text.includes('"') ? [] : parts;
}

/** The inverse of `splitValues`. */
export function joinValues(values: readonly (string | number)[]): string {
	return values.map((value) => (typeof value === 'number' ? String(value) : quote(value))).join(', ');
}

function quote(value: string): string {
	return /[",\n]/.test(value) || value.trim() !== value || value === '' ? `"${value.replaceAll('"', '""')}"` : value;
}

const tidy = (value: number): number => Number(value.toFixed(8)) + 0;
const toNumber = (text: string | undefined): number => Number((text ?? '').replace(/\s+/g, ''));

function range(from: number, to: number, step: number | undefined, count: number | undefined): number[] | 'tooMany' {
	if (count !== undefined) {
		if (count > MAX_VALUES) return 'tooMany';
		return Array.from({ length: count }, (_, i) => tidy(count === 1 ? from : from + ((to - from) * i) / (count - 1)));
	}
	const by = step ?? (to < from ? -1 : 1);
	if (by === 0 || (to - from) * by < 0) return [];
	const many = Math.floor((to - from) / by + 1e-9) + 1;
	return many > MAX_VALUES ? 'tooMany' : Array.from({ length: many }, (_, i) => tidy(from + i * by));
}

/** Numbers and ranges of numbers. @param whole refuse fractions */
export function parseNumbers(text: string, whole: boolean): ParsedValues<number> {
	const parts = splitValues(text);
	if (parts === null) return { ok: false, reason: 'quote', at: text };
	const values: number[] = [];
	for (const part of parts) {
		const value = part === '' ? NaN : toNumber(part);
		if (Number.isFinite(value)) values.push(tidy(value));
		else {
			const match = RANGE.exec(part);
			if (!match) return { ok: false, reason: 'notNumber', at: part };
			const [, from, to, step, count] = match;
			const found = range(toNumber(from), toNumber(to), step === undefined ? undefined : toNumber(step), count === undefined ? undefined : Number(count));
			if (found === 'tooMany') return { ok: false, reason: 'tooMany', at: part };
			if (found.length === 0) return { ok: false, reason: 'empty', at: part };
			values.push(...found);
		}
		if (values.length > MAX_VALUES) return { ok: false, reason: 'tooMany', at: part };
	}
	const fraction = whole ? values.find((value) => !Number.isInteger(value)) : undefined;
	if (fraction !== undefined) return { ok: false, reason: 'notWhole', at: String(fraction) };
	return values.length === 0 ? { ok: false, reason: 'empty', at: text } : { ok: true, values };
}

/** Words, each as it is. */
export function parseWords(text: string): ParsedValues<string> {
	const parts = splitValues(text);
	if (parts === null) return { ok: false, reason: 'quote', at: text };
	if (parts.length > MAX_VALUES) return { ok: false, reason: 'tooMany', at: text };
	return parts.length === 0 ? { ok: false, reason: 'empty', at: text } : { ok: true, values: parts };
}
