/** How long a run will take, from what was measured last time: scaled by steps, batch and the area of the pictures. */
import { afterEach, expect, it, vi } from 'vitest';
import { expectedSeconds, rememberSpeed } from '../../../src/app/train/speed';
import { startView } from '../../../src/app/run/view';
import { defaultRecipe } from '../../../src/recipe/defaults';

afterEach(() => vi.unstubAllGlobals());

it('scales what was measured, and says nothing before anything was', () => {
	const kept = new Map<string, string>();
	vi.stubGlobal('localStorage', {
		getItem: (key: string) => kept.get(key) ?? null,
		setItem: (key: string, value: string) => kept.set(key, value),
		removeItem: (key: string) => kept.delete(key)
	});
	const recipe = defaultRecipe('sdxl', 'lora');
	Object.assign(recipe.passes.difference, { iterations: 100, batch: 2 });
	expect(expectedSeconds(recipe)).toBeNull();
	const view = startView('run', recipe, 0);
	view.passes.difference.stepsPerSecond = 4;
	rememberSpeed(view, 'here');
	expect(expectedSeconds(recipe, 'here', 1024 * 1024), 'of unknown size').toBeCloseTo(25);
	view.strip.set('5/1', { width: 512, height: 512, data: new Uint8ClampedArray(0) });
	rememberSpeed(view, 'here');
	expect(expectedSeconds(recipe, 'here', 512 * 512)).toBeCloseTo(25);
	expect(expectedSeconds(recipe, 'here', 1024 * 1024)).toBeCloseTo(100);
	expect(expectedSeconds(recipe, 'helper', 512 * 512)).toBeNull();
});
