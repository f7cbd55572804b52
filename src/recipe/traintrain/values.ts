/**
 * Raw values of TrainTrain's forms: what stands in its preset files, and how it is read.
 *
 * Rules (spec §2.2, §2.3)
 * - Numbers of text boxes and menus are texts ("0.0001"), check boxes are booleans; hand-made files may have either.
 * - What cannot be read is the default. Menus are compared without regard to case.
 * - Setting strings: `key=literal` entries between `;` or line ends, spaces do not count, entries without `=` are ignored; literals are Python's: numbers, tuples, True,
 *   False, None, quoted texts.
 */
import type { JsonValue } from '../recipe';

export type Raw = Readonly<Record<string, JsonValue>>;

export function textOf(raw: JsonValue | undefined, standard = ''): string {
	return typeof raw === 'string' ? raw.trim() : typeof raw === 'number' || typeof raw === 'boolean' ? String(raw) : standard;
}

export function numberOf(raw: JsonValue | undefined, standard: number): number {
	const value = typeof raw === 'number' ? raw : typeof raw === 'string' && raw.trim() !== '' ? Number(raw) : NaN;
	return Number.isFinite(value) ? value : standard;
}

export function wholeOf(raw: JsonValue | undefined, standard: number): number {
	const value = numberOf(raw, standard);
	return Number.isInteger(value) ? value : standard;
}

export function flagOf(raw: JsonValue | undefined, standard = false): boolean {
	if (typeof raw === 'boolean') return raw;
	if (typeof raw === 'string') return /^(true|1|yes|on)$/i.test(raw.trim());
	return standard;
}

/** A literal of a setting string. */
export type Literal = number | boolean | string | null | readonly Literal[];

function literal(text: string): Literal | undefined {
	if (/^true$/i.test(text)) return true;
	if (/^false$/i.test(text)) return false;
	if (text === 'None') return null;
	const list = /^[([](.*?),?[)\]]$/.exec(text);
	if (list) {
		const parts = (list[1] ?? '') === '' ? [] : (list[1] ?? '').split(',').map(literal);
		return parts.some((part) => part === undefined) ? undefined : (parts as Literal[]);
	}
	const quoted = /^(['"])(.*)\1$/.exec(text);
	if (quoted) return quoted[2] ?? '';
	const value = text === '' ? NaN : Number(text);
	return Number.isFinite(value) ? value : undefined;
}

/** `betas=(0.9,0.99);weight_decay=0.1` as a map; what is no literal is left out. */
export function readSettings(text: string): Map<string, Literal> {
	const found = new Map<string, Literal>();
	for (const entry of text.replaceAll(' ', '').split(/[;\n\r]+/)) {
		const at = entry.indexOf('=');
		if (at < 1) continue;
		const value = literal(entry.slice(at + 1));
		if (value !== undefined) found.set(entry.slice(0, at), value);
	}
	return found;
}

function printed(value: Literal): string {
	if (typeof value === 'boolean') return value ? 'True' : 'False';
	if (value === null) return 'None';
	if (typeof value === 'string') return `'${value}'`;
	if (typeof value === 'number') return String(value);
	return `(${value.map(printed).join(',')}${value.length === 1 ? ',' : ''})`;
}

export function writeSettings(settings: readonly (readonly [string, Literal])[]): string {
	return settings.map(([key, value]) => `${key}=${printed(value)}`).join(';');
}

/** A field of ours and what a library calls it. */
export type Naming = Readonly<Record<string, string>>;

/** Numbers and flags of `settings` under their names in a library, where they differ from `standard`. */
export function differing(settings: Readonly<Record<string, unknown>>, standard: Readonly<Record<string, unknown>>, names: Naming): [string, Literal][] {
	return Object.entries(names).flatMap(([field, name]): [string, Literal][] => {
		const value = settings[field];
		return value === undefined || JSON.stringify(value) === JSON.stringify(standard[field]) ? [] : [[name, value as Literal]];
	});
}
