/** Several pairs at once: which files are pairs, and a recipe for each that differs in name and pictures alone. */
import { expect, it } from 'vitest';
import { pairFiles, pairRecipe } from '../../../src/jobs/queue-pairs';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { parseRecipe } from '../../../src/recipe/schema';

it('finds pairs by the ending of the target, in the order of the originals', () => {
	const names = ['left.png', 'front_t.jpg', 'front.png', 'left_t.png', 'alone.png', 'orphan_t.png', 'front_t_t.png'];
	expect(pairFiles(names, '_t').map(({ label, original, target }) => [label, original, target])).toEqual([
		['left', 'left.png', 'left_t.png'],
		['front_t', 'front_t.jpg', 'front_t_t.png'],
		['front', 'front.png', 'front_t.jpg']
	]);
	expect(pairFiles(names, '')).toEqual([]);
	expect(pairFiles(names, '-open')).toEqual([]);
});

it('makes a valid recipe for each pair', () => {
	const recipe = { ...defaultRecipe('mini'), name: 'mouth' };
	const made = ['front', '左/右: 1'].map((label) =>
		pairRecipe(recipe, label, { original: { name: 'a.png', sha256: 'a'.repeat(64) }, target: { name: 'b.png' } })
	);
	expect(made.map(({ name }) => name)).toEqual(['mouth_front', 'mouth_左_右_1']);
	for (const one of made) {
		expect(parseRecipe(one).ok).toBe(true);
		expect({ ...one, name: '', images: null }).toEqual({ ...recipe, name: '', images: null });
		expect(one.images.target).toEqual({ name: 'b.png' });
	}
});
