/** What `utsushi recipe` can be asked, apart from the code that does it. */
import type { ModelFamily } from '../recipe/recipe';

export const RECIPE_ACTIONS = ['check', 'import', 'export', 'link'] as const;
type RecipeAction = (typeof RECIPE_ACTIONS)[number];

export interface RecipeCommand {
	name: 'recipe';
	action: RecipeAction;
	file: string;
	/** Where the document goes; absent: the output. */
	out?: string;
	/** Which models a preset is for; absent: guessed from its names. */
	family?: ModelFamily;
	json: boolean;
}
