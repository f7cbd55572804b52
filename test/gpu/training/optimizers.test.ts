/**
 * Fifty steps of every optimizer against its own library (tools/optimizer-reference/trajectories.py), with a cosine rate and a changing loss scale.
 *
 * Tolerance: the reference is float64. Every step rounds the value to 6e-8 of itself, and the update to about 1e-7 of itself; running means carry that on, which 2e-6 a step of the way
 * travelled allows for. Estimated distances rest on p0 − p, whose digits are few while it is small: Prodigy's own float32 run ends 3.2e-4 away from its float64 run (ours: 3.3e-4).
 * Where the update is a sign, a few numbers whose mean passes 0 within rounding may step the other way. With 8-bit state, a number between two codes may be rounded to the other, which is a few
 * percent of it: nearly all stay within 1 % of the way.
 */
import { describe, expect, it } from 'vitest';
import { fileSource } from '../../../src/formats/node';
import { openSafetensors } from '../../../src/formats/safetensors';
import { FactorStore, type FactorEntry } from '../../../src/kernels/factors';
import { createOptimizer } from '../../../src/kernels/optimizer';
import { dynamicCodes } from '../../../src/kernels/optimizer-codes';
import type { OptimizerSettings } from '../../../src/recipe/optimizers';
import { learningRateAt } from '../../../src/recipe/rates';
import { openTestGpu } from '../harness';

const STEPS = 50;
/** Ranks 5 and 6 are stored with 8 rows or columns, as networks do. */
const ENTRIES: readonly FactorEntry[] = [
	{ name: 'a', shape: [5, 37], storedShape: [8, 37] },
	{ name: 'b', shape: [61, 5], storedShape: [61, 8] },
	{ name: 'c', shape: [6, 63], storedShape: [8, 63] },
	{ name: 'd', shape: [67, 70] }
];
const KEPT: Readonly<Record<string, readonly number[]>> = { a: [1, 10, 50], b: [1, 10, 50], c: [1, 10, 50], d: [50] };

/** Fractions of 2^-24 in [-0.5, 0.5), from a 32-bit mixer; as in trajectories.py. */
function noise(count: number, seed: number): Float64Array {
	return Float64Array.from({ length: count }, (_, i) => {
		let x = (Math.imul(i, 0x9e3779b9) + Math.imul(seed, 0x85ebca6b)) >>> 0;
		x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
		x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
		x = (x ^ (x >>> 16)) >>> 0;
		return (x >>> 8) / 2 ** 24 - 0.5;
	});
}

const countOf = ({ shape }: FactorEntry): number => shape.reduce((a, b) => a * b, 1);

function gradient(step: number, index: number, count: number): Float32Array {
	const constant = noise(count, 2000 + index);
	return Float32Array.from(noise(count, 10 * step + index), (x, i) => (x + (constant[i] ?? 0)) / 16);
}

/** In stored shape, times the loss scale. */
function stored(entry: FactorEntry, data: Float32Array, lossScale: number): Float32Array<ArrayBuffer> {
	const [rows = 0, columns = 0] = entry.shape;
	const [storedRows = 0, storedColumns = 0] = entry.storedShape ?? entry.shape;
	const padded = new Float32Array(storedRows * storedColumns);
	for (let i = 0; i < rows * columns; i++) padded[Math.floor(i / columns) * storedColumns + (i % columns)] = (data[i] ?? 0) * lossScale;
	return padded;
}

interface Case {
	name: string;
	settings: OptimizerSettings;
	rate: number;
	distance?: number;
}

const file = await openSafetensors(await fileSource('test/fixtures/training/optimizers.safetensors'));
const CASES = JSON.parse(file.metadata['cases'] ?? '[]') as Case[];

const SIGNS = ['lion', 'tiger', 'dAdaptLion'];

/** The share of numbers that are off by more than `tolerance` of the way from start to end. */
function shareOff(ours: Float32Array, expected: Float32Array, begin: Float64Array, tolerance: number, steps: number): number {
	const way = Math.max(...expected.map((x, i) => Math.abs(x - (begin[i] ?? 0))));
	return ours.filter((x, i) => !(Math.abs(x - (expected[i] ?? NaN)) <= tolerance * way + (steps + 4) * 6e-8 * Math.abs(x))).length / ours.length;
}

describe('fifty steps of', () => {
	it.each(CASES)('$name', async ({ name, settings, rate, distance }) => {
		const gpu = await openTestGpu();
		const store = await new FactorStore(gpu, ENTRIES, { trainable: true, optimizer: settings }).ready();
		const optimizer = await createOptimizer(gpu, store, settings);
		const eight = 'stateBits' in settings && settings.stateBits === 8;
		const tolerance = eight ? 0.01 : distance === undefined ? 2e-6 * STEPS : 4e-5 * STEPS;
		const allowed = eight ? 0.01 : SIGNS.includes(settings.kind) ? 0.002 : 0;
		for (const [i, entry] of ENTRIES.entries()) await store.write(entry.name, Float32Array.from(noise(countOf(entry), 1000 + i)));
		const compare = async (key: string, tensor: string, steps: number): Promise<void> => {
			const [ours, expected] = [(await store.readAll()).get(key) ?? new Float32Array(0), await file.readFloat32(`${name}.${tensor}`)];
			const index = ENTRIES.findIndex((entry) => entry.name === key);
			expect(ours.length).toBe(expected.length);
			expect(shareOff(ours, expected, noise(ours.length, 1000 + index), tolerance, steps), tensor).toBeLessThanOrEqual(allowed);
		};
		for (let k = 0; k < STEPS; k++) {
			// Powers of two as the trainer uses them, changing on the way.
			const lossScale = 2 ** (k % 5);
			for (const [i, entry] of ENTRIES.entries()) {
				const place = store.gradient(entry.name);
				if (!place) throw new Error(`There is no gradient of ${entry.name}.`);
				gpu.device.queue.writeBuffer(place.buffer, place.offset, stored(entry, gradient(k + 1, i, countOf(entry)), lossScale));
			}
			optimizer.run({ learningRate: learningRateAt(k, rate, STEPS, { kind: 'cosine', warmup: 0 }), lossScale });
			for (const { name: key } of ENTRIES) if (KEPT[key]?.includes(k + 1)) await compare(key, `${key}.${k + 1}`, k + 1);
		}
		expect(await optimizer.skipped()).toBe(0);
		const state = await store.readState();
		if (distance !== undefined) {
			const status = new Float32Array(state.state['status']?.slice().buffer ?? new ArrayBuffer(0));
			expect(Math.abs((status[9] ?? NaN) / distance - 1)).toBeLessThan(1e-3);
		}
		const logical = ENTRIES.reduce((sum, entry) => sum + countOf(entry), 0);
		expect(state.values.filter((x) => x !== 0).length, 'padding stays zero').toBeLessThanOrEqual(logical);
		if (settings.kind === 'scheduleFreeAdamW') {
			optimizer.evaluation(true);
			await compare('a', 'a.average', STEPS);
			await expect(store.readState()).rejects.toThrow('averaged');
			optimizer.evaluation(false);
			expect((await store.readState()).values).toEqual(state.values);
		}
		optimizer.destroy();
		store.destroy();
	});
});

it('the values of 8-bit state are those of bitsandbytes', async () => {
	for (const signed of [true, false]) {
		const expected = await file.readFloat32(signed ? 'codes.signed' : 'codes.unsigned');
		dynamicCodes(signed).forEach((x, i) => expect(x).toBeCloseTo(expected[i] ?? NaN, 6));
	}
});
