/**
 * A picture file becomes pixels. Checks come first (empty, unknown kind, animated, far too large); the browser decodes, with the
 * orientation of cameras applied and colours left as stored.
 */
import type { Picture, Problem } from '../../service/protocol';
import { appFile } from '../files';
import { readHeader } from './header';

/** Longest side that is decoded at all: 4096² is 67 MB of pixels. */
export const LARGEST_SIDE = 4096;
const HEADER_BYTES = 65_536;

export type Which = 'original' | 'target';

/** `sha256` of the file's bytes, hex; what a recipe refers to it by. */
export interface LoadedPicture {
	name: string;
	picture: Picture;
	sha256: string;
	/** As the user reads it in the file's place; `null` for a bundled sample. */
	bundled: string | null;
}

export class PictureError extends Error {
	override readonly name = 'PictureError';
	constructor(readonly problem: Problem) {
		super(problem.message);
	}
}

function refuse(code: string, which: Which, values: Problem['values'], message: string): PictureError {
	return new PictureError({ level: 'error', code, where: `images.${which}`, values, message });
}

async function sha256(bytes: ArrayBuffer): Promise<string> {
	const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
	return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function decode(blob: Blob): Promise<Picture> {
	const bitmap = await createImageBitmap(blob, { imageOrientation: 'from-image', premultiplyAlpha: 'none', colorSpaceConversion: 'none' });
	const { width, height } = bitmap;
	const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
	if (!context) throw new Error('no 2d canvas');
	context.drawImage(bitmap, 0, 0);
	bitmap.close();
	return { width, height, data: context.getImageData(0, 0, width, height).data };
}

/** Errors: `PictureError` with a problem to show. */
export async function loadPicture(blob: Blob, name: string, which: Which, bundled: string | null = null): Promise<LoadedPicture> {
	if (blob.size === 0) throw refuse('picture.empty', which, { name }, `${name} is empty (0 bytes). Choose the picture again.`);
	const header = readHeader(new Uint8Array(await blob.slice(0, HEADER_BYTES).arrayBuffer()));
	if (!header) throw refuse('picture.unknown', which, { name }, `${name} is not a picture Utsushi reads. Use PNG, JPEG or WebP.`);
	if (header.animated) throw refuse('picture.animated', which, { name }, `${name} is animated. Save the one frame you mean as a PNG.`);
	if (Math.max(header.width, header.height) > LARGEST_SIDE) {
		const values = { name, width: header.width, height: header.height, limit: LARGEST_SIDE };
		const message = `${name} has ${header.width} × ${header.height} pixels. Make it smaller first: at most ${LARGEST_SIDE} a side are read, and models use 512 or 1024.`;
		throw refuse('picture.tooLarge', which, values, message);
	}
	const [bytes, picture] = await Promise.all([
		blob.arrayBuffer(),
		decode(blob).catch(() => {
			throw refuse('picture.damaged', which, { name }, `${name} could not be decoded; it is damaged or cut off. Save it again as a PNG.`);
		})
	]);
	return { name, picture, sha256: await sha256(bytes), bundled };
}

/** One of the samples that come with the app, e.g. `front/a.png`. */
export async function loadSample(path: string, which: Which): Promise<LoadedPicture> {
	const response = await fetch(appFile(`samples/${path}`)).catch(() => null);
	if (!response?.ok) throw refuse('picture.sampleMissing', which, { name: path }, `The sample ${path} could not be read. Reload the page once while online.`);
	return loadPicture(await response.blob(), path.split('/').at(-1) ?? path, which, path);
}
