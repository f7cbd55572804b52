/**
 * A recipe as the part of an address behind `#`: `#r=` + base64url(raw deflate(JSON)). It never leaves the browser (a fragment is not sent to servers).
 *
 * Rules
 * - Only what differs from the family's default is stored, so a link for a bundled pair is about a hundred characters.
 * - Paths are never stored: they are of no use elsewhere and tell about the sender's machine.
 * - Reading trusts nothing: the text, the inflated size and then the JSON are limited and checked before the schema sees them. Deflate grows
 *   at most about 1000-fold, so text is fed in small pieces and inflating stops at the limit.
 */
import { deflateSync, Inflate } from 'fflate';
import { defaultRecipe } from './defaults';
import { problem } from './problem';
import type { RecipeProblem } from './problem';
import { withoutPaths } from './public';
import { parseRecipe } from './schema';
import type { ParsedRecipe } from './schema';
import type { Recipe } from './recipe';

export const LINK_PREFIX = '#r=';
/** Longest accepted text behind the prefix; browsers and chat programs carry this much. */
export const MAX_LINK_LENGTH = 16_384;
/** Longest accepted JSON, far above any real recipe. */
export const MAX_JSON_BYTES = 131_072;
const PIECE = 256;

const WHOLE: ReadonlySet<string> = new Set(['original', 'target', 'mask', 'file', 'folder', 'resumeFrom', 'optimizer', 'schedule']);

/** `undefined` when equal. Objects are compared field by field, file references, optimizers, schedules and lists as a whole. */
function difference(base: unknown, value: unknown, whole: boolean): unknown {
	if (JSON.stringify(base) === JSON.stringify(value)) return undefined;
	if (whole || typeof base !== 'object' || base === null || Array.isArray(base) || typeof value !== 'object' || value === null) return value;
	const out: Record<string, unknown> = {};
	const standard = new Map(Object.entries(base));
	for (const [key, item] of Object.entries(value)) {
		const part = difference(standard.get(key), item, WHOLE.has(key));
		if (part !== undefined) out[key] = part;
	}
	return out;
}

/** What the link stores: version, family and all that differs. */
export function compactRecipe(recipe: Recipe): Record<string, unknown> {
	const shared = withoutPaths(recipe);
	const base = { ...defaultRecipe(recipe.model.family, recipe.mode), mode: 'difference' };
	const { model, ...rest } = shared;
	const { model: baseModel, ...baseRest } = base;
	const out: Record<string, unknown> = { version: 1, ...(difference(baseRest, rest, false) as Record<string, unknown> | undefined) };
	out['model'] = JSON.stringify(model) === JSON.stringify(baseModel) ? { family: model.family } : model;
	return out;
}

function toBase64Url(bytes: Uint8Array): string {
	return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
		.replaceAll('+', '-')
		.replaceAll('/', '_')
		.replace(/=+$/, '');
}

/** `#r=…` for the recipe. */
export function encodeRecipeLink(recipe: Recipe): string {
	const json = new TextEncoder().encode(JSON.stringify(compactRecipe(recipe)));
	return LINK_PREFIX + toBase64Url(deflateSync(json, { level: 9 }));
}

function refuse(code: RecipeProblem['code'], values: Record<string, string | number>, message: string): ParsedRecipe {
	return { ok: false, problems: [problem('error', code, 'link', values, message)] };
}

type Inflated = { bytes: Uint8Array } | { failed: 'notDeflate' | 'tooBig' };

function inflate(data: Uint8Array): Inflated {
	const parts: Uint8Array[] = [];
	let size = 0;
	let finished = false;
	const stream = new Inflate((part, final) => {
		parts.push(part.slice());
		size += part.length;
		finished = final;
	});
	try {
		for (let at = 0; at < data.length; at += PIECE) {
			stream.push(data.subarray(at, at + PIECE), at + PIECE >= data.length);
			if (size > MAX_JSON_BYTES) return { failed: 'tooBig' };
		}
	} catch {
		return { failed: 'notDeflate' };
	}
	if (!finished) return { failed: 'notDeflate' };
	const bytes = new Uint8Array(size);
	let at = 0;
	for (const part of parts) {
		bytes.set(part, at);
		at += part.length;
	}
	return { bytes };
}

/** True when an address fragment carries a recipe, good or bad. */
export function isRecipeLink(hash: string): boolean {
	return hash.startsWith(LINK_PREFIX);
}

/** Reads what `encodeRecipeLink` wrote (with or without what stands before `#`). Never throws. */
export function decodeRecipeLink(link: string): ParsedRecipe {
	const start = link.indexOf(LINK_PREFIX);
	const text = start < 0 ? '' : link.slice(start + LINK_PREFIX.length);
	if (text === '') return refuse('link.empty', {}, 'This link carries no recipe: nothing stands behind "#r=". Copy the whole link again.');
	if (text.length > MAX_LINK_LENGTH) {
		const values = { length: text.length, limit: MAX_LINK_LENGTH };
		return refuse(
			'link.tooLong',
			values,
			`This link is ${text.length} characters long; recipes have at most ${MAX_LINK_LENGTH}. Ask for the recipe as a file.`
		);
	}
	if (!/^[A-Za-z0-9_-]+$/.test(text) || text.length % 4 === 1) {
		return refuse('link.notBase64', {}, 'This link is damaged: it holds characters a recipe link never has, or lost its end. Copy the whole link again.');
	}
	const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
	const inflated = inflate(Uint8Array.from(binary, (c) => c.charCodeAt(0)));
	if ('failed' in inflated) {
		if (inflated.failed === 'tooBig') {
			return refuse(
				'link.tooBig',
				{ limit: MAX_JSON_BYTES },
				`This link unpacks to more than ${MAX_JSON_BYTES} bytes, which no recipe has. It was not opened.`
			);
		}
		return refuse('link.notDeflate', {}, 'This link is damaged: its contents cannot be unpacked. Copy the whole link again.');
	}
	let json: unknown;
	try {
		json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(inflated.bytes));
	} catch {
		return refuse('link.notJson', {}, 'This link unpacks, but not to a recipe. It was made by something else or is damaged.');
	}
	return parseRecipe(json);
}
