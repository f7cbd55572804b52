/**
 * Rooms by hash: `#train`, `#library`, `#settings`; `#r=…` is a recipe link and opens Train with it. Hash routing needs no server
 * rewrite, so the same files work from a folder, a static host and the local helper. Unknown hashes lead to Train.
 */
export const ROOMS = ['train', 'library', 'settings'] as const;
export type Room = (typeof ROOMS)[number];

/** `recipe`: the link's payload as written, to be decoded by `recipe/link`. */
export interface Route {
	room: Room;
	recipe: string | null;
}

export function parseHash(hash: string): Route {
	const text = hash.replace(/^#/, '');
	if (text.startsWith('r=')) return { room: 'train', recipe: `#${text}` };
	const room = ROOMS.find((name) => name === text);
	return { room: room ?? 'train', recipe: null };
}
