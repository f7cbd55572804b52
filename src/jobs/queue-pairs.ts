/**
 * Several pairs trained with the same settings, a LoRA each: the views of one mouth (front, left, right), or any pictures X.png with their targets X_t.png.
 * One recipe and the pairs → one recipe a pair, whose name says which pair it is.
 */
import type { ImageRef, Recipe } from '../recipe/recipe';

export interface NamedFiles {
	/** What sets this pair apart: goes into the LoRA's name. */
	readonly label: string;
	readonly original: string;
	readonly target: string;
}

const stemOf = (name: string): string => name.replace(/\.[^.]+$/, '');

/** Pairs among files, by the names of their targets: the original's with `suffix` before the ending. In the order of their names. */
export function pairFiles(names: readonly string[], suffix: string): NamedFiles[] {
	if (suffix === '') return [];
	const byStem = new Map(names.map((name) => [stemOf(name), name]));
	return [...byStem].flatMap(([stem, original]) => {
		const target = byStem.get(stem + suffix);
		return target === undefined ? [] : [{ label: stem, original, target }];
	});
}

/** The recipe for one of several pairs. */
export function pairRecipe(recipe: Recipe, label: string, images: { readonly original: ImageRef; readonly target: ImageRef }): Recipe {
	const safe = label.replace(/[^\p{L}\p{N}.+-]+/gu, '_').slice(0, 40);
	return { ...structuredClone(recipe), name: `${recipe.name}_${safe}`, images: { original: { ...images.original }, target: { ...images.target } } };
}
