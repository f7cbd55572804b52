/**
 * Scaling, cropping and mirroring of 8-bit RGBA pictures for a data set.
 * Scaling is separable with the kernel stretched when the picture gets smaller (so nothing is skipped), rounded to 8 bits after each direction: what Pillow's
 * `resize` does with its default, the bicubic kernel of a = −0.5, and with Lanczos (a window of 3).
 */
import type { Picture } from './events';
import type { BucketSize, CropPlan } from './dataset-buckets';

type Kernel = 'bicubic' | 'lanczos';

function bicubic(x: number): number {
	const a = Math.abs(x);
	if (a < 1) return (1.5 * a - 2.5) * a * a + 1;
	return a < 2 ? ((-0.5 * a + 2.5) * a - 4) * a + 2 : 0;
}

function sinc(x: number): number {
	return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

const KERNELS: Record<Kernel, { f: (x: number) => number; support: number }> = {
	bicubic: { f: bicubic, support: 2 },
	lanczos: { f: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0), support: 3 }
};

interface Taps {
	readonly start: number;
	readonly weights: Float64Array;
}

function tapsOf(from: number, to: number, kernel: Kernel): Taps[] {
	const { f, support } = KERNELS[kernel];
	const ratio = from / to;
	const stretch = Math.max(1, ratio);
	const reach = support * stretch;
	return Array.from({ length: to }, (_, i) => {
		const centre = (i + 0.5) * ratio;
		const start = Math.max(0, Math.trunc(centre - reach + 0.5));
		const end = Math.min(from, Math.trunc(centre + reach + 0.5));
		const weights = Float64Array.from({ length: end - start }, (_unused, k) => f((start + k - centre + 0.5) / stretch));
		const sum = weights.reduce((a, b) => a + b, 0);
		return { start, weights: weights.map((w) => w / sum) };
	});
}

/** One direction: lines of `count` pixels, `step` apart, `lineStep` from one line to the next; all in pixels. */
function along(
	data: Uint8ClampedArray,
	taps: readonly Taps[],
	lines: number,
	from: { step: number; lineStep: number },
	to: { step: number; lineStep: number }
) {
	const out = new Uint8ClampedArray(4 * lines * taps.length);
	for (let line = 0; line < lines; line++) {
		taps.forEach(({ start, weights }, i) => {
			const at = 4 * (line * to.lineStep + i * to.step);
			for (let c = 0; c < 4; c++) {
				let sum = 0;
				for (let k = 0; k < weights.length; k++) sum += (weights[k] ?? 0) * (data[4 * (line * from.lineStep + (start + k) * from.step) + c] ?? 0);
				out[at + c] = sum;
			}
		});
	}
	return out;
}

export function resized(picture: Picture, { width, height }: BucketSize, kernel: Kernel = 'bicubic'): Picture {
	let { data } = picture;
	if (width !== picture.width) {
		const taps = tapsOf(picture.width, width, kernel);
		data = along(data, taps, picture.height, { step: 1, lineStep: picture.width }, { step: 1, lineStep: width });
	}
	if (height !== picture.height) {
		const taps = tapsOf(picture.height, height, kernel);
		data = along(data, taps, width, { step: width, lineStep: 1 }, { step: width, lineStep: 1 });
	}
	return { width, height, data };
}

function cropped(picture: Picture, left: number, top: number, { width, height }: BucketSize): Picture {
	const data = new Uint8ClampedArray(4 * width * height);
	for (let y = 0; y < height; y++) {
		const from = 4 * ((top + y) * picture.width + left);
		data.set(picture.data.subarray(from, from + 4 * width), 4 * y * width);
	}
	return { width, height, data };
}

/** The part of a picture that fills a bucket. */
export function fitted(picture: Picture, size: BucketSize, plan: CropPlan): Picture {
	return cropped(resized(picture, plan.scaled), plan.left, plan.top, size);
}

export function mirrored(picture: Picture): Picture {
	const { width, height } = picture;
	const pixels = new Uint32Array(picture.data.slice().buffer);
	for (let y = 0; y < height; y++) pixels.subarray(y * width, (y + 1) * width).reverse();
	return { width, height, data: new Uint8ClampedArray(pixels.buffer) };
}
