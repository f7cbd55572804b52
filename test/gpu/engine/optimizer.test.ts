import { describe, expect, test } from 'vitest';
import { createOptimizer } from '../../../src/kernels/optimizer';
import { FactorStore, type FactorEntry } from '../../../src/kernels/factors';
import { upload } from '../../../src/gpu/buffers';
import type { OptimizerSettings } from '../../../src/recipe/recipe';
import { openTestGpu, randomFloats, relativeError } from '../harness';

const LION: OptimizerSettings = { kind: 'lion', beta1: 0.9, beta2: 0.99, weightDecay: 0.02 };
const ADAMW: OptimizerSettings = { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 };
const ENTRIES: FactorEntry[] = [
	{ name: 'a.down', shape: [2, 37], storedShape: [4, 40] },
	{ name: 'a.up', shape: [60, 2], storedShape: [60, 4] },
	{ name: 'b.down', shape: [16, 72] }
];

/** One step in float64, as PyTorch's AdamW and Lion's paper write it. */
function step64(s: OptimizerSettings, p: Float64Array, m: Float64Array, v: Float64Array, g: Float32Array, lr: number, t: number): void {
	for (let i = 0; i < p.length; i++) {
		const gi = g[i] ?? 0;
		const mi = m[i] ?? 0;
		const decayed = (p[i] ?? 0) * (1 - lr * s.weightDecay);
		if (s.kind === 'lion') {
			p[i] = decayed - lr * Math.sign(s.beta1 * mi + (1 - s.beta1) * gi);
			m[i] = s.beta2 * mi + (1 - s.beta2) * gi;
		} else {
			m[i] = s.beta1 * mi + (1 - s.beta1) * gi;
			v[i] = s.beta2 * (v[i] ?? 0) + (1 - s.beta2) * gi * gi;
			const mHat = (m[i] ?? 0) / (1 - s.beta1 ** t);
			const vHat = (v[i] ?? 0) / (1 - s.beta2 ** t);
			p[i] = decayed - (lr * mHat) / (Math.sqrt(vHat) + s.epsilon);
		}
	}
}

/** Puts gradients where the graph would have written them, in stored shape. */
function setGradients(gpu: Awaited<ReturnType<typeof openTestGpu>>, store: FactorStore, name: string, entry: FactorEntry, data: Float32Array): void {
	const [rows = 0, columns = 0] = entry.shape;
	const [storedRows = 0, storedColumns = 0] = entry.storedShape ?? entry.shape;
	const padded = new Float32Array(storedRows * storedColumns);
	for (let r = 0; r < rows; r++) padded.set(data.subarray(r * columns, (r + 1) * columns), r * storedColumns);
	const place = store.gradient(name);
	if (!place) throw new Error(name);
	upload(gpu, place.buffer, place.offset, padded);
}

describe.each([LION, ADAMW])('$kind', (settings) => {
	test('follows a float64 recomputation over 20 steps, with loss scale and decay', async () => {
		const gpu = await openTestGpu();
		const store = await new FactorStore(gpu, ENTRIES, { trainable: true, optimizer: settings.kind }).ready();
		const optimizer = await createOptimizer(gpu, store, settings);
		const expected = new Map<string, { p: Float64Array; m: Float64Array; v: Float64Array }>();
		for (const [i, entry] of ENTRIES.entries()) {
			const count = entry.shape.reduce((a, b) => a * b, 1);
			const start = randomFloats(count, i + 1);
			await store.write(entry.name, start);
			expected.set(entry.name, { p: Float64Array.from(start), m: new Float64Array(count), v: new Float64Array(count) });
		}
		for (let t = 1; t <= 20; t++) {
			const lr = 0.01 * Math.cos(t / 20);
			const lossScale = t < 10 ? 1024 : 512;
			for (const [i, entry] of ENTRIES.entries()) {
				const count = entry.shape.reduce((a, b) => a * b, 1);
				const g = randomFloats(count, 100 * t + i, 0.1);
				setGradients(
					gpu,
					store,
					entry.name,
					entry,
					g.map((x) => x * lossScale)
				);
				const state = expected.get(entry.name);
				if (state) step64(settings, state.p, state.m, state.v, g, lr, t);
			}
			optimizer.run({ learningRate: lr, step: t, lossScale });
		}
		const values = await store.readAll();
		for (const [name, { p }] of expected) expect(relativeError(values.get(name) ?? [], p), name).toBeLessThan(1e-5);
		expect(await optimizer.skipped()).toBe(0);

		const flat = (await store.readState()).values;
		const logical = ENTRIES.reduce((sum, entry) => sum + entry.shape.reduce((a, b) => a * b, 1), 0);
		expect(flat.filter((x) => x !== 0).length, 'padding stays zero').toBeLessThanOrEqual(logical);
		optimizer.destroy();
		store.destroy();
	});

	test.each([NaN, Infinity, -Infinity])('skips a step with a gradient of %d and counts it', async (bad) => {
		const gpu = await openTestGpu();
		const store = await new FactorStore(gpu, ENTRIES, { trainable: true, optimizer: settings.kind }).ready();
		const optimizer = await createOptimizer(gpu, store, settings);
		const entry = ENTRIES[2] as FactorEntry;
		const start = randomFloats(16 * 72, 5);
		await store.write(entry.name, start);
		const gradients = randomFloats(16 * 72, 6);
		gradients[1151] = bad;
		setGradients(gpu, store, entry.name, entry, gradients);
		optimizer.run({ learningRate: 0.01, step: 1, lossScale: 1 });
		expect((await store.readAll()).get(entry.name)).toEqual(start);
		expect(await optimizer.skipped()).toBe(1);

		gradients[1151] = 1;
		setGradients(gpu, store, entry.name, entry, gradients);
		optimizer.run({ learningRate: 0.01, step: 2, lossScale: 1 });
		expect((await store.readAll()).get(entry.name)).not.toEqual(start);
		expect(await optimizer.skipped()).toBe(1);
		optimizer.destroy();
		store.destroy();
	});

	test('a saved state goes on bit by bit', async () => {
		const gpu = await openTestGpu();
		const run = async (interrupt: boolean): Promise<Float32Array> => {
			let store = await new FactorStore(gpu, ENTRIES, { trainable: true, optimizer: settings.kind }).ready();
			let optimizer = await createOptimizer(gpu, store, settings);
			const entry = ENTRIES[0] as FactorEntry;
			await store.write(entry.name, randomFloats(74, 8));
			for (let t = 1; t <= 6; t++) {
				if (interrupt && t === 4) {
					const state = await store.readState();
					store.destroy();
					optimizer.destroy();
					store = await new FactorStore(gpu, ENTRIES, { trainable: true, optimizer: settings.kind }).ready();
					await store.writeState(state);
					optimizer = await createOptimizer(gpu, store, settings);
				}
				setGradients(gpu, store, entry.name, entry, randomFloats(74, t));
				optimizer.run({ learningRate: 0.01, step: t, lossScale: 1 });
			}
			const values = (await store.readState()).values;
			store.destroy();
			optimizer.destroy();
			return values;
		};
		expect(await run(true)).toEqual(await run(false));
	});
});
