/** Puts results of a run into the library: the file at once, the pictures of its strip when they are all there. */
import type { Recipe } from '../../recipe/recipe';
import type { Picture } from '../../service/protocol';
import type { Library, StoredPreview } from '../../storage/library';

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

/** @returns its place in the library @param again the run was taken up from a snapshot: what it made between that and its interruption comes a second time, and is here already */
export async function keepFile(file: KeptFile, bytes: ArrayBuffer, again = false): Promise<string> {
	const { recipe, run, role, step, name } = file;
	const shelf = await library();
	const known = again ? (await shelf.list()).find((kept) => kept.run === run && kept.role === role && kept.step === step && kept.name === name) : undefined;
	if (known) return known.id;
	const about = { family: recipe.model.family, baseModel: recipe.model.name, trigger: recipe.mode === 'lora' ? recipe.dataset.trigger : '' };
	return (await shelf.add({ ...file, ...about, metadata: readMetadata(bytes), previews: [] }, bytes)).id;
}

/** `strip`: `seed/strength` → picture. They go to the run's result. */
export async function keepPreviews(run: string, strip: ReadonlyMap<string, Picture>): Promise<void> {
	if (strip.size === 0) return;
	const shelf = await library();
	const result = (await shelf.list()).find((entry) => entry.run === run && entry.role === 'result');
	if (!result) return;
	const { encodePicture } = await import('./pictures');
	const previews: StoredPreview[] = [];
	for (const [key, picture] of strip) {
		const [seed = 0, strength = 0] = key.split('/').map(Number);
		previews.push({ seed, strength, png: await encodePicture(picture) });
	}
	// The strength people mean when they name none, first seed: what the LoRA looks like.
	const cover = previews.findIndex(({ strength }) => strength === 1);
	await shelf.update(result.id, { previews, cover: Math.max(0, cover) });
}

/** One more picture for a LoRA, which becomes its cover. The PNG may say how it was drawn (`parameters`). */
export async function addPreview(id: string, png: Blob, seed = -1, strength = 1): Promise<void> {
	const shelf = await library();
	const entry = (await shelf.list()).find((known) => known.id === id);
	if (!entry) return;
	const previews: StoredPreview[] = [...entry.previews, { seed, strength, png, added: true }];
	await shelf.update(id, { previews, cover: previews.length - 1 });
}
