/**
 * Philox 4×32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), and the normal numbers that WebUI's "NV" noise
 * source makes of it: one Box–Muller sine per element. Integers are exact; only the last step is floating point.
 */

type Words = readonly [number, number, number, number];

/** High and low 32 bits of a·b. */
function multiply(a: number, b: number): readonly [number, number] {
	const product = BigInt(a) * BigInt(b);
	return [Number(product >> 32n), Number(product & 0xffffffffn)];
}

/** Ten rounds over a counter with a two-word key. All words are unsigned 32-bit. */
export function philox(counter: Words, key: readonly [number, number]): Words {
	let [c0, c1, c2, c3] = counter;
	let [k0, k1] = key;
	for (let round = 0; round < 10; round++) {
		const [high0, low0] = multiply(0xd2511f53, c0);
		const [high1, low1] = multiply(0xcd9e8d57, c2);
		[c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
		k0 = (k0 + 0x9e3779b9) >>> 0;
		k1 = (k1 + 0xbb67ae85) >>> 0;
	}
	return [c0, c1, c2, c3];
}

/** The standard normal number of element i in the tensor number `offset` of a stream. */
export function philoxNormal(offset: number, i: number, key: readonly [number, number]): number {
	const [g0, g1] = philox([offset >>> 0, 0, i, 0], key);
	const u = (g0 + 0.5) / 2 ** 32;
	const angle = ((g1 + 0.5) / 2 ** 32) * 2 * Math.PI;
	return Math.sqrt(-2 * Math.log(u)) * Math.sin(angle);
}
