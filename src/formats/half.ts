/**
 * Half, bfloat16 and 8-bit floats as bits.
 * The rule: narrowing rounds to the nearest, ties to even, as PyTorch and GPUs do; widening is exact.
 * Sources: IEEE 754-2008 binary16; "FP8 formats for deep learning" (E4M3: bias 7, no infinities, 0x7f is NaN).
 */

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** Bits of the half nearest to `value`; beyond 65504 (from 65520 on) infinity, NaN stays NaN. */
export function halfBits(value: number): number {
	float[0] = value;
	return narrow(bits[0] ?? 0);
}

function narrow(wide: number): number {
	const sign = (wide >>> 16) & 0x8000;
	const abs = wide & 0x7fffffff;
	if (abs >= 0x47800000) return sign | (abs > 0x7f800000 ? 0x7e00 : 0x7c00);
	if (abs >= 0x38800000) return sign | ((abs + 0xfff + ((abs >>> 13) & 1) - 0x38000000) >>> 13);
	if (abs < 0x33000000) return sign;
	// Subnormal: the mantissa with its hidden one, shifted so that one unit is 2^-24.
	const mantissa = (abs & 0x7fffff) | 0x800000;
	const shift = 126 - (abs >>> 23);
	const quotient = mantissa >>> shift;
	const rest = mantissa & ((1 << shift) - 1);
	const half = 1 << (shift - 1);
	return sign | (quotient + (rest > half || (rest === half && (quotient & 1) === 1) ? 1 : 0));
}

let halves: Float32Array | undefined;

/** All 65536 halves as floats; 256 KiB, made once. */
export function halfTable(): Float32Array {
	if (halves) return halves;
	halves = new Float32Array(65536);
	for (let h = 0; h < 65536; h++) {
		const sign = h & 0x8000 ? -1 : 1;
		const exponent = (h >>> 10) & 31;
		const mantissa = h & 1023;
		halves[h] = exponent === 31 ? (mantissa ? NaN : sign * Infinity) : exponent ? sign * (1024 + mantissa) * 2 ** (exponent - 25) : sign * mantissa * 2 ** -24;
	}
	return halves;
}

/** The number that half `bits16` stands for. */
export function halfValue(bits16: number): number {
	return halfTable()[bits16 & 0xffff] ?? 0;
}

/** Widens halves. */
export function halvesToFloats(source: Uint16Array): Float32Array {
	const table = halfTable();
	const out = new Float32Array(source.length);
	for (let i = 0; i < source.length; i++) out[i] = table[source[i] ?? 0] ?? 0;
	return out;
}

/** Narrows floats to halves. */
export function floatsToHalves(source: Float32Array): Uint16Array {
	const wide = new Uint32Array(source.buffer, source.byteOffset, source.length);
	const out = new Uint16Array(source.length);
	for (let i = 0; i < source.length; i++) out[i] = narrow(wide[i] ?? 0);
	return out;
}

/** Widens bfloat16: its bits are the upper half of a float. */
export function bfloatsToFloats(source: Uint16Array): Float32Array {
	const wide = new Uint32Array(source.length);
	for (let i = 0; i < source.length; i++) wide[i] = (source[i] ?? 0) << 16;
	return new Float32Array(wide.buffer);
}

/** Widens 8-bit floats E4M3 (the "fn" variant: finite, ±448). */
export function float8ToFloats(source: Uint8Array): Float32Array {
	const table = Float32Array.from({ length: 256 }, (_, b) => {
		const exponent = (b >>> 3) & 15;
		const mantissa = b & 7;
		if (exponent === 15 && mantissa === 7) return NaN;
		return (b & 0x80 ? -1 : 1) * (exponent ? (8 + mantissa) * 2 ** (exponent - 10) : mantissa * 2 ** -9);
	});
	return Float32Array.from(source, (b) => table[b] ?? 0);
}

/** Narrows floats to bfloat16. NaN stays NaN. */
export function floatsToBfloats(source: Float32Array): Uint16Array {
	const wide = new Uint32Array(source.buffer, source.byteOffset, source.length);
	const out = new Uint16Array(source.length);
	for (let i = 0; i < source.length; i++) {
		const bits32 = wide[i] ?? 0;
		out[i] = (bits32 & 0x7fffffff) > 0x7f800000 ? (bits32 >>> 16) | 0x40 : (bits32 + 0x7fff + ((bits32 >>> 16) & 1)) >>> 16;
	}
	return out;
}
