/** Buckets, crops, captions, pairs, batches and masks against the tables of the reference and against what can be counted. */
import { describe, expect, it } from 'vitest';
import type { Picture } from '../../../src/formats/png';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { addiftTimestep } from '../../../src/training/addift';
import { batchOrder } from '../../../src/training/batches';
import { bucketed, captionOf, pairsOf, sameSize, sizesUsed } from '../../../src/training/dataset';
import { bucketsOf, bucketSizes, cropPlan } from '../../../src/training/dataset-buckets';
import { fitted, mirrored, resized } from '../../../src/training/dataset-pictures';
import { alphaMask, combined, differenceMask, pictureMask } from '../../../src/training/masks';

const names = (sizes: readonly { width: number; height: number }[]) => sizes.map(({ width, height }) => `${width}x${height}`);

function drawn(width: number, height: number, of: (x: number, y: number) => readonly [number, number, number, number]): Picture {
	const data = new Uint8ClampedArray(4 * width * height);
	for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) data.set(of(x, y), 4 * (y * width + x));
	return { width, height, data };
}
const plain = (width: number, height: number, value = 100, alpha = 255) => drawn(width, height, () => [value, value, value, alpha]);

describe('buckets', () => {
	it.each([
		[512, 512, 256, 512, '512x512', ''],
		[768, 512, 256, 512, '512x768 512x512 768x512', null],
		[
			768,
			512,
			128,
			256,
			'384x768 512x768 512x640 512x512 640x512 768x512 768x384',
			'256x512 384x640 256x384 384x512 384x384 256x256 512x384 384x256 640x384 512x256'
		],
		[1024, 1024, 256, 512, '512x1024 768x1024 1024x1024 1024x768 1024x512', '512x768 768x768 512x512 768x512']
	])('%i × %i by %i from %i', (width, height, step, minSide, largest, smaller) => {
		const sizes = bucketSizes({ resolution: { width, height }, step, minSide, maxRatio: 2 });
		expect(new Set(names(sizes.largest))).toEqual(new Set(largest.split(' ')));
		if (smaller !== null) expect(new Set(names(sizes.smaller))).toEqual(new Set(smaller.split(' ').filter((name) => name !== '')));
		const ratios = sizes.largest.map((size) => size.width / size.height);
		expect(ratios).toEqual([...ratios].sort((a, b) => a - b));
	});

	it('takes the nearest ratio, further crops from the smaller ones, each once, and leaves out what would have to grow', () => {
		const sizes = bucketSizes({ resolution: { width: 768, height: 512 }, step: 128, minSide: 256, maxRatio: 2 });
		const wide = { width: 1500, height: 1000 };
		const chosen = bucketsOf(wide, sizes, { subImages: 3, upscale: true });
		expect(names(chosen.slice(0, 1))).toEqual(['768x512']);
		expect(new Set(names(chosen)).size).toBe(4);
		expect(bucketsOf({ width: 300, height: 200 }, sizes, { subImages: 0, upscale: false })).toEqual([]);
		expect(names(bucketsOf({ width: 300, height: 200 }, sizes, { subImages: 0, upscale: true }))).toEqual(['768x512']);
	});

	it('scales by the side that governs and crops the other in the middle', () => {
		expect(cropPlan({ width: 1000, height: 500 }, { width: 512, height: 512 })).toEqual({ scaled: { width: 1024, height: 512 }, left: 256, top: 0 });
		expect(cropPlan({ width: 500, height: 1001 }, { width: 512, height: 512 })).toEqual({ scaled: { width: 512, height: 1025 }, left: 0, top: 256 });
	});
});

describe('pictures', () => {
	it('keeps plain colours, halves a ramp evenly, and mirrors left and right', () => {
		expect(new Set(resized(plain(40, 30, 90), { width: 17, height: 64 }).data)).toEqual(new Set([90, 255]));
		const ramp = drawn(64, 2, (x) => [4 * x, 4 * x, 4 * x, 255]);
		const half = resized(ramp, { width: 32, height: 2 });
		for (let x = 4; x < 28; x++) expect(half.data[4 * x]).toBe(8 * x + 2);
		expect(mirrored(mirrored(ramp))).toEqual(ramp);
		expect(mirrored(ramp).data[0]).toBe(252);
	});

	it('cuts the middle out', () => {
		const picture = drawn(128, 64, (x) => [x < 32 || x >= 96 ? 0 : 200, 0, 0, 255]);
		const size = { width: 64, height: 64 };
		const middle = fitted(picture, size, cropPlan(picture, size));
		expect(middle.data.filter((_, i) => i % 4 === 0).every((red) => red === 200)).toBe(true);
	});
});

describe('captions and pairs', () => {
	it.each([
		['files', 'mika', 'smile, hat', 'mika, smile, hat'],
		['files', '', 'smile', 'smile'],
		['files', 'mika', undefined, 'mika'],
		['names', 'mika', 'ignored', 'mika,1girl,blue hair'],
		['names', '', undefined, '1girl,blue hair']
	] as const)('%s with trigger “%s” and text %s', (captions, trigger, text, expected) => {
		expect(captionOf({ name: 'sub/1girl_blue hair_id_07.png', text }, { trigger, captions })).toBe(expected);
	});

	it('pairs by suffix in the same folder, and brings both to the smaller sides', () => {
		const picture = (name: string, width = 128, height = 128) => ({ name, picture: plain(width, height) });
		const pairs = pairsOf([picture('a.png', 200, 128), picture('a_t.png', 128, 160), picture('b.png'), picture('x/c.png'), picture('x/c_t.png')], '_t');
		expect(pairs.map(({ original, target }) => [original.name, target.name])).toEqual([
			['a.png', 'a_t.png'],
			['x/c.png', 'x/c_t.png']
		]);
		expect(pairs[0] && names(sameSize(pairs[0]))).toEqual(['128x128', '128x128']);
		expect(pairsOf([picture('a.png')], '')).toEqual([]);
	});

	it('one picture with three smaller crops and its mirror image makes eight samples', async () => {
		const settings = { ...defaultRecipe('sd15').dataset, bucketStep: 128, minSide: 256, subImages: 3, mirror: true, repeats: 2 };
		const resolution = { width: 768, height: 512 };
		const pictures = [plain(96, 64), plain(64, 96)];
		const made: number[] = [];
		const buckets = await bucketed(
			pictures.map((picture, index) => ({ pictures: [picture], index })),
			settings,
			resolution,
			([picture], index) => {
				made.push(index);
				return Promise.resolve({ picture, index });
			}
		);
		expect(made.filter((index) => index === 0)).toHaveLength(8);
		expect(buckets.reduce((sum, { samples }) => sum + samples.length, 0)).toBe(2 * 2 * 8);
		for (const { size, samples } of buckets) for (const { picture } of samples) expect([picture?.width, picture?.height]).toEqual([size.width, size.height]);
		expect(new Set(names(buckets.map(({ size }) => size)))).toEqual(new Set(names(sizesUsed(pictures, settings, resolution))));
	});
});

describe('the order of batches', () => {
	it('shows everything once in an epoch, one size at a time, the same for a seed', () => {
		const options = { sizes: [5, 3], batch: 2, seed: 7 };
		const order = batchOrder(options);
		const epoch = Array.from({ length: 5 }, (_, k) => order(k));
		expect(epoch.filter(({ bucket }) => bucket === 0)).toHaveLength(3);
		for (const [bucket, size] of options.sizes.entries()) {
			const seen = epoch.filter((batch) => batch.bucket === bucket).flatMap(({ items }) => items);
			expect(new Set(seen)).toEqual(new Set(Array.from({ length: size }, (_, i) => i)));
		}
		expect(epoch.every(({ items }) => items.length === 2)).toBe(true);
		expect(batchOrder(options)(23)).toEqual(order(23));
		const text = (from: number) => JSON.stringify(Array.from({ length: 5 }, (_, k) => order(from + k)));
		expect(new Set([0, 5, 10, 15].map(text)).size).toBeGreaterThan(1);
		expect(() => batchOrder({ ...options, sizes: [] })).toThrow(RangeError);
	});
});

describe("ADDifT's timesteps", () => {
	it.each([
		[500, 1000, [550, 550, 650, 650, 750, 750, 850, 850, 950, 950, 550]],
		[200, 400, [220, 220, 260, 260, 300, 300, 340, 340, 380, 380, 220]],
		[0, 1000, [100, 100, 300, 300, 500, 500, 700, 700, 900, 900, 100]]
	])('are five fixed ones between %i and %i', (min, max, expected) => {
		expect(expected.map((_, k) => addiftTimestep(k, 3, { min, max }, 'traintrain'))).toEqual(expected);
	});

	it('come from the windows otherwise, and stay inside however narrow they are', () => {
		const draws = Array.from({ length: 200 }, (_, k) => addiftTimestep(k, 3, { min: 500, max: 1000 }, 'random'));
		draws.forEach((t, k) => {
			const low = 500 + 50 * ((k - (k % 2)) % 10) + 50;
			expect(t).toBeGreaterThanOrEqual(low);
			expect(t).toBeLessThan(low + 50);
		});
		expect(new Set(draws).size).toBeGreaterThan(50);
		for (let k = 0; k < 10; k++) {
			const t = addiftTimestep(k, 3, { min: 995, max: 1000 }, 'random');
			expect(t).toBeGreaterThanOrEqual(995);
			expect(t).toBeLessThan(1000);
			expect(Number.isInteger(t)).toBe(true);
		}
	});
});

describe('masks', () => {
	it('count what is opaque, what differs, and what is painted white', () => {
		const left = drawn(32, 16, (x) => [100, 100, 100, x < 9 ? 255 : 10]);
		expect([...alphaMask(left, 8)]).toEqual([1, 1, 0, 0, 1, 1, 0, 0]);
		const target = drawn(32, 16, (x, y) => (x === 31 && y === 15 ? [111, 100, 100, 255] : x < 8 ? [110, 100, 100, 255] : [100, 100, 100, 255]));
		expect([...differenceMask(plain(32, 16), target, 8)]).toEqual([0, 0, 0, 0, 0, 0, 0, 1]);
		expect([
			...pictureMask(
				drawn(16, 8, (x) => (x < 4 ? [255, 255, 255, 255] : [0, 0, 0, 255])),
				8
			)
		]).toEqual([0.5, 0]);
	});

	it('multiply, and have the mean 1 when they are renormalised', () => {
		const product = combined([Float32Array.of(1, 1, 0, 1), undefined, Float32Array.of(0.5, 1, 1, 0)], false);
		expect([...(product ?? [])]).toEqual([0.5, 1, 0, 0]);
		const mean = combined([Float32Array.of(1, 1, 0, 0)], true);
		expect([...(mean ?? [])]).toEqual([2, 2, 0, 0]);
		expect(combined([undefined], true)).toBeUndefined();
		expect([...(combined([Float32Array.of(0, 0)], true) ?? [])]).toEqual([0, 0]);
	});
});
