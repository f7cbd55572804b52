import { deflateSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { decodeRecipeLink, encodeRecipeLink, isRecipeLink, LINK_PREFIX, MAX_LINK_LENGTH } from '../../../src/recipe/link';
import { defaultOptimizer } from '../../../src/recipe/optimizers';
import { applyPreset, PRESETS } from '../../../src/recipe/presets';
import type { Recipe } from '../../../src/recipe/recipe';

function packed(text: string | Uint8Array): string {
	const bytes = deflateSync(typeof text === 'string' ? new TextEncoder().encode(text) : text);
	return (
		LINK_PREFIX +
		btoa(String.fromCharCode(...bytes))
			.replaceAll('+', '-')
			.replaceAll('/', '_')
			.replace(/=+$/, '')
	);
}

describe('recipe links', () => {
	it.each(PRESETS.map((preset) => [preset.id, applyPreset({ ...defaultRecipe(preset.family), name: 'ひらく口' }, preset)] as const))(
		'%s survives the way there and back',
		(_, recipe) => {
			const link = encodeRecipeLink(recipe);
			expect(isRecipeLink(link)).toBe(true);
			expect(decodeRecipeLink(link)).toMatchObject({ ok: true, recipe });
			expect(decodeRecipeLink(`http://127.0.0.1:8080/train${link}`)).toMatchObject({ ok: true, recipe });
		}
	);

	it('is short for the default, and this very text stays readable', () => {
		const link = encodeRecipeLink(defaultRecipe('mini'));
		expect(link.length).toBeLessThan(80);
		expect(decodeRecipeLink('#r=q1YqSy0qzszPU7Iy1FHKS8xNVbJSetq_WElHKTc_JTVHyapaKS0xNzOnEiiem5mXqVRbCwA')).toMatchObject({
			ok: true,
			recipe: { ...defaultRecipe('mini'), name: '口' }
		});
	});

	it('keeps a user picture apart from the bundled default and never carries a path', () => {
		const recipe: Recipe = {
			...defaultRecipe('mini'),
			images: { original: { name: 'closed.png', path: '/home/me/closed.png' }, target: { name: 'b.png', sha256: 'a'.repeat(64) } }
		};
		const back = decodeRecipeLink(encodeRecipeLink(recipe));
		expect(back.ok && back.recipe.images).toEqual({ original: { name: 'closed.png' }, target: { name: 'b.png', sha256: 'a'.repeat(64) } });
	});

	it('keeps another optimizer whole', () => {
		const recipe = defaultRecipe('sd15');
		recipe.passes.copier.optimizer = defaultOptimizer('adamw');
		const back = decodeRecipeLink(encodeRecipeLink(recipe));
		expect(back.ok && back.recipe).toEqual(recipe);
	});

	it.each([
		['no text', '#r=', 'link.empty'],
		['another fragment', '#x=1', 'link.empty'],
		['strange characters', '#r=%%%', 'link.notBase64'],
		['an impossible length', '#r=abcde', 'link.notBase64'],
		['too much text', `#r=${'A'.repeat(MAX_LINK_LENGTH + 1)}`, 'link.tooLong'],
		['bytes that are not deflate', '#r=____', 'link.notDeflate'],
		['a cut link', encodeRecipeLink(applyPreset(defaultRecipe('mini'), PRESETS[2]!)).slice(0, -12), 'link.notDeflate'],
		['a bomb', packed(new Uint8Array(8_000_000)), 'link.tooBig'],
		['something that is not JSON', packed('hello'), 'link.notJson'],
		['another JSON', packed('[1]'), 'recipe.notObject'],
		['a later version', packed('{"version":9}'), 'recipe.version'],
		['a bad value', packed('{"version":1,"passes":{"copier":{"rank":-3}}}'), 'recipe.tooSmall']
	])('refuses %s with a clear message', (_, link, code) => {
		const back = decodeRecipeLink(link);
		expect(back.ok).toBe(false);
		expect(back.problems[0]?.code).toBe(code);
		expect(back.problems[0]?.message.length).toBeGreaterThan(30);
	});
});
