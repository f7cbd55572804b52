/**
 * What the first bytes of a picture file say: kind, size in pixels, whether it moves. Read before decoding, so that a 12,000 × 12,000
 * picture is refused without spending half a gigabyte on it, and an animation is not taken for its first frame in silence.
 * Sources: PNG (RFC 2083, APNG: acTL before IDAT), GIF89a, JPEG (SOF markers), WebP container (RIFF, VP8/VP8L/VP8X).
 */
export interface PictureHeader {
	kind: 'png' | 'jpeg' | 'webp' | 'gif';
	width: number;
	height: number;
	animated: boolean;
}

const text = (bytes: Uint8Array, at: number, length: number): string => String.fromCharCode(...bytes.subarray(at, at + length));

/** null: none of the four kinds, or cut off before the size. */
export function readHeader(bytes: Uint8Array): PictureHeader | null {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	try {
		if (text(bytes, 1, 3) === 'PNG' && bytes[0] === 0x89) return readPng(bytes, view);
		if (text(bytes, 0, 4) === 'GIF8') return { kind: 'gif', width: view.getUint16(6, true), height: view.getUint16(8, true), animated: gifMoves(bytes) };
		if (text(bytes, 0, 4) === 'RIFF' && text(bytes, 8, 4) === 'WEBP') return readWebp(bytes, view);
		if (bytes[0] === 0xff && bytes[1] === 0xd8) return readJpeg(bytes, view);
		return null;
	} catch (error) {
		if (error instanceof RangeError) return null; // cut off inside the header
		throw error;
	}
}

function readPng(bytes: Uint8Array, view: DataView): PictureHeader | null {
	if (text(bytes, 12, 4) !== 'IHDR') return null;
	let animated = false;
	for (let at = 8; at + 12 <= bytes.length;) {
		const kind = text(bytes, at + 4, 4);
		if (kind === 'IDAT') break;
		if (kind === 'acTL') animated = view.getUint32(at + 8) > 1;
		at += 12 + view.getUint32(at);
	}
	return { kind: 'png', width: view.getUint32(16), height: view.getUint32(20), animated };
}

/** An animated GIF announces its loop, or has more than one graphic control block. */
function gifMoves(bytes: Uint8Array): boolean {
	let blocks = 0;
	for (let at = 13; at + 3 < bytes.length; at++) {
		if (bytes[at] === 0x21 && bytes[at + 1] === 0xf9 && bytes[at + 2] === 4) blocks++;
		if (blocks > 1) return true;
		if (bytes[at] === 0x21 && bytes[at + 1] === 0xff && text(bytes, at + 3, 8) === 'NETSCAPE') return true;
	}
	return false;
}

function readWebp(bytes: Uint8Array, view: DataView): PictureHeader | null {
	const chunk = text(bytes, 12, 4);
	if (chunk === 'VP8X') {
		const u24 = (at: number) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
		return { kind: 'webp', width: u24(24) + 1, height: u24(27) + 1, animated: (view.getUint8(20) & 2) !== 0 };
	}
	if (chunk === 'VP8L') {
		const bits = view.getUint32(21, true);
		return { kind: 'webp', width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1, animated: false };
	}
	if (chunk === 'VP8 ') return { kind: 'webp', width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff, animated: false };
	return null;
}

function readJpeg(bytes: Uint8Array, view: DataView): PictureHeader | null {
	for (let at = 2; at + 9 < bytes.length;) {
		if (bytes[at] !== 0xff) return null;
		const marker = bytes[at + 1] ?? 0;
		// SOF0…SOF15 without DHT (C4), JPG (C8) and DAC (CC)
		if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker))
			return { kind: 'jpeg', width: view.getUint16(at + 7), height: view.getUint16(at + 5), animated: false };
		at += 2 + view.getUint16(at + 2);
	}
	return null;
}
