/**
 * Where a LoRA comes from and what became of it. A merge's parents stand in its entry or, for a file from elsewhere, in its own metadata; each is
 * looked up here by its place, then by its file, then by its name. Pure.
 */
import type { LibraryEntry, LoraParent } from '../../storage/library';
import { parentsIn } from './understand';

export interface Ancestor {
	parent: LoraParent;
	/** null: not (or no longer) in this library. */
	entry: LibraryEntry | null;
}

/** File names without ending, as prompts and merges call them. */
export function stem(name: string): string {
	return name.replace(/\.safetensors$/i, '');
}

export function parentsOf(entry: LibraryEntry): LoraParent[] {
	return entry.parents.length > 0 ? entry.parents : parentsIn(entry.metadata);
}

function find(parent: LoraParent, child: LibraryEntry, entries: readonly LibraryEntry[]): LibraryEntry | null {
	const others = entries.filter(({ id }) => id !== child.id);
	return (
		others.find(({ id }) => id === parent.id) ??
		// Of the whole file in entries of this library, of its weights in metadata.
		others.find(({ sha256, metadata }) => parent.sha256 !== undefined && [sha256, metadata['sshs_model_hash']].includes(parent.sha256)) ??
		// A name alone says little: a parent with a known file is not another file of that name.
		(parent.sha256 === undefined && parent.id === undefined ? others.find(({ name }) => stem(name) === stem(parent.name)) : undefined) ??
		null
	);
}

export function ancestors(entry: LibraryEntry, entries: readonly LibraryEntry[]): Ancestor[] {
	return parentsOf(entry).map((parent) => ({ parent, entry: find(parent, entry, entries) }));
}

/** Merges that this LoRA went into. */
export function descendants(entry: LibraryEntry, entries: readonly LibraryEntry[]): LibraryEntry[] {
	return entries.filter((other) => other.id !== entry.id && parentsOf(other).some((parent) => find(parent, other, entries)?.id === entry.id));
}
