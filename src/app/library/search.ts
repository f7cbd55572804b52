/**
 * Finding a LoRA again: every word must occur somewhere (name, tags, trigger, notes, base model, metadata), upper and lower case alike, full and
 * half width alike. `tag:x` asks for a tag, `"two words"` for a phrase. Pure.
 */
import type { LibraryEntry } from '../../storage/library';

export const SORTS = ['newest', 'oldest', 'name', 'largest'] as const;
export type Sort = (typeof SORTS)[number];

export interface Query {
	text: string;
	/** null: all. */
	family: LibraryEntry['family'] | null;
	kind: LibraryEntry['role'] | null;
	tag: string | null;
	sort: Sort;
}

export const EVERYTHING: Query = { text: '', family: null, kind: null, tag: null, sort: 'newest' };

const plain = (text: string): string => text.normalize('NFKC').toLowerCase();

interface Term {
	tag: boolean;
	word: string;
}

function terms(text: string): Term[] {
	return [...plain(text).matchAll(/(tag:)?(?:"([^"]*)"?|(\S+))/g)]
		.map(([, tag, phrase, word]) => ({ tag: tag !== undefined, word: phrase ?? word ?? '' }))
		.filter(({ word }) => word !== '');
}

function haystack(entry: LibraryEntry): string {
	const metadata = Object.entries(entry.metadata).map(([key, value]) => `${key} ${value}`);
	const parents = entry.parents.map(({ name }) => name);
	return plain([entry.name, entry.trigger, entry.notes, entry.baseModel, ...entry.tags, ...parents, ...metadata].join('\n'));
}

function fits(entry: LibraryEntry, query: Query, wanted: readonly Term[]): boolean {
	if (query.family !== null && entry.family !== query.family) return false;
	if (query.kind !== null && entry.role !== query.kind) return false;
	if (query.tag !== null && !entry.tags.includes(query.tag)) return false;
	if (wanted.length === 0) return true;
	const text = haystack(entry);
	const tags = entry.tags.map(plain);
	return wanted.every(({ tag, word }) => (tag ? tags.includes(word) : text.includes(word)));
}

const order: Record<Sort, (a: LibraryEntry, b: LibraryEntry) => number> = {
	newest: (a, b) => b.created - a.created,
	oldest: (a, b) => a.created - b.created,
	name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || b.created - a.created,
	largest: (a, b) => b.bytes - a.bytes
};

export function search(entries: readonly LibraryEntry[], query: Query): LibraryEntry[] {
	const wanted = terms(query.text);
	return entries.filter((entry) => fits(entry, query, wanted)).sort(order[query.sort]);
}

/** Every tag in use, the most used first. */
export function tagsOf(entries: readonly LibraryEntry[]): string[] {
	const counts = new Map<string, number>();
	for (const { tags } of entries) for (const tag of tags) counts.set(tag, (counts.get(tag) ?? 0) + 1);
	return [...counts].sort(([a, n], [b, m]) => m - n || a.localeCompare(b)).map(([tag]) => tag);
}

/** "mouth, 口、a" → tags, each once. Commas of both languages separate; blanks inside a tag stay. */
export function parseTags(text: string): string[] {
	return [
		...new Set(
			text
				.split(/[,、，\n]+/)
				.map((tag) => tag.trim())
				.filter((tag) => tag !== '')
		)
	];
}
