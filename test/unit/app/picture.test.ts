import { describe, expect, test } from 'vitest';
import { checkPair, cropTo, fitSize } from '../../../src/app/picture/checks';
import { findDifference } from '../../../src/app/picture/difference';
import { readHeader } from '../../../src/app/picture/header';
import type { Picture } from '../../../src/service/protocol';

function picture(width: number, height: number, value = 100, alpha = 255): Picture {
	const data = new Uint8ClampedArray(width * height * 4).fill(value);
	for (let i = 3; i < data.length; i += 4) data[i] = alpha;
	return { width, height, data };
}

const codes = (original: Picture, target: Picture, resolution = 128) => checkPair(original, target, resolution).map((problem) => problem.code);

describe('a pair', () => {
	test('is fine at the model’s size', () => {
		expect(codes(picture(128, 128), picture(128, 128))).toEqual([]);
		expect(codes(picture(512, 768), picture(512, 768), 512)).toEqual([]);
	});

	test('is refused with the reason: sizes, multiples, transparency', () => {
		expect(codes(picture(128, 128), picture(128, 192))).toContain('pair.sizes');
		expect(codes(picture(130, 128), picture(130, 128))).toEqual(['pair.multiple', 'pair.multiple']);
		expect(codes(picture(128, 128), picture(128, 128, 100, 254))).toEqual(['pair.alpha']);
	});

	test('gets a warning far from the model’s size', () => {
		expect(codes(picture(192, 192), picture(192, 192))).toEqual(['pair.large']);
		expect(codes(picture(64, 64), picture(64, 64))).toEqual(['pair.small']);
	});
});

describe('the size both could have', () => {
	test('has the model’s area, the original’s shape and sides of 64', () => {
		expect(fitSize({ width: 1000, height: 1000 }, 512)).toEqual({ width: 512, height: 512 });
		expect(fitSize({ width: 1200, height: 1800 }, 512)).toEqual({ width: 448, height: 640 });
		expect(fitSize({ width: 4000, height: 30 }, 128)).toEqual({ width: 1472, height: 64 });
	});

	test('is cut from the middle, as large as possible', () => {
		expect(cropTo({ width: 200, height: 100 }, { width: 64, height: 64 })).toEqual({ x: 50, y: 0, width: 100, height: 100 });
		expect(cropTo({ width: 60, height: 120 }, { width: 128, height: 128 })).toEqual({ x: 0, y: 30, width: 60, height: 60 });
	});
});

describe('the difference', () => {
	test('of equal pictures is nothing', () => {
		const { share, box } = findDifference(picture(16, 16), picture(16, 16));
		expect(share).toBe(0);
		expect(box).toBeNull();
	});

	test('is found where it is, noise is not', () => {
		const target = picture(16, 8, 105);
		for (const x of [4, 5]) target.data[(2 * 16 + x) * 4] = 255;
		const { share, box, heat } = findDifference(picture(16, 8), target);
		expect(share).toBe(2 / 128);
		expect(box).toEqual({ left: 4 / 16, top: 2 / 8, right: 6 / 16, bottom: 3 / 8 });
		const at = (2 * 16 + 4) * 4;
		expect(heat.data[at]).toBeGreaterThan((heat.data[at + 2] ?? 255) + 40);
		expect([...heat.data.slice(0, 4)]).toEqual([...heat.data.slice(4, 8)]);
	});

	test('of large pictures is looked at in steps', () => {
		const { heat } = findDifference(picture(1024, 768), picture(1024, 768, 200));
		expect([heat.width, heat.height]).toEqual([512, 384]);
	});
});

describe('picture headers', () => {
	const ascii = (text: string) => [...text].map((c) => c.charCodeAt(0));
	const u32 = (n: number) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
	const png = (...chunks: [string, number[]][]) =>
		new Uint8Array([0x89, ...ascii('PNG\r\n\x1a\n'), ...chunks.flatMap(([name, data]) => [...u32(data.length), ...ascii(name), ...data, 0, 0, 0, 0])]);
	const ihdr: [string, number[]] = ['IHDR', [...u32(12_000), ...u32(9000), 8, 6, 0, 0, 0]];

	test('PNG: size, and whether it moves', () => {
		expect(readHeader(png(ihdr, ['IDAT', [1]]))).toEqual({ kind: 'png', width: 12_000, height: 9000, animated: false });
		expect(readHeader(png(ihdr, ['acTL', [...u32(3), ...u32(0)]], ['IDAT', [1]]))?.animated).toBe(true);
		expect(readHeader(png(ihdr, ['acTL', [...u32(1), ...u32(0)]], ['IDAT', [1]]))?.animated).toBe(false);
	});

	test('GIF, JPEG and WebP', () => {
		const gif = [...ascii('GIF89a'), 64, 0, 32, 0, 0, 0, 0];
		const frame = [0x21, 0xf9, 4, 0, 0, 0, 0, 0];
		expect(readHeader(new Uint8Array([...gif, ...frame, 0x3b]))).toEqual({ kind: 'gif', width: 64, height: 32, animated: false });
		expect(readHeader(new Uint8Array([...gif, ...frame, ...frame, 0x3b]))?.animated).toBe(true);
		const jpeg = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc2, 0, 11, 8, 1, 0, 2, 0, 3, 0, 0, 0];
		expect(readHeader(new Uint8Array(jpeg))).toEqual({ kind: 'jpeg', width: 512, height: 256, animated: false });
		const webp = [...ascii('RIFF'), 0, 0, 0, 0, ...ascii('WEBPVP8X'), 10, 0, 0, 0, 2, 0, 0, 0, 0xff, 1, 0, 0xff, 2, 0];
		expect(readHeader(new Uint8Array(webp))).toEqual({ kind: 'webp', width: 512, height: 768, animated: true });
	});

	test('anything else, and anything cut off, is no picture', () => {
		expect(readHeader(new Uint8Array())).toBeNull();
		expect(readHeader(new Uint8Array(ascii('not a picture at all')))).toBeNull();
		expect(readHeader(png(ihdr).subarray(0, 18))).toBeNull();
		expect(readHeader(new Uint8Array([0xff, 0xd8, 0xff]))).toBeNull();
	});
});
