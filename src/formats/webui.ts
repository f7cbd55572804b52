/**
 * The text WebUI keeps in its pictures (PNG keyword `parameters`) and reads back: the prompt, a line `Negative prompt: …`, and a last line
 * of `Name: value` pairs. Everybody who shows or imports generation data reads this text.
 *
 * Rules
 * - Values that hold a comma, a colon, a quotation mark or a line break are written as JSON strings; read ones may be quoted or bare.
 * - The last line counts as settings when it holds at least three pairs (or one that begins with `Steps:`); otherwise it belongs to the prompt.
 * - LoRAs stand in the prompt as `<lora:name:strength>`; a second number is the UNet's strength, and both may be named (`te=`, `unet=`, `lbw=`).
 * - Brackets in a prompt mean emphasis, here as there, and a backslash takes that away: prompts are written as they stand.
 * Reading never fails: what is not understood stays in the prompt.
 */

export interface Parameters {
	/** As it stands, tags and escapes included. */
	prompt: string;
	negative: string;
	/** In their order; a name that comes twice keeps its first value. */
	settings: Map<string, string>;
}

export interface LoraTag {
	name: string;
	/** Of the text encoder. */
	te: number;
	/** Of the UNet; what a UNet-only LoRA acts with. */
	unet: number;
	/** Block weights: a preset's name or a list. */
	blocks: string;
}

const NEGATIVE = 'Negative prompt:';
const NAME = /^[A-Za-z][\w \-/]*$/;

function quoted(value: string): string {
	return /[,:"\n\r]/.test(value) || value.trim() !== value ? JSON.stringify(value) : value;
}

/** @param settings in the order in which they are to stand; WebUI begins with Steps */
export function writeParameters(prompt: string, negative: string, settings: Iterable<readonly [name: string, value: string | number]>): string {
	const pairs = Array.from(settings, ([name, value]) => `${name}: ${quoted(String(value))}`).join(', ');
	return [prompt, ...(negative === '' ? [] : [`${NEGATIVE} ${negative}`]), ...(pairs === '' ? [] : [pairs])].join('\n');
}

/** Pairs of one line; null when the line is something else. */
function readPairs(line: string): [string, string][] | null {
	const pairs: [string, string][] = [];
	let at = 0;
	while (at < line.length) {
		const colon = line.indexOf(':', at);
		const name = colon < 0 ? '' : line.slice(at, colon).trim();
		if (!NAME.test(name)) return null;
		let start = colon + 1;
		while (line[start] === ' ') start++;
		let end: number;
		let value: string;
		const string = line[start] === '"' ? /^"(?:\\.|[^\\"])*"(?=\s*(?:,|$))/.exec(line.slice(start))?.[0] : undefined;
		if (string === undefined) {
			const comma = line.indexOf(',', start);
			end = comma < 0 ? line.length : comma;
			value = line.slice(start, end).trim();
		} else {
			end = start + string.length;
			value = unquoted(string);
		}
		pairs.push([name, value]);
		const comma = line.indexOf(',', end);
		if (comma < 0) break;
		at = comma + 1;
	}
	return pairs;
}

function unquoted(text: string): string {
	try {
		const value: unknown = JSON.parse(text);
		return typeof value === 'string' ? value : text;
	} catch {
		return text.slice(1, -1);
	}
}

function isSettings(pairs: [string, string][] | null): pairs is [string, string][] {
	return pairs !== null && (pairs.length >= 3 || pairs[0]?.[0] === 'Steps');
}

/** Reads any text; what it does not understand is prompt. */
export function readParameters(text: string): Parameters {
	const lines = text.replace(/\r\n?/g, '\n').trim().split('\n');
	const pairs = readPairs(lines.at(-1)?.trim() ?? '');
	const known = isSettings(pairs);
	if (known) lines.pop();
	const settings = new Map<string, string>();
	for (const [name, value] of known ? pairs : []) if (!settings.has(name)) settings.set(name, value);
	const at = lines.findIndex((line) => line.trimStart().startsWith(NEGATIVE));
	const join = (part: string[]): string => part.join('\n').trim();
	if (at < 0) return { prompt: join(lines), negative: '', settings };
	const rest = lines.slice(at);
	rest[0] = rest[0]?.trimStart().slice(NEGATIVE.length) ?? '';
	return { prompt: join(lines.slice(0, at)), negative: join(rest), settings };
}

/** `<lora:name:0.8>`; characters that would end the tag or its parts become underscores. */
export function writeLoraTag(name: string, strength: number): string {
	return `<lora:${name.replace(/[<>:,]/g, '_')}:${strength}>`;
}

/** Takes the LoRAs out of a prompt. Tags with numbers that cannot be read count as strength 1, as in WebUI. */
export function readLoraTags(prompt: string): { prompt: string; loras: LoraTag[] } {
	const loras: LoraTag[] = [];
	const rest = prompt.replace(/<(\w+):([^>]*)>/g, (tag, kind: string, body: string) => {
		if (kind !== 'lora' && kind !== 'lyco') return tag;
		const plain: string[] = [];
		const named = new Map<string, string>();
		for (const part of body.split(':')) {
			const [, key, value] = /^\s*(\w+)\s*=(.*)$/.exec(part) ?? [];
			if (key !== undefined && value !== undefined) named.set(key, value.trim());
			else plain.push(part.trim());
		}
		const number = (text: string | undefined, other: number): number => {
			const value = text === undefined || text === '' ? NaN : Number(text);
			return Number.isFinite(value) ? value : other;
		};
		const te = number(named.get('te') ?? plain[1], 1);
		loras.push({ name: plain[0] ?? '', te, unet: number(named.get('unet') ?? plain[2], te), blocks: named.get('lbw') ?? '' });
		return '';
	});
	return {
		prompt: rest
			.replace(/ {2,}/g, ' ')
			.replace(/(?:,\s*)+$/, '')
			.trim(),
		loras
	};
}
