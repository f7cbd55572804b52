/**
 * One LoRA as an archive for Civitai and for WebUI's folder: the model, previews whose PNGs say how they were drawn, a description in both
 * languages, WebUI's card settings and the recipe. The model's bytes are referred to, not copied.
 */
import { addPngText, readPngText } from '../../formats/png-text';
import { writeLoraTag, writeParameters } from '../../formats/webui';
import { zip, type ZipFile } from '../../formats/zip';
import { SAMPLER_NAMES } from '../../recipe/plot-labels';
import type { LibraryEntry, StoredPreview } from '../../storage/library';
import { readHeader } from '../picture/header';
import { description } from './description';
import { stem } from './lineage';

const KEYWORD = 'parameters';

/** `parameters` of a picture of the run's own strip; null when nothing is known about how it was drawn. */
export function previewParameters(entry: LibraryEntry, preview: StoredPreview, size: { width: number; height: number }): string | null {
	const { recipe } = entry;
	if (!recipe || preview.added) return null;
	const { prompt, negative, steps, cfg, sampler } = recipe.preview;
	const tag = writeLoraTag(stem(entry.name), preview.strength);
	return writeParameters([prompt, tag].filter((text) => text !== '').join(' '), negative, [
		['Steps', steps],
		['Sampler', SAMPLER_NAMES[sampler]],
		['CFG scale', cfg],
		['Seed', preview.seed],
		['Size', `${size.width}x${size.height}`],
		['Model', recipe.model.name.replace(/\.safetensors$/, '')],
		['RNG', 'NV'],
		['Version', 'Utsushi']
	]);
}

/** The preview with its generation data; one that brought its own keeps that. */
export async function labelled(entry: LibraryEntry, preview: StoredPreview): Promise<Blob> {
	const png = new Uint8Array(await preview.png.arrayBuffer());
	const header = readHeader(png);
	if (header?.kind !== 'png' || readPngText(png).has(KEYWORD)) return preview.png;
	const text = previewParameters(entry, preview, header);
	return text === null ? preview.png : new Blob([new Uint8Array(addPngText(png, [[KEYWORD, text]]))], { type: 'image/png' });
}

/** Only what every file system takes, and no path. */
function fileStem(name: string): string {
	return stem(name).replace(/[/\\:*?"<>|]/g, '_');
}

function previewName(preview: StoredPreview, index: number): string {
	const number = String(index + 1).padStart(2, '0');
	return preview.added ? `${number}.png` : `${number}-seed${preview.seed}-strength${preview.strength}.png`;
}

/** The cover first: the shop shows it first. */
export function inOrder(entry: LibraryEntry): StoredPreview[] {
	const cover = entry.previews[entry.cover];
	return cover ? [cover, ...entry.previews.filter((preview) => preview !== cover)] : entry.previews;
}

/** WebUI's own card settings, beside the model under its name. */
export function cardSettings(entry: LibraryEntry): Record<string, string | number> {
	return {
		description: entry.notes,
		'sd version': entry.family === 'sdxl' ? 'SDXL' : entry.family === 'unknown' ? 'Unknown' : 'SD1',
		'activation text': entry.trigger,
		'preferred weight': entry.strength ?? 0,
		notes: entry.tags.join(', ')
	};
}

function text(content: string, type = 'text/plain'): Blob {
	return new Blob([content], { type });
}

/** @param model the file itself, as the library reads it. Errors: RangeError from 4 GB on */
export async function release(entry: LibraryEntry, model: Blob, now: Date): Promise<Blob> {
	const name = fileStem(entry.name);
	const previews = await Promise.all(inOrder(entry).map((preview) => labelled(entry, preview)));
	const files: ZipFile[] = [
		{ name: `${name}.safetensors`, content: model },
		...previews.slice(0, 1).map((content) => ({ name: `${name}.png`, content })),
		...inOrder(entry).map((preview, i) => ({ name: `previews/${previewName(preview, i)}`, content: previews[i] ?? preview.png })),
		{ name: 'description.md', content: text(description(entry), 'text/markdown') },
		{ name: `${name}.json`, content: text(JSON.stringify(cardSettings(entry), null, '\t'), 'application/json') }
	];
	if (entry.recipe) files.push({ name: 'recipe.json', content: text(JSON.stringify(entry.recipe, null, '\t'), 'application/json') });
	return zip(files, now);
}
