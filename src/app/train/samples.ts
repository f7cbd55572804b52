/** The bundled pairs: one character, three directions, five mouths; the original is always the closed mouth of the same direction. */
import type { Recipe } from '../../recipe/recipe';

export const DIRECTIONS = ['front', 'left', 'right'] as const;
export type Direction = (typeof DIRECTIONS)[number];
export const MOUTHS = ['a', 'i', 'u', 'e', 'o'] as const;
export type Mouth = (typeof MOUTHS)[number];

export function samplePair(direction: Direction, mouth: Mouth): { original: string; target: string } {
	return { original: `${direction}/closed.png`, target: `${direction}/${mouth}.png` };
}

/** Which bundled pair a recipe names; null when it names none of them. */
export function sampleOf(images: Recipe['images']): { direction: Direction; mouth: Mouth } | null {
	for (const direction of DIRECTIONS) {
		for (const mouth of MOUTHS) {
			const pair = samplePair(direction, mouth);
			if (images.original.bundled === pair.original && images.target.bundled === pair.target) return { direction, mouth };
		}
	}
	return null;
}
