/**
 * Rooms by hash: `#train`, `#library`, `#settings`; `#plot?lora=ID` gives a room parameters; `#r=…` is a recipe link and opens Train with it.
 * `#train` shows the run there is, or the form; `#train?next` shows the form whatever runs, to prepare what comes after it.
 * Hash routing needs no server rewrite, so the same files work from a folder, a static host and the local helper. Unknown hashes lead to Train.
 */
export const ROOMS = ['train', 'queue', 'plot', 'merge', 'library', 'helper', 'settings'] as const;
export type Room = (typeof ROOMS)[number];

/** The form of Train, beside a run. */
export const NEXT = '#train?next';

/** `recipe`: the link's payload as written, to be decoded by `recipe/link`. */
export interface Route {
	room: Room;
	recipe: string | null;
	/** What stands behind the question mark. */
	parameters: URLSearchParams;
}

export function parseHash(hash: string): Route {
	const text = hash.replace(/^#/, '');
	if (text.startsWith('r=')) return { room: 'train', recipe: `#${text}`, parameters: new URLSearchParams() };
	const [name = '', query = ''] = text.split(/\?(.*)/s);
	return { room: ROOMS.find((known) => known === name) ?? 'train', recipe: null, parameters: new URLSearchParams(query) };
}
