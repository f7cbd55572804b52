/**
 * A folder of pictures as training samples: captions, crops into buckets, mirror images, pairs by name.
 *
 * Rules (spec §5)
 * - Caption: the trigger, then the text of `X.txt` (or `X.caption`), or the tags of the file's name up to its first `_id_`. TrainTrain begins a caption without a trigger
 *   with a bare comma; here it begins with its first word.
 * - Pairs (Multi-ADDifT): `X<suffix>.ext` is the target of `X.ext` in the same folder. Pictures of different size are first brought to the smaller sides of both.
 *   Both then go through the very same crops.
 * - A mirror image has its own mask, mirrored with it (TrainTrain turns masks along the wrong axis).
 */
import { bucketsOf, bucketSizes, cropPlan } from './dataset-buckets';
import type { BucketSize } from './dataset-buckets';
import { fitted, mirrored, resized } from './dataset-pictures';
import type { Picture } from './events';
import type { DatasetSettings } from '../recipe/recipe';

/** A picture of the folder; `name` is its path inside it with `/`, `text` what the companion file says. */
export interface FolderPicture {
	readonly name: string;
	readonly picture: Picture;
	readonly text?: string | undefined;
}

/** Files of a data set, by the ends of their names. */
export const PICTURE_ENDINGS: readonly string[] = ['jpg', 'jpeg', 'png', 'gif', 'tif', 'tiff', 'bmp', 'webp', 'pcx', 'ico'];

type CropSettings = Pick<DatasetSettings, 'bucketStep' | 'minSide' | 'maxRatio' | 'repeats' | 'subImages' | 'mirror' | 'upscale'>;

function splitName(name: string): { stem: string; ending: string } {
	const dot = name.lastIndexOf('.');
	return dot > name.lastIndexOf('/') ? { stem: name.slice(0, dot), ending: name.slice(dot) } : { stem: name, ending: '' };
}

export function captionOf({ name, text }: Pick<FolderPicture, 'name' | 'text'>, { trigger, captions }: Pick<DatasetSettings, 'trigger' | 'captions'>): string {
	if (captions === 'files') return [trigger, text ?? ''].filter((part) => part !== '').join(', ');
	const file = splitName(name).stem.split('/').at(-1) ?? '';
	const tags = (file.split('_id_')[0] ?? '').replaceAll('_', ',');
	return [trigger, tags].filter((part) => part !== '').join(',');
}

export interface NamedPair {
	readonly original: FolderPicture;
	readonly target: FolderPicture;
}

/** Pairs by suffix, in the order of the originals. */
export function pairsOf(pictures: readonly FolderPicture[], suffix: string): NamedPair[] {
	const byName = new Map(pictures.map((picture) => [picture.name, picture]));
	return pictures.flatMap((original) => {
		const { stem, ending } = splitName(original.name);
		const target = suffix === '' ? undefined : byName.get(`${stem}${suffix}${ending}`);
		return target ? [{ original, target }] : [];
	});
}

/** Both of a pair in the smaller sides of both. */
export function sameSize({ original, target }: NamedPair): [Picture, Picture] {
	const [a, b] = [original.picture, target.picture];
	if (a.width === b.width && a.height === b.height) return [a, b];
	const size = { width: Math.min(a.width, b.width), height: Math.min(a.height, b.height) };
	return [resized(a, size, 'lanczos'), resized(b, size, 'lanczos')];
}

/** One size of a data set and what is in it. */
export interface SampleBucket<T> {
	readonly size: BucketSize;
	readonly samples: readonly T[];
}

/** Sizes a picture of the folder is trained in. */
function sizesOf(picture: BucketSize, settings: CropSettings, resolution: BucketSize): BucketSize[] {
	const { bucketStep, minSide, maxRatio } = settings;
	return bucketsOf(picture, bucketSizes({ resolution, step: bucketStep, minSide, maxRatio }), settings);
}

/** Sizes that occur, without touching a pixel: for the memory estimate. */
export function sizesUsed(pictures: readonly BucketSize[], settings: CropSettings, resolution: BucketSize): BucketSize[] {
	const found = new Map(pictures.flatMap((picture) => sizesOf(picture, settings, resolution).map((size) => [`${size.width}x${size.height}`, size] as const)));
	return [...found.values()];
}

/**
 * All samples by size. `make` gets pictures that were cropped alike (one, or the two of a pair) and returns the sample; a mirror image and each repetition of a crop
 * are samples of their own, but a repetition shares what `make` returned.
 */
export async function bucketed<T>(
	groups: readonly { readonly pictures: readonly Picture[]; readonly index: number }[],
	settings: CropSettings,
	resolution: BucketSize,
	make: (pictures: readonly Picture[], index: number) => Promise<T>
): Promise<SampleBucket<T>[]> {
	const buckets = new Map<string, { size: BucketSize; samples: T[] }>();
	for (const { pictures, index } of groups) {
		const first = pictures[0];
		if (!first) continue;
		for (const size of sizesOf(first, settings, resolution)) {
			const key = `${size.width}x${size.height}`;
			const bucket = buckets.get(key) ?? { size, samples: [] };
			buckets.set(key, bucket);
			const crops = pictures.map((picture) => fitted(picture, size, cropPlan(picture, size)));
			for (const variant of settings.mirror ? [crops, crops.map(mirrored)] : [crops]) {
				const sample = await make(variant, index);
				for (let i = 0; i < settings.repeats; i++) bucket.samples.push(sample);
			}
		}
	}
	return [...buckets.values()];
}
