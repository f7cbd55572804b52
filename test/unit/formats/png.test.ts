import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../../src/formats/error';
import { decodePng, encodePng } from '../../../src/formats/png';
import { readChunks, writeChunks } from '../../../src/formats/png-chunks';
import { addPngText, readPngText } from '../../../src/formats/png-text';

const fixture = JSON.parse(readFileSync(new URL('../../fixtures/formats/formats.json', import.meta.url), 'utf8')) as {
	width: number;
	height: number;
	pngs: Record<string, { png: string; rgba: string | null }>;
};
const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));
const pngOf = (name: string): Uint8Array => bytes(fixture.pngs[name]?.png ?? '');
const still = Object.entries(fixture.pngs).filter(([, { rgba }]) => rgba !== null);

function codeOf(png: Uint8Array): string | undefined {
	try {
		decodePng(png);
		return undefined;
	} catch (error) {
		if (error instanceof FormatError) return error.code;
		throw error;
	}
}

describe('decoding', () => {
	it.each(still)('makes RGBA of %s', (_, { png, rgba }) => {
		const picture = decodePng(bytes(png));
		expect([picture.width, picture.height]).toEqual([fixture.width, fixture.height]);
		expect(Buffer.from(picture.data).equals(Buffer.from(rgba ?? '', 'base64'))).toBe(true);
	});

	it('refuses what it cannot use, each by its name', () => {
		const whole = pngOf('rgb');
		const damaged = whole.slice();
		damaged[50] = (damaged[50] ?? 0) ^ 1;
		expect(codeOf(new Uint8Array(0))).toBe('empty');
		expect(codeOf(new TextEncoder().encode('GIF89a and so on'))).toBe('not-png');
		expect(codeOf(whole.subarray(0, -5))).toBe('truncated');
		expect(codeOf(damaged)).toBe('corrupt');
		expect(codeOf(pngOf('animated'))).toBe('animated');
		expect(codeOf(pngOf('huge'))).toBe('too-large');
		expect(codeOf(pngOf('bomb'))).toBe('corrupt');
	});

	it('never fails in another way, whatever the bytes', () => {
		const names = Object.keys(fixture.pngs).filter((name) => name !== 'bomb');
		fc.assert(
			fc.property(fc.constantFrom(...names), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }), fc.nat(), (name, edits, cut) => {
				const png = pngOf(name).slice(0, cut % 5 === 0 ? cut % 2000 : undefined);
				for (const [at, value] of edits) if (png.length) png[at % png.length] = value;
				codeOf(png);
			}),
			{ numRuns: 2000, seed: 3 }
		);
	});
});

describe('decoding with check sums that fit', () => {
	it('never fails in another way either', () => {
		const names = Object.keys(fixture.pngs).filter((name) => name !== 'bomb');
		fc.assert(
			fc.property(fc.constantFrom(...names), fc.array(fc.tuple(fc.nat(6), fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 4 }), (name, edits) => {
				const chunks = readChunks(pngOf(name)).map(({ type, data }) => ({ type, data: data.slice() }));
				for (const [which, at, value] of edits) {
					const data = chunks[which % chunks.length]?.data;
					if (data?.length) data[at % data.length] = value;
				}
				codeOf(writeChunks(chunks));
			}),
			{ numRuns: 2000, seed: 4 }
		);
	});
});

describe('encoding', () => {
	it('gives back every pixel, opaque or not', () => {
		for (const name of ['rgba', 'rgb']) {
			const picture = decodePng(pngOf(name));
			expect(decodePng(encodePng(picture))).toEqual(picture);
		}
	});

	it('keeps texts: Latin-1 as tEXt, everything else as iTXt', () => {
		const picture = decodePng(pngOf('rgb'));
		const png = encodePng(picture, [
			['parameters', 'café\nSteps: 20'],
			['Description', '口を開けた 😀']
		]);
		const ascii = Buffer.from(png).toString('latin1');
		expect(ascii).toContain('tEXtparameters\0caf\u00e9');
		expect(ascii).toContain('iTXtDescription\0');
		expect([...readPngText(png)]).toEqual([
			['parameters', 'café\nSteps: 20'],
			['Description', '口を開けた 😀']
		]);
		expect(decodePng(png)).toEqual(picture);
		expect(() => addPngText(png, [['口', 'x']])).toThrow(RangeError);
		expect(() => addPngText(png, [[' a', 'x']])).toThrow(RangeError);
	});

	it('reads the texts that Pillow writes, compressed ones too', () => {
		const text = readPngText(pngOf('text'));
		expect(text.get('parameters')).toBe('1girl\nSteps: 20, Seed: 5');
		expect(text.get('Description')).toBe('口を開けた女の子 😀');
		expect(text.get('Comment')).toBe('café squeezed '.repeat(20));
		expect(text.get('Zipped')).toBe('日本語 '.repeat(30));
	});
});
