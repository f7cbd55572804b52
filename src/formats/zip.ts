/**
 * A ZIP archive as a Blob made of its parts: files that are Blobs are not copied but referred to, so packing a LoRA of a gigabyte that lies on disk
 * needs no memory for it. Nothing is compressed: PNG pictures and weights hardly shrink.
 *
 * Rules: names in UTF-8 (flag bit 11); sizes and sums stand in the local headers, so that every reader can stream; no ZIP64, so 4 GB is the end.
 * Source: PKWARE APPNOTE 6.3, sections 4.3.7, 4.3.12 and 4.3.16.
 */
import { crc32 } from './crc32';

export interface ZipFile {
	/** Path in the archive, with `/`. */
	name: string;
	content: Blob;
}

const LIMIT = 2 ** 32 - 1;
const UTF8 = 0x0800;

/** The check sum of a Blob, read in pieces. */
async function sumOf(blob: Blob): Promise<number> {
	let crc = 0;
	const reader = blob.stream().getReader();
	for (;;) {
		const { done, value } = await reader.read();
		if (done) return crc;
		crc = crc32(value, crc);
	}
}

/** Date and time as MS-DOS has them: two seconds are the least, 1980 the first year. */
function dosTime(date: Date): { date: number; time: number } {
	return {
		date: (Math.max(0, date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate(),
		time: (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1)
	};
}

/** Little-endian fields, each `[bytes, value]`. */
function record(...fields: readonly (readonly [2 | 4, number])[]): Uint8Array<ArrayBuffer> {
	const bytes = new Uint8Array(fields.reduce((sum, [size]) => sum + size, 0));
	const view = new DataView(bytes.buffer);
	let at = 0;
	for (const [size, value] of fields) {
		if (size === 2) view.setUint16(at, value, true);
		else view.setUint32(at, value, true);
		at += size;
	}
	return bytes;
}

/**
 * @param modified the time all files get
 * @throws RangeError when a name comes twice, or the archive would pass 4 GB
 */
export async function zip(files: readonly ZipFile[], modified: Date): Promise<Blob> {
	if (new Set(files.map(({ name }) => name)).size < files.length) throw new RangeError('An archive cannot hold the same name twice.');
	const { date, time } = dosTime(modified);
	const parts: BlobPart[] = [];
	const directory: Uint8Array<ArrayBuffer>[] = [];
	let offset = 0;
	for (const { name, content } of files) {
		const path = new Uint8Array(new TextEncoder().encode(name));
		if (offset + content.size > LIMIT) throw new RangeError('The archive would be larger than 4 GB.');
		const crc = await sumOf(content);
		const common = [
			[2, UTF8],
			[2, 0],
			[2, time],
			[2, date],
			[4, crc],
			[4, content.size],
			[4, content.size],
			[2, path.length]
		] as const;
		const local = record([4, 0x04034b50], [2, 20], ...common, [2, 0]);
		directory.push(record([4, 0x02014b50], [2, 20], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), path);
		parts.push(local, path, content);
		offset += local.length + path.length + content.size;
	}
	const size = directory.reduce((sum, { length }) => sum + length, 0);
	const end = record([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, offset], [2, 0]);
	return new Blob([...parts, ...directory, end], { type: 'application/zip' });
}
