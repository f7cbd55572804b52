/** A recipe for others: without paths, which are of no use elsewhere and tell about the sender's machine. */
import type { Recipe } from './recipe';

export function withoutPaths(recipe: Recipe): Recipe {
	const bare = structuredClone(recipe);
	const { model, images, mask, copier, resumeFrom, dataset } = bare;
	for (const ref of [model, model.vae, images.original, images.target, mask, copier.file, resumeFrom, dataset.folder]) if (ref) delete ref.path;
	return bare;
}
