/**
 * What the library knows of one file beside its bytes. Entries written by earlier versions lack the younger fields: they are completed when they
 * are read and stay as they are on disk until somebody changes them, so no migration can lose one.
 */
import type { ModelFamily, Recipe } from '../recipe/recipe';

/** A small picture of what a LoRA does. `png`: an encoded picture, with its generation data inside where somebody wrote it there. */
export interface StoredPreview {
	/** -1 for a picture that was dropped in. */
	seed: number;
	strength: number;
	png: Blob;
	/** Not from a run's strip: dropped in, or taken from a plot. */
	added?: true;
}

/** One of the LoRAs a merge was made from. */
export interface LoraParent {
	name: string;
	ratio: number;
	/** Factor per block where they differ. */
	blocks?: Partial<Record<string, number>>;
	/** Of its file. */
	sha256?: string;
	/** Its place in this library at that time. */
	id?: string;
}

export interface LibraryEntry {
	id: string;
	/** File name, with `.safetensors`. */
	name: string;
	role: 'copier' | 'intermediate' | 'result' | 'merged' | 'imported';
	/** The run that made it; empty for what was merged or dropped in. */
	run: string;
	step: number;
	/** Milliseconds since the epoch. */
	created: number;
	bytes: number;
	/** unknown: made for a model that is not trained here. */
	family: ModelFamily | 'unknown';
	/** null for a file that was not made here. */
	recipe: Recipe | null;
	metadata: Record<string, string>;
	previews: StoredPreview[];
	/** Where its bytes are. */
	kept: 'opfs' | 'database';
	/** Of the file; empty for entries from before this was kept. */
	sha256: string;
	parents: LoraParent[];
	tags: string[];
	notes: string;
	/** Words for the prompt; empty: works without. */
	trigger: string;
	/** Strength to use it with; null: nobody has said. */
	strength: number | null;
	/** The model it is for, in the words of whoever made it; empty: only the family is known. */
	baseModel: string;
	/** Which of `previews` stands for it. */
	cover: number;
}

type Younger = 'sha256' | 'parents' | 'tags' | 'notes' | 'trigger' | 'strength' | 'baseModel' | 'cover';

/** What there is to say before a file has a place; the younger fields may be left out. */
export type LibraryDraft = Omit<LibraryEntry, 'id' | 'created' | 'bytes' | 'kept' | Younger> & Partial<Pick<LibraryEntry, Exclude<Younger, 'sha256'>>>;

/** What may change later. */
export type LibraryChange = Partial<Pick<LibraryEntry, 'name' | 'previews' | 'tags' | 'notes' | 'trigger' | 'strength' | 'baseModel' | 'cover'>>;

/** The younger fields of an entry about which nothing more is known. */
export const fresh: Pick<LibraryEntry, Younger> = { sha256: '', parents: [], tags: [], notes: '', trigger: '', strength: null, baseModel: '', cover: 0 };

/** An entry of any version as today's. */
export function complete(stored: Omit<LibraryEntry, Younger> & Partial<Pick<LibraryEntry, Younger>>): LibraryEntry {
	return { ...fresh, ...stored };
}
