/**
 * PNG to and from 8-bit RGBA, without a canvas: a canvas multiplies colours by alpha and may convert colour spaces, training must not.
 * The rule: size, animation and the amount of data are checked before pixels are unpacked. Colour profiles and gamma are ignored, as trainers do.
 * Source: PNG (Third Edition); unfiltering by fast-png.
 */
import { convertIndexedToRgb, decode, encode, type DecodedPng } from 'fast-png';
import { FormatError } from './error';
import { inflateBounded } from './inflate';
import { readChunks, writeChunks } from './png-chunks';
import { addPngText } from './png-text';

/** 8-bit RGBA, row-major, alpha not multiplied in. */
export interface Picture {
	readonly width: number;
	readonly height: number;
	readonly data: Uint8ClampedArray;
}

/** Pictures with a longer side are refused. */
export const MAX_SIDE = 4096;

/** Some programs write a little more than the pixels. */
const SLACK = 65536;
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const NEEDED = new Set(['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND']);

/**
 * Any PNG of one frame to RGBA: palettes and grey are expanded, 16 bits are rounded to 8.
 * @throws FormatError `empty`, `not-png`, `truncated`, `animated`, `too-large`, `corrupt`, `unsupported-png`
 */
export function decodePng(png: Uint8Array): Picture {
	const chunks = readChunks(png);
	const header = chunks[0];
	if (header?.type !== 'IHDR' || header.data.length !== 13) throw corrupt('chunk IHDR', 'The picture has no valid header');
	const view = new DataView(header.data.buffer, header.data.byteOffset, 13);
	const [width, height, depth, channels] = [view.getUint32(0), view.getUint32(4), view.getUint8(8), CHANNELS[view.getUint8(9)]];
	if (!width || !height || !channels) throw corrupt('chunk IHDR', 'The header of the picture is not valid');
	if (chunks.some(({ type }) => type === 'acTL')) {
		throw new FormatError('animated', 'picture', 'This is an animated PNG', 'Save one frame of it as a still picture.');
	}
	if (width > MAX_SIDE || height > MAX_SIDE) {
		const values = { width, height, limit: MAX_SIDE };
		throw new FormatError('too-large', 'picture', `The picture has ${width} × ${height} pixels`, `Make it smaller: at most ${MAX_SIDE} on a side.`, values);
	}
	const interlaced = view.getUint8(12) !== 0;
	if (interlaced && depth < 8) {
		const problem = 'This is an interlaced picture of less than 8 bits';
		throw new FormatError('unsupported-png', 'chunk IHDR', problem, 'Save it without interlacing.');
	}
	const expected = unpackedBytes(width, height, channels * depth, interlaced);
	const data = chunks.filter(({ type }) => type === 'IDAT').map((chunk) => chunk.data);
	if (inflateBounded(concat(data), expected + SLACK, 'chunk IDAT').length < expected) {
		throw new FormatError('truncated', 'chunk IDAT', 'The picture has fewer pixels than its header says', 'Copy or save it again.');
	}
	let decoded: DecodedPng;
	try {
		decoded = decode(writeChunks(chunks.filter(({ type }) => NEEDED.has(type))));
	} catch (error) {
		throw corrupt('picture', `The pixels cannot be read: ${error instanceof Error ? error.message : String(error)}`);
	}
	return { width, height, data: toRgba(decoded) };
}

/** As RGB when every pixel is opaque, else RGBA; `text` goes into tEXt or iTXt chunks. */
export function encodePng(picture: Picture, text: Iterable<readonly [keyword: string, value: string]> = []): Uint8Array {
	const { width, height, data } = picture;
	const pixels = width * height;
	let opaque = true;
	for (let i = 3; i < 4 * pixels; i += 4) opaque &&= data[i] === 255;
	if (!opaque) return addPngText(encode({ width, height, data, channels: 4 }), text);
	const rgb = new Uint8Array(3 * pixels);
	for (let i = 0, o = 0; i < 4 * pixels; i += 4) {
		rgb[o++] = data[i] ?? 0;
		rgb[o++] = data[i + 1] ?? 0;
		rgb[o++] = data[i + 2] ?? 0;
	}
	return addPngText(encode({ width, height, data: rgb, channels: 3 }), text);
}

/** Rows with a filter byte each; interlaced, the rows of seven smaller pictures (Adam7). */
function unpackedBytes(width: number, height: number, bitsPerPixel: number, interlaced: boolean): number {
	const rows = (w: number, h: number): number => (w > 0 && h > 0 ? h * (1 + Math.ceil((w * bitsPerPixel) / 8)) : 0);
	if (!interlaced) return rows(width, height);
	const passes = [0, 0, 8, 8, 4, 0, 8, 8, 0, 4, 4, 8, 2, 0, 4, 4, 0, 2, 2, 4, 1, 0, 2, 2, 0, 1, 1, 2];
	let bytes = 0;
	for (let i = 0; i < passes.length; i += 4) {
		const [x = 0, y = 0, dx = 1, dy = 1] = passes.slice(i, i + 4);
		bytes += rows(Math.ceil((width - x) / dx), Math.ceil((height - y) / dy));
	}
	return bytes;
}

function toRgba(png: DecodedPng): Uint8ClampedArray {
	const pixels = png.width * png.height;
	const out = new Uint8ClampedArray(4 * pixels);
	if (png.palette) {
		let colours: Uint8Array;
		try {
			colours = convertIndexedToRgb(png);
		} catch {
			throw corrupt('chunk PLTE', 'A pixel uses a colour that the palette does not have');
		}
		const width = colours.length / pixels;
		for (let i = 0; i < pixels; i++) {
			for (let c = 0; c < 4; c++) out[4 * i + c] = c < width ? (colours[width * i + c] ?? 0) : 255;
		}
		return out;
	}
	const { channels } = png;
	const maximum = 2 ** png.depth - 1;
	const samples = png.depth < 8 ? unpack(png) : png.data;
	const grey = channels < 3;
	const hasAlpha = channels % 2 === 0;
	const key = png.transparency;
	for (let i = 0; i < pixels; i++) {
		const at = i * channels;
		const sample = (c: number): number => samples[at + c] ?? 0;
		for (let c = 0; c < 3; c++) out[4 * i + c] = Math.round((sample(grey ? 0 : c) * 255) / maximum);
		const alpha = hasAlpha ? sample(channels - 1) : key && matches(key, sample) ? 0 : maximum;
		out[4 * i + 3] = Math.round((alpha * 255) / maximum);
	}
	return out;
}

function matches(key: Uint16Array, sample: (c: number) => number): boolean {
	for (let c = 0; c < key.length; c++) if (key[c] !== sample(c)) return false;
	return true;
}

/** Grey of 1, 2 or 4 bits: several pixels in a byte, rows start at bytes. */
function unpack({ width, height, depth, data }: DecodedPng): Uint8Array {
	const out = new Uint8Array(width * height);
	const rowBytes = Math.ceil((width * depth) / 8);
	for (let y = 0; y < height; y++) {
		for (let x = 0; x < width; x++) {
			const bit = x * depth;
			out[y * width + x] = ((data[y * rowBytes + (bit >> 3)] ?? 0) >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
		}
	}
	return out;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
	const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
	let at = 0;
	for (const part of parts) {
		whole.set(part, at);
		at += part.length;
	}
	return whole;
}

function corrupt(where: string, problem: string): FormatError {
	return new FormatError('corrupt', where, problem, 'The picture is damaged; save it again.');
}
