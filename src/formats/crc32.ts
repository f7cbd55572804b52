/** CRC-32 as PNG and ZIP have it: reflected polynomial 0xEDB88320, all bits set at the start, inverted at the end. Source: PNG (Third Edition), annex D. */

let table: Uint32Array | undefined;

/** @param before the sum of the bytes that came before, to go on from */
export function crc32(bytes: Uint8Array, before = 0): number {
	table ??= Uint32Array.from({ length: 256 }, (_, n) => {
		let c = n;
		for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
		return c;
	});
	let crc = ~before;
	for (const byte of bytes) crc = (table[(crc ^ byte) & 255] ?? 0) ^ (crc >>> 8);
	return ~crc >>> 0;
}
