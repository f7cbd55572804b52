/**
 * Which pictures step k sees, when there are several and of several sizes.
 *
 * Rules (spec §5.6)
 * - A batch holds pictures of one size. An epoch shows every picture once: the batches of all sizes, each size shuffled within itself, in a random order.
 * - A step has a fixed number of items, so a size whose pictures do not fill its last batch begins again with the first of the epoch's order.
 * - Everything is drawn by counters from the seed: step k is the same whatever came before, also in a run that goes on later.
 */
import { UniformStream } from '../lora/random';

const ORDER_STREAM = 0x6f726465;

export interface Batch {
	readonly bucket: number;
	/** Indices into the bucket, as many as the batch holds. */
	readonly items: readonly number[];
}

export interface BatchOrderOptions {
	/** Pictures of each bucket. */
	readonly sizes: readonly number[];
	readonly batch: number;
	readonly seed: number;
}

/** Fisher–Yates with given numbers in [0, 1). */
function shuffled<T>(items: readonly T[], draws: Float64Array): T[] {
	const out = [...items];
	for (let i = out.length - 1; i > 0; i--) {
		const j = Math.floor((draws[i] ?? 0) * (i + 1));
		[out[i], out[j]] = [out[j] as T, out[i] as T];
	}
	return out;
}

function epochOf({ sizes, batch, seed }: BatchOrderOptions, epoch: number): Batch[] {
	const stream = new UniformStream(seed, [ORDER_STREAM, epoch]);
	let at = 0;
	const take = (count: number): Float64Array => {
		const draws = stream.take(at, count);
		at += count;
		return draws;
	};
	const batches = sizes.flatMap((size, bucket) => {
		const order = shuffled(
			Array.from({ length: size }, (_, i) => i),
			take(size)
		);
		return Array.from({ length: Math.ceil(size / batch) }, (_, b) => ({
			bucket,
			items: Array.from({ length: batch }, (_, i) => order[(b * batch + i) % size] ?? 0)
		}));
	});
	return shuffled(batches, take(batches.length));
}

/** @returns the batch of step k (from 0). @throws RangeError when there are no pictures */
export function batchOrder(options: BatchOrderOptions): (k: number) => Batch {
	const perEpoch = options.sizes.reduce((sum, size) => sum + Math.ceil(size / options.batch), 0);
	if (perEpoch === 0) throw new RangeError('There are no pictures to train on.');
	let known: { epoch: number; batches: Batch[] } | undefined;
	return (k) => {
		const epoch = Math.floor(k / perEpoch);
		if (known?.epoch !== epoch) known = { epoch, batches: epochOf(options, epoch) };
		return known.batches[k % perEpoch] as Batch;
	};
}
