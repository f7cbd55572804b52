/** Puts results of a run into the library: the file at once, the pictures of its strip when they are all there. */
import type { Recipe } from '../../recipe/recipe';
import type { Picture } from '../../service/protocol';
import type { Library, StoredPreview } from '../../storage/library';

/** Pictures are kept at most this large; they are for recognising, the file is the result. */
const PREVIEW_SIDE = 256;

let opened: Promise<Library> | null = null;

/** The library of this browser, opened once. A failure is not remembered: it may work the next time. */
export function library(): Promise<Library> {
	opened ??= import('../../storage/library').then(({ openLibrary }) => openLibrary());
	opened.catch(() => (opened = null));
	return opened;
}

export interface KeptFile {
	name: string;
	role: 'copier' | 'intermediate' | 'result';
	run: string;
	step: number;
	recipe: Recipe;
}

/** `__metadata__` of a safetensors file: 8 bytes of header length, then JSON. */
export function readMetadata(bytes: ArrayBuffer): Record<string, string> {
	const length = Number(new DataView(bytes).getBigUint64(0, true));
	const header: unknown = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length)));
	if (typeof header !== 'object' || header === null || !('__metadata__' in header)) return {};
	const metadata: unknown = header.__metadata__;
	if (typeof metadata !== 'object' || metadata === null) return {};
	return Object.fromEntries(Object.entries(metadata).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

export async function keepFile(file: KeptFile, bytes: ArrayBuffer): Promise<void> {
	const { recipe } = file;
	await (await library()).add({ ...file, family: recipe.model.family, metadata: readMetadata(bytes), previews: [] }, bytes);
}

async function encode(picture: Picture): Promise<Blob> {
	const scale = Math.min(1, PREVIEW_SIDE / Math.max(picture.width, picture.height));
	const bitmap = await createImageBitmap(new ImageData(new Uint8ClampedArray(picture.data), picture.width, picture.height));
	const canvas = new OffscreenCanvas(Math.round(picture.width * scale), Math.round(picture.height * scale));
	canvas.getContext('2d')?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
	bitmap.close();
	return canvas.convertToBlob({ type: 'image/png' });
}

/** `strip`: `seed/strength` → picture. They go to the run's result. */
export async function keepPreviews(run: string, strip: ReadonlyMap<string, Picture>): Promise<void> {
	if (strip.size === 0) return;
	const shelf = await library();
	const result = (await shelf.list()).find((entry) => entry.run === run && entry.role === 'result');
	if (!result) return;
	const previews: StoredPreview[] = [];
	for (const [key, picture] of strip) {
		const [seed = 0, strength = 0] = key.split('/').map(Number);
		previews.push({ seed, strength, png: await encode(picture) });
	}
	await shelf.update(result.id, { previews });
}
