/**
 * Aspect buckets: the few sizes that pictures of any shape are brought to, so that batches can be made of them.
 *
 * Rules (spec §5.3 and §5.4; S = shorter × longer side of the resolution)
 * - The largest buckets keep about S pixels and no side above the longer one; smaller ones (for further crops of a picture) fill the rest of the grid.
 * - A picture goes to the bucket with the nearest ratio of width to height. Its other crops take the nearest smaller buckets, none twice.
 */

export interface BucketSize {
	readonly width: number;
	readonly height: number;
}

/** Lengths in pixels. */
export interface BucketSettings {
	readonly resolution: BucketSize;
	/** Grid; 0: only the square of the shorter side. */
	readonly step: number;
	readonly minSide: number;
	/** Longer by shorter side, at most. */
	readonly maxRatio: number;
}

const ratioOf = ({ width, height }: BucketSize): number => width / height;

function sortedByRatio(sizes: readonly BucketSize[]): BucketSize[] {
	return [...sizes].sort((a, b) => ratioOf(a) - ratioOf(b) || a.width - b.width);
}

/** @returns the largest buckets and the smaller ones, by ratio */
export function bucketSizes({ resolution, step, minSide, maxRatio }: BucketSettings): { largest: BucketSize[]; smaller: BucketSize[] } {
	const short = Math.min(resolution.width, resolution.height);
	const long = Math.max(resolution.width, resolution.height);
	const pixels = short * long;
	const known = new Set<string>();
	const added = (into: BucketSize[], width: number, height: number): void => {
		const key = `${width}x${height}`;
		if (known.has(key)) return;
		known.add(key);
		into.push({ width, height });
	};
	const fits = (width: number, height: number): boolean => width / height <= maxRatio && height / width <= maxRatio;
	const largest: BucketSize[] = [];
	const smaller: BucketSize[] = [];
	added(largest, short, short);
	if (step <= 0) return { largest, smaller };
	const sides: number[] = [];
	for (let side = minSide; side <= long; side += step) sides.push(side);
	for (const width of sides) {
		const height = Math.min(long, Math.floor(pixels / width / step) * step);
		if (height <= 0 || !fits(width, height)) continue;
		added(largest, width, height);
		added(largest, height, width);
	}
	for (const width of sides) {
		for (const height of sides) {
			if (width * height > pixels || !fits(width, height)) continue;
			added(smaller, width, height);
			added(smaller, height, width);
		}
	}
	return { largest: sortedByRatio(largest), smaller: sortedByRatio(smaller) };
}

/** Index of the bucket with the nearest ratio among those not taken; -1 when all are. */
function nearestBucket(sizes: readonly BucketSize[], picture: BucketSize, taken: ReadonlySet<number>): number {
	let best = -1;
	let least = Infinity;
	sizes.forEach((size, i) => {
		const error = Math.abs(ratioOf(size) - ratioOf(picture));
		if (!taken.has(i) && error < least) [best, least] = [i, error];
	});
	return best;
}

/** The buckets of a picture: its own, then up to `subImages` smaller ones. Without `upscale` those the picture would have to grow for are left out. */
export function bucketsOf(
	picture: BucketSize,
	{ largest, smaller }: { readonly largest: readonly BucketSize[]; readonly smaller: readonly BucketSize[] },
	options: { readonly subImages: number; readonly upscale: boolean }
): BucketSize[] {
	const own = largest[nearestBucket(largest, picture, new Set())];
	const chosen = own ? [own] : [];
	const taken = new Set<number>();
	for (let i = 0; i < options.subImages; i++) {
		const next = nearestBucket(smaller, picture, taken);
		const size = smaller[next];
		if (!size) break;
		taken.add(next);
		chosen.push(size);
	}
	return options.upscale ? chosen : chosen.filter((size) => !mustGrow(picture, size));
}

/** Whether filling the bucket enlarges the picture: by the side that governs, as in `cropPlan`. */
function mustGrow(picture: BucketSize, size: BucketSize): boolean {
	return ratioOf(size) <= ratioOf(picture) ? picture.height < size.height : picture.width < size.width;
}

export interface CropPlan {
	/** Size the picture is scaled to. */
	readonly scaled: BucketSize;
	/** Upper left corner of the bucket's window in it. */
	readonly left: number;
	readonly top: number;
}

/** Half to even, as Python rounds. */
function roundEven(x: number): number {
	const low = Math.floor(x);
	return x - low === 0.5 ? low + (low % 2) : Math.round(x);
}

/** A wider picture is scaled to the bucket's height and cropped left and right, any other to its width and cropped above and below. */
export function cropPlan(picture: BucketSize, size: BucketSize): CropPlan {
	if (ratioOf(size) <= ratioOf(picture)) {
		const width = Math.max(size.width, Math.trunc((picture.width * size.height) / picture.height));
		return { scaled: { width, height: size.height }, left: roundEven((width - size.width) / 2), top: 0 };
	}
	const height = Math.max(size.height, Math.trunc((picture.height * size.width) / picture.width));
	return { scaled: { width: size.width, height }, left: 0, top: roundEven((height - size.height) / 2) };
}
