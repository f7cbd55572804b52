/** Remedies for a pair, on an off-screen canvas: crop and resize to one size, put on a white background. */
import type { Picture } from '../../service/protocol';
import { cropTo, type Size } from './checks';

async function redraw(picture: Picture, size: Size, background: string | null): Promise<Picture> {
	const bitmap = await createImageBitmap(new ImageData(new Uint8ClampedArray(picture.data), picture.width, picture.height));
	const context = new OffscreenCanvas(size.width, size.height).getContext('2d');
	if (!context) throw new Error('no 2d canvas');
	if (background) {
		context.fillStyle = background;
		context.fillRect(0, 0, size.width, size.height);
	}
	const part = cropTo(picture, size);
	context.imageSmoothingQuality = 'high';
	context.drawImage(bitmap, part.x, part.y, part.width, part.height, 0, 0, size.width, size.height);
	bitmap.close();
	return { ...size, data: context.getImageData(0, 0, size.width, size.height).data };
}

export function fitPicture(picture: Picture, size: Size): Promise<Picture> {
	return redraw(picture, size, null);
}

export function flattenPicture(picture: Picture): Promise<Picture> {
	return redraw(picture, picture, '#fff');
}
