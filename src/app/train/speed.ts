/**
 * How fast each place trained last time, to say before the next run about how long it will take, and to choose between the places. One number per place and model family, with the size of the
 * pictures it was measured at: work grows about as their area.
 */
import type { ModelFamily, PassSettings, Recipe } from '../../recipe/recipe';
import type { RunView } from '../run/view';
import type { Place } from './trainer.svelte';

/** Behind a key: the pixels of a picture. */
const PIXELS = '.pixels';

const KEYS: Readonly<Record<Place, string>> = { here: 'utsushi.secondsPerImage.', helper: 'utsushi.secondsPerImage.helper.' };

/** Seconds for one noise of one step; batches scale with it closely enough for an estimate. */
export function rememberSpeed(view: RunView, place: Place): void {
	const measured = (['copier', 'difference'] as const)
		.map((name) => ({ speed: view.passes[name].stepsPerSecond, batch: view.recipe.passes[name].batch }))
		.filter(({ speed }) => speed > 0);
	if (measured.length === 0) return;
	const seconds = measured.reduce((sum, { speed, batch }) => sum + 1 / (speed * batch), 0) / measured.length;
	try {
		const key = KEYS[place] + view.recipe.model.family;
		localStorage.setItem(key, String(seconds));
		// Pictures are drawn in the first size that was trained.
		const drawn = [...view.strip.values()][0] ?? view.previews[0]?.picture;
		if (drawn) localStorage.setItem(key + PIXELS, String(drawn.width * drawn.height));
		else localStorage.removeItem(key + PIXELS);
	} catch {
		// storage blocked: no estimate next time
	}
}

/** Seconds both passes would take; null when nothing was measured in this place yet. @param pixels of the pictures, where known */
export function expectedSeconds(recipe: Recipe, place: Place = 'here', pixels?: number): number | null {
	const measured = rememberedSpeed(recipe.model.family, place);
	if (measured === null) return null;
	const before = stored(KEYS[place] + recipe.model.family + PIXELS);
	const perImage = before !== null && pixels !== undefined ? (measured * pixels) / before : measured;
	const images = (pass: PassSettings) => pass.iterations * pass.batch;
	return perImage * (hasCopier(recipe) ? images(recipe.passes.copier) : 0) + perImage * images(recipe.passes.difference);
}

function hasCopier({ mode, copier }: Recipe): boolean {
	return mode === 'difference' && copier.use === 'train';
}

export function rememberedSpeed(family: ModelFamily, place: Place): number | null {
	return stored(KEYS[place] + family);
}

function stored(key: string): number | null {
	try {
		const value = Number(localStorage.getItem(key));
		return value > 0 ? value : null;
	} catch {
		return null;
	}
}
