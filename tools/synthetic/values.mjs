/**
 * Seeded random values in the stored type, fast enough for gigabytes: one table of normal values is made per spread, and tensors are filled with
 * stretches of it that begin at seeded places. Neighbouring values are independent; the same stretch comes back only far away.
 * Normal values: Box–Muller on mulberry32. fp8 is e4m3fn (4 exponent bits, bias 7, largest 448).
 */

const TABLE = 1 << 18;

/** @param {number} seed */
export function random(seed) {
	let state = seed >>> 0;
	return () => {
		state = (state + 0x6d2b79f5) >>> 0;
		let t = Math.imul(state ^ (state >>> 15), state | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
	};
}

const scratch = new DataView(new ArrayBuffer(4));

/** @param {number} x */
function floatBits(x) {
	scratch.setFloat32(0, x);
	return scratch.getUint32(0);
}

/**
 * Bits of the nearest value with `exponent` and `mantissa` bits, ties to even; too large ones become the largest.
 * @param {number} x @param {number} exponent @param {number} mantissa @param {number} largest
 */
function smallFloat(x, exponent, mantissa, largest) {
	const bias = 2 ** (exponent - 1) - 1;
	const sign = x < 0 || Object.is(x, -0) ? 1 << (exponent + mantissa) : 0;
	const magnitude = Math.min(Math.abs(x), largest);
	const power = Math.max(Math.floor(Math.log2(magnitude || Number.MIN_VALUE)), 1 - bias);
	const scaled = magnitude / 2 ** (power - mantissa);
	const floor = Math.floor(scaled);
	const rest = scaled - floor;
	const steps = floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0);
	// Subnormals have exponent field 0; a carry out of the mantissa lands in the exponent field by itself.
	return sign | (steps + (power + bias - 1) * 2 ** mantissa);
}

/** @type {Record<string, { dtype: string, array: Uint8ArrayConstructor | Uint16ArrayConstructor | Uint32ArrayConstructor, bits: (x: number) => number }>} */
const TYPES = {
	f32: { dtype: 'F32', array: Uint32Array, bits: floatBits },
	f16: { dtype: 'F16', array: Uint16Array, bits: (x) => smallFloat(x, 5, 10, 65504) },
	bf16: { dtype: 'BF16', array: Uint16Array, bits: (x) => (floatBits(x) + 0x7fff + ((floatBits(x) >>> 16) & 1)) >>> 16 },
	fp8: { dtype: 'F8_E4M3', array: Uint8Array, bits: (x) => smallFloat(x, 4, 3, 448) }
};

/** @param {string} type f32, f16, bf16 or fp8 @param {number} seed */
export function valueSource(type, seed) {
	const kind = TYPES[type];
	if (!kind) throw new Error(`There is no type "${type}": ${Object.keys(TYPES).join(', ')}.`);
	const next = random(seed);
	const normal = Float64Array.from({ length: TABLE }, () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()));
	const bytes = kind.array.BYTES_PER_ELEMENT;
	/** @type {Map<string, Uint8Array>} */
	const tables = new Map();
	/** @param {number} spread @param {number} mean */
	const table = (spread, mean) => {
		const key = `${spread} ${mean}`;
		let made = tables.get(key);
		if (!made) {
			const values = new kind.array(TABLE);
			for (let i = 0; i < TABLE; i++) values[i] = kind.bits(mean + spread * (spread === 0 ? 0 : (normal[i] ?? 0)));
			made = new Uint8Array(values.buffer);
			tables.set(key, made);
		}
		return made;
	};
	return {
		dtype: kind.dtype,
		bytes,
		/** The values of one tensor in pieces of at most the table's size. @param {number} count @param {number} spread @param {number} mean */
		*fill(count, spread, mean) {
			const from = table(spread, mean);
			for (let left = count; left > 0;) {
				const start = spread === 0 ? 0 : Math.floor(next() * TABLE);
				const n = Math.min(left, TABLE - start);
				yield from.subarray(start * bytes, (start + n) * bytes);
				left -= n;
			}
		}
	};
}
