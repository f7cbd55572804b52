/** Which live pictures a recipe asks for, how many that makes, and the film they become. */
import { describe, expect, it } from 'vitest';
import { filmOf } from '../../../src/app/run/film';
import type { PreviewView } from '../../../src/app/run/view';
import { fileBytes } from '../../../src/recipe/advice';
import { checkRecipe } from '../../../src/recipe/check';
import { defaultRecipe, UNET_BLOCKS } from '../../../src/recipe/defaults';
import { decodeRecipeLink, encodeRecipeLink } from '../../../src/recipe/link';
import { countLive, firstPictures, livePictures } from '../../../src/recipe/previews';
import { trainsTextEncoder } from '../../../src/recipe/text-encoder';

function recipe() {
	const made = defaultRecipe('mini');
	Object.assign(made.preview, { seeds: [5, 6], every: 10, live: { seeds: [], strengths: [1] } });
	made.passes.copier.iterations = 25;
	made.passes.difference.iterations = 20;
	return made;
}

describe('live previews', () => {
	it('show the first seed at strength 1 unless the recipe says more', () => {
		expect(livePictures(recipe().preview)).toEqual([{ seed: 5, strength: 1 }]);
		expect(firstPictures(recipe().preview)).toEqual([{ seed: 5, strength: 0 }]);
	});

	it('show every seed at every strength, strength 0 and repetitions left out', () => {
		const made = recipe();
		made.preview.live = { seeds: [7, 8, 7], strengths: [0, 0.5, 1.5, 0.5] };
		expect(livePictures(made.preview)).toEqual([7, 8].flatMap((seed) => [0.5, 1.5].map((strength) => ({ seed, strength }))));
		expect(firstPictures(made.preview).map(({ seed }) => seed)).toEqual([7, 8]);
		// Copier after 10 and 20 of 25 steps, difference after 10 of 20; two pictures at the beginning.
		expect(countLive(made, ['copier', 'difference'])).toEqual({ each: 4, total: 2 + 4 * 3 });
		expect(countLive({ ...made, preview: { ...made.preview, every: 0 } }, ['difference']).total).toBe(0);
	});

	it('travel in links', () => {
		const made = recipe();
		made.preview.live = { seeds: [9], strengths: [0.5, 2] };
		const read = decodeRecipeLink(encodeRecipeLink(made));
		expect(read.ok && read.recipe.preview.live).toEqual(made.preview.live);
	});

	it('become a film: a series for each seed and strength, all from the picture without the LoRA', () => {
		const frame = (step: number, seed: number, strength: number): PreviewView => ({
			...{ pass: 'difference', step, seed, strength },
			picture: { width: 1, height: 1, data: new Uint8ClampedArray(4) }
		});
		const begin = [frame(0, 5, 0), frame(0, 6, 0)];
		expect(filmOf(begin).map(({ seed, frames }) => [seed, frames.length])).toEqual([
			[5, 1],
			[6, 1]
		]);
		const all = [...begin, frame(10, 5, 1), frame(10, 5, 2), frame(20, 5, 1)];
		expect(filmOf(all).map(({ seed, strength, frames }) => [seed, strength, frames.map(({ step }) => step)])).toEqual([
			[5, 1, [0, 10, 20]],
			[5, 2, [0, 10]],
			[6, 0, [0]]
		]);
	});
});

describe('block BASE', () => {
	const lora = () => {
		const made = defaultRecipe('sd15', 'lora');
		made.passes.difference.blocks = [...UNET_BLOCKS, 'BASE'];
		return made;
	};
	const codes = (made: ReturnType<typeof lora>) => checkRecipe(made).map(({ code }) => code);

	it('trains the text encoder in mode LoRA only, and not with one kind of attention', () => {
		expect(trainsTextEncoder(lora())).toBe(true);
		expect(codes(lora())).not.toContain('recipe.textEncoderBlock');
		const cross = lora();
		cross.passes.difference.attention = 'cross';
		expect(trainsTextEncoder(cross)).toBe(false);
		expect(codes(cross)).toContain('recipe.textEncoderAttention');
		const other = { ...lora(), mode: 'leco' as const };
		expect(trainsTextEncoder(other)).toBe(false);
		expect(codes(other)).toContain('recipe.textEncoderBlock');
	});

	it('makes the file larger by its 72 modules', () => {
		const plain = defaultRecipe('sd15', 'lora');
		const { rank } = plain.passes.difference;
		const numbers = 12 * (4 * 2 * 768 + 2 * 5 * 768) * rank;
		expect((fileBytes(lora()) - fileBytes(plain)) / (2 * numbers + 72 * 432)).toBeCloseTo(1, 2);
	});
});
