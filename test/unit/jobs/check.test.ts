import { describe, expect, it } from 'vitest';
import { SD15_UNET, type ModelConfig } from '../../../src/diffusion/config';
import { checkModel, checkPair, MAX_SIDE, sizeMultiple } from '../../../src/jobs/check';
import type { Picture } from '../../../src/jobs/events';
import { stripOrder } from '../../../src/jobs/runner';
import { defaultRecipe } from '../../../src/recipe/defaults';

const clip: ModelConfig['text'][number] = {
	prefix: '',
	layout: 'hf',
	width: 64,
	layers: 1,
	heads: 1,
	intermediate: 4,
	vocabulary: 49408,
	length: 77,
	activation: 'quick_gelu',
	padToken: 49407
};
const config: ModelConfig = {
	family: 'mini',
	title: '',
	prediction: 'epsilon',
	resolution: 128,
	unet: SD15_UNET,
	vae: { prefix: '', channels: 64, channelMult: [1, 1, 1, 1], resBlocks: 2, latentChannels: 4, groups: 32, scale: 0.18215 },
	text: [clip]
};

function picture(width: number, height: number, shade = 0, alpha = 255): Picture {
	const data = new Uint8ClampedArray(4 * width * height).fill(shade);
	for (let i = 3; i < data.length; i += 4) data[i] = alpha;
	return { width, height, data };
}
const codes = (original: Picture, target: Picture): string[] =>
	checkPair(original, target, config).map(({ level, code, where }) => `${level} ${code} ${where}`);

describe('the pair', () => {
	it('passes when it fits', () => {
		expect(codes(picture(128, 128), picture(128, 128, 9))).toEqual([]);
	});
	it('must have one size, and says both', () => {
		const [problem] = checkPair(picture(128, 128), picture(128, 192), config);
		expect(problem).toMatchObject({
			level: 'error',
			code: 'pair.sizes',
			where: 'images.target',
			values: { width: 128, height: 128, width2: 128, height2: 192 }
		});
		expect(problem?.message).toContain('128 × 192');
	});
	it('must divide by what the UNet halves, and proposes a size', () => {
		expect(sizeMultiple(config)).toBe(64);
		const found = checkPair(picture(100, 130), picture(100, 130, 9), config);
		expect(found.map(({ code, where }) => [code, where])).toEqual([
			['pair.multiple', 'images.original'],
			['pair.multiple', 'images.target']
		]);
		expect(found[0]?.values).toMatchObject({ step: 64, w: 128, h: 128 });
	});
	it('may not be transparent, not even in one pixel', () => {
		const target = picture(128, 128, 9);
		target.data[target.data.length - 1] = 254;
		expect(codes(picture(128, 128), target)).toEqual(['error pair.alpha images.target']);
	});
	it('may not be huge or empty', () => {
		const wide: Picture = { width: MAX_SIDE + 64, height: 64, data: new Uint8ClampedArray(4 * (MAX_SIDE + 64) * 64) };
		expect(codes(wide, wide)).toEqual(['error pair.tooLarge images.original', 'error pair.tooLarge images.target']);
		const none: Picture = { width: 0, height: 0, data: new Uint8ClampedArray() };
		expect(codes(none, none)).toEqual(['error pair.empty images.original', 'error pair.empty images.target']);
		const lying: Picture = { width: 128, height: 128, data: new Uint8ClampedArray(4) };
		expect(codes(lying, picture(128, 128))).toEqual(['error pair.empty images.original']);
	});
	it('is warned about when it cannot teach well', () => {
		expect(codes(picture(128, 128), picture(128, 128))).toEqual(['warning pair.same images.target']);
		expect(codes(picture(512, 512), picture(512, 512, 9))).toEqual(['warning pair.large images.original']);
		expect(codes(picture(64, 64), picture(64, 64, 9))).toEqual(['warning pair.small images.original']);
	});
});

describe('the model', () => {
	it('must be of the recipe’s family', () => {
		expect(checkModel(defaultRecipe('mini'), config)).toEqual([]);
		expect(checkModel(defaultRecipe('sd15'), config)).toMatchObject([{ level: 'error', code: 'model.family', values: { wanted: 'sd15', given: 'mini' } }]);
	});
});

describe('the strip', () => {
	it('shows first whether it worked', () => {
		expect(stripOrder([-1, 0, 1, 2])).toEqual([1, 0, -1, 2]);
		expect(stripOrder([0.5])).toEqual([0.5]);
	});
});
