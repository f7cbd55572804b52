/** How fast each place trained last time, to say before the next run about how long it will take, and to choose between the places. One number per place and model family. */
import type { ModelFamily, PassSettings, Recipe } from '../../recipe/recipe';
import type { RunView } from '../run/view';
import type { Place } from './trainer.svelte';

const KEYS: Readonly<Record<Place, string>> = { here: 'utsushi.secondsPerImage.', helper: 'utsushi.secondsPerImage.helper.' };

/** Seconds for one noise of one step; batches scale with it closely enough for an estimate. */
export function rememberSpeed(view: RunView, place: Place): void {
	const measured = (['copier', 'difference'] as const)
		.map((name) => ({ speed: view.passes[name].stepsPerSecond, batch: view.recipe.passes[name].batch }))
		.filter(({ speed }) => speed > 0);
	if (measured.length === 0) return;
	const seconds = measured.reduce((sum, { speed, batch }) => sum + 1 / (speed * batch), 0) / measured.length;
	try {
		localStorage.setItem(KEYS[place] + view.recipe.model.family, String(seconds));
	} catch {
		// storage blocked: no estimate next time
	}
}

/** Seconds both passes would take; null when nothing was measured in this place yet. */
export function expectedSeconds(recipe: Recipe, place: Place = 'here'): number | null {
	const perImage = rememberedSpeed(recipe.model.family, place);
	if (perImage === null) return null;
	const images = (pass: PassSettings) => pass.iterations * pass.batch;
	return perImage * (hasCopier(recipe) ? images(recipe.passes.copier) : 0) + perImage * images(recipe.passes.difference);
}

function hasCopier({ mode, copier }: Recipe): boolean {
	return mode === 'difference' && copier.use === 'train';
}

export function rememberedSpeed(family: ModelFamily, place: Place): number | null {
	try {
		const value = Number(localStorage.getItem(KEYS[place] + family));
		return value > 0 ? value : null;
	} catch {
		return null;
	}
}
