/** Pictures for the library: small enough to list many, as PNG so that they can carry how they were drawn. */
import { readPngText } from '../../formats/png-text';
import type { Picture } from '../../service/protocol';
import { readHeader } from '../picture/header';

/** Longest side that is kept, in pixels: enough for a shop's page. The file is the result, the pictures are for recognising it. */
const PREVIEW_SIDE = 768;
/** A PNG up to this is kept byte for byte, with everything it says about itself. */
const AS_IT_IS_BYTES = 4 << 20;

async function shrink(bitmap: ImageBitmap): Promise<Blob> {
	const scale = Math.min(1, PREVIEW_SIDE / Math.max(bitmap.width, bitmap.height));
	const canvas = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
	canvas.getContext('2d')?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
	bitmap.close();
	return canvas.convertToBlob({ type: 'image/png' });
}

export async function encodePicture(picture: Picture): Promise<Blob> {
	return shrink(await createImageBitmap(new ImageData(new Uint8ClampedArray(picture.data), picture.width, picture.height)));
}

/** A picture file as it will be kept; null: no picture that can be read. */
export async function takePicture(file: Blob): Promise<Blob | null> {
	if (file.size === 0) return null;
	const bytes = new Uint8Array(await file.arrayBuffer());
	const header = readHeader(bytes);
	if (!header || Math.max(header.width, header.height) > 8192) return null;
	try {
		if (header.kind === 'png' && bytes.length <= AS_IT_IS_BYTES) {
			readPngText(bytes); // damaged ones are refused here, not in the archive
			return new Blob([bytes], { type: 'image/png' });
		}
		return await shrink(await createImageBitmap(file));
	} catch {
		return null;
	}
}
