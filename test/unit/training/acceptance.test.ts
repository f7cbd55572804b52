import { describe, expect, it } from 'vitest';
import { Classifier } from '../../../bench/acceptance/classifier';
import { effect, mouthMask, psnr } from '../../../bench/acceptance/score';
import { toPlanes } from '../../../src/diffusion/vae-network';
import { fileSource } from '../../../src/formats/node';
import { decodePng } from '../../../src/formats/png';

async function planes(path: string): Promise<Float32Array> {
	const source = await fileSource(path);
	return toPlanes(decodePng(await source.read(0, source.size)));
}

describe('scores of the acceptance runs', () => {
	it('the classifier sees what the pictures show', async () => {
		const classifier = await Classifier.open(await fileSource('test/fixtures/mini/reference/classifier.safetensors'));
		const judge = async (name: string) => classifier.judge(await planes(`public/samples/front/${name}.png`));
		expect((await judge('closed')).open).toBe(false);
		for (const vowel of ['a', 'i', 'u', 'e', 'o']) expect([vowel, (await judge(vowel)).open]).toEqual([vowel, true]);
		expect((await judge('a')).a).toBeGreaterThan(0.9);
		expect((await judge('o')).a).toBeLessThan(0.1);
	});

	it('the pair itself changes by one inside and almost nothing outside', async () => {
		const classifier = await Classifier.open(await fileSource('test/fixtures/mini/reference/classifier.safetensors'));
		const [closed, open] = await Promise.all([planes('public/samples/front/closed.png'), planes('public/samples/front/a.png')]);
		const score = effect([closed], [open], { closed, open }, classifier);
		expect(score).toMatchObject({ open0: 0, open: 1, sameHair: 1, sameEyes: 1 });
		expect(score.in).toBeCloseTo(1, 6);
		expect(score.out).toBeLessThan(0.001);
		const mask = mouthMask(closed, open, 128);
		const share = mask.reduce((a, b) => a + b, 0) / mask.length;
		expect(share).toBeGreaterThan(0.01);
		expect(share).toBeLessThan(0.1);
	});

	it('psnr of a known error', () => {
		expect(psnr(new Float32Array(100), new Float32Array(100).fill(0.02))).toBeCloseTo(40, 4);
	});
});
