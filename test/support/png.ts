/** PNG files that the encoder would not write. */

export function crc32(bytes: Uint8Array): number {
	let crc = 0xffffffff;
	for (const byte of bytes) {
		crc ^= byte;
		for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
	}
	return ~crc >>> 0;
}

/** With one more chunk right behind the header. */
export function withChunk(png: Uint8Array, type: string, data: Uint8Array): Uint8Array {
	const chunk = new Uint8Array(12 + data.length);
	const view = new DataView(chunk.buffer);
	view.setUint32(0, data.length);
	chunk.set(new TextEncoder().encode(type), 4);
	chunk.set(data, 8);
	view.setUint32(8 + data.length, crc32(chunk.subarray(4, 8 + data.length)));
	const header = 33; // signature and IHDR
	const out = new Uint8Array(png.length + chunk.length);
	out.set(png.subarray(0, header));
	out.set(chunk, header);
	out.set(png.subarray(header), header + chunk.length);
	return out;
}
