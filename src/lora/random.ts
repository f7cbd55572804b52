/**
 * Counter-based random numbers (Philox 4×32-10): number i of a stream depends on (seed, stream, i) alone, so any part can be drawn in any order,
 * on any machine, with the same bits. Used for factor initialisation and timesteps; noise on the GPU uses the same generator.
 * Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
 */

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;

/** Upper 32 bits of the product of two u32. Every sum below stays under 2^32. */
function mulHigh(a: number, b: number): number {
	const aLow = a & 0xffff;
	const aHigh = a >>> 16;
	const bLow = b & 0xffff;
	const bHigh = b >>> 16;
	const low = Math.imul(aLow, bLow) >>> 0;
	const mid = (Math.imul(aHigh, bLow) >>> 0) + (low >>> 16);
	const mid2 = (Math.imul(aLow, bHigh) >>> 0) + (mid & 0xffff);
	return (Math.imul(aHigh, bHigh) + (mid >>> 16) + (mid2 >>> 16)) >>> 0;
}

/** Four u32 into `out`, for a counter of four u32 and a key of two: a full-size network takes five million of these before its first step. */
function draw(out: Uint32Array, c0: number, c1: number, c2: number, c3: number, k0: number, k1: number): void {
	for (let round = 0; round < 10; round++) {
		const h0 = mulHigh(M0, c0);
		const h1 = mulHigh(M1, c2);
		const l0 = Math.imul(M0, c0);
		const l1 = Math.imul(M1, c2);
		c0 = h1 ^ c1 ^ k0;
		c1 = l1;
		c2 = h0 ^ c3 ^ k1;
		c3 = l0;
		k0 = (k0 + 0x9e3779b9) | 0;
		k1 = (k1 + 0xbb67ae85) | 0;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

/** Four u32 for one counter of four u32 and a key of two. */
export function philox(counter: readonly [number, number, number, number], key: readonly [number, number]): [number, number, number, number] {
	const four = new Uint32Array(4);
	draw(four, ...counter, ...key);
	return [four[0] ?? 0, four[1] ?? 0, four[2] ?? 0, four[3] ?? 0];
}

/** Low and high 32 bits of a seed (a non-negative integer up to 2^53). */
export function seedKey(seed: number): [number, number] {
	return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
}

/** A stream of numbers in [0, 1) with 24 random bits each, exact in f32. */
export class UniformStream {
	readonly #key: [number, number];
	readonly #stream: [number, number];

	/** @param stream Two numbers that tell this stream from the others of the same seed. */
	constructor(seed: number, stream: readonly [number, number]) {
		this.#key = seedKey(seed);
		this.#stream = [stream[0] >>> 0, stream[1] >>> 0];
	}

	/** Numbers `first … first + count - 1` of the stream. */
	take(first: number, count: number): Float64Array {
		const out = new Float64Array(count);
		const four = new Uint32Array(4);
		const [k0, k1] = this.#key;
		const [s0, s1] = this.#stream;
		let block = -1;
		for (let i = 0; i < count; i++) {
			const at = first + i;
			if (at >>> 2 !== block) {
				block = at >>> 2;
				draw(four, block, 0, s0, s1, k0, k1);
			}
			out[i] = ((four[at & 3] ?? 0) >>> 8) * 2 ** -24;
		}
		return out;
	}
}
