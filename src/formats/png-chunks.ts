/**
 * The outer layer of PNG: signature and chunks, with every length checked before it is used.
 * Source: PNG (Third Edition), section 5.
 */
import { crc32 } from './crc32';
import { FormatError } from './error';

export interface PngChunk {
	readonly type: string;
	readonly data: Uint8Array;
}

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/**
 * All chunks up to IEND.
 * @throws FormatError `empty`, `not-png`, `truncated`, `corrupt` (a CRC that does not fit)
 */
export function readChunks(png: Uint8Array): PngChunk[] {
	if (png.length === 0) throw new FormatError('empty', 'picture', 'The picture is empty (zero bytes)', 'Choose another file; the copy probably failed.');
	if (SIGNATURE.some((byte, i) => png[i] !== byte)) {
		throw new FormatError('not-png', 'picture', 'This is not a PNG picture', 'Save the picture as PNG.');
	}
	const view = new DataView(png.buffer, png.byteOffset, png.length);
	const chunks: PngChunk[] = [];
	for (let at = 8; ;) {
		const length = at + 12 <= png.length ? view.getUint32(at) : Infinity;
		if (at + 12 + length > png.length) {
			throw new FormatError('truncated', `byte ${at}`, 'The picture ends before its end mark', 'Copy or download it again.', { bytes: png.length });
		}
		const type = String.fromCharCode(...png.subarray(at + 4, at + 8));
		if (crc32(png.subarray(at + 4, at + 8 + length)) !== view.getUint32(at + 8 + length)) {
			throw new FormatError('corrupt', `chunk ${type}`, 'The check sum of a chunk is wrong', 'The picture is damaged; copy or save it again.');
		}
		chunks.push({ type, data: png.subarray(at + 8, at + 8 + length) });
		if (type === 'IEND') return chunks;
		at += 12 + length;
	}
}

/** Signature, chunks, check sums. */
export function writeChunks(chunks: readonly PngChunk[]): Uint8Array {
	const png = new Uint8Array(8 + chunks.reduce((sum, { data }) => sum + 12 + data.length, 0));
	const view = new DataView(png.buffer);
	png.set(SIGNATURE);
	let at = 8;
	for (const { type, data } of chunks) {
		view.setUint32(at, data.length);
		for (let i = 0; i < 4; i++) png[at + 4 + i] = type.charCodeAt(i);
		png.set(data, at + 8);
		view.setUint32(at + 8 + data.length, crc32(png.subarray(at + 4, at + 8 + data.length)));
		at += 12 + data.length;
	}
	return png;
}
