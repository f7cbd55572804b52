/** What all optimizers promise: steps that are not finite change nothing and do not count, a saved state goes on bit by bit, padding stays zero. */
import { describe, expect, test } from 'vitest';
import { upload } from '../../../src/gpu/buffers';
import type { Gpu } from '../../../src/gpu/gpu';
import { FactorStore, type FactorEntry } from '../../../src/kernels/factors';
import { createOptimizer } from '../../../src/kernels/optimizer';
import type { Optimizer } from '../../../src/kernels/optimizer';
import { cutRanges } from '../../../src/kernels/optimizer-commands';
import { takesRateFactors } from '../../../src/kernels/optimizer-params';
import { factoredTables } from '../../../src/kernels/factored-tables';
import { factorMemory } from '../../../src/kernels/optimizer-state';
import { layoutFactors } from '../../../src/kernels/factor-layout';
import { defaultOptimizer, OPTIMIZER_KINDS } from '../../../src/recipe/optimizers';
import type { OptimizerSettings } from '../../../src/recipe/optimizers';
import { openTestGpu, randomFloats } from '../harness';

const ENTRIES: FactorEntry[] = [
	{ name: 'a.down', shape: [2, 37], storedShape: [4, 40] },
	{ name: 'a.up', shape: [60, 2], storedShape: [60, 4] }
];
const UP = ENTRIES[1] as FactorEntry;

const ALL: { name: string; settings: OptimizerSettings }[] = [
	...OPTIMIZER_KINDS.map((kind) => ({ name: kind, settings: defaultOptimizer(kind) })),
	{ name: 'lion, 8 bit', settings: { ...defaultOptimizer('lion'), stateBits: 8 } },
	{ name: 'adamw, 8 bit', settings: { ...defaultOptimizer('adamw'), stateBits: 8 } }
];

interface Made {
	store: FactorStore;
	optimizer: Optimizer;
}

async function make(gpu: Gpu, settings: OptimizerSettings, entries = ENTRIES): Promise<Made> {
	const store = await new FactorStore(gpu, entries, { trainable: true, optimizer: settings }).ready();
	return { store, optimizer: await createOptimizer(gpu, store, settings) };
}

function free({ store, optimizer }: Made): void {
	optimizer.destroy();
	store.destroy();
}

/** Puts gradients where the graph would have written them, in stored shape. */
function setGradients(gpu: Gpu, store: FactorStore, entry: FactorEntry, data: Float32Array): void {
	const [rows = 0, columns = 0] = entry.shape;
	const [storedRows = 0, storedColumns = 0] = entry.storedShape ?? entry.shape;
	const padded = new Float32Array(storedRows * storedColumns);
	for (let r = 0; r < rows; r++) padded.set(data.subarray(r * columns, (r + 1) * columns), r * storedColumns);
	const place = store.gradient(entry.name);
	if (!place) throw new Error(entry.name);
	upload(gpu, place.buffer, place.offset, padded);
}

const countOf = ({ shape }: FactorEntry): number => shape.reduce((a, b) => a * b, 1);

function step(gpu: Gpu, { store, optimizer }: Made, seed: number, spoil?: number, factor = 1): void {
	ENTRIES.forEach((entry, i) => {
		const gradients = randomFloats(countOf(entry), 10 * seed + i, 0.1);
		if (spoil !== undefined && entry === UP) gradients[119] = spoil;
		setGradients(gpu, store, entry, gradients);
	});
	// Where rates are multiplied by an estimated distance, 1 is the usual rate.
	optimizer.run({ learningRate: (store.optimizer?.kind.match(/prodigy|dAdapt/) ? 1 : 0.01) * factor, lossScale: 1 });
}

async function start({ store }: Made): Promise<void> {
	for (const [i, entry] of ENTRIES.entries()) await store.write(entry.name, randomFloats(countOf(entry), i + 1));
}

test.each(ALL.filter(({ settings }) => takesRateFactors(settings)))(
	'$name: a matrix with a rate of its own changes as if all had that rate',
	async ({ settings }) => {
		const gpu = await openTestGpu();
		const own = await make(
			gpu,
			settings,
			ENTRIES.map((entry) => (entry === UP ? { ...entry, rateFactor: 0.25 } : entry))
		);
		const [usual, slow] = [await make(gpu, settings), await make(gpu, settings)];
		for (const made of [own, usual, slow]) await start(made);
		for (let k = 0; k < 4; k++) {
			step(gpu, own, k);
			step(gpu, usual, k);
			step(gpu, slow, k, undefined, 0.25);
		}
		const [ours, full, quarter] = [await own.store.readAll(), await usual.store.readAll(), await slow.store.readAll()];
		const far = (a: Float32Array | undefined, b: Float32Array | undefined): number => Math.max(...(a ?? []).map((x, i) => Math.abs(x - (b?.[i] ?? NaN))));
		expect(far(ours.get('a.down'), full.get('a.down'))).toBeLessThan(1e-6);
		expect(far(ours.get('a.up'), quarter.get('a.up'))).toBeLessThan(1e-6);
		expect(far(full.get('a.up'), quarter.get('a.up'))).toBeGreaterThan(1e-4);
		for (const made of [own, usual, slow]) free(made);
	}
);

describe.each(ALL)('$name', ({ settings }) => {
	test('steps that are not finite change nothing, are counted, and count for nothing else', async () => {
		const gpu = await openTestGpu();
		const [plain, spoilt] = [await make(gpu, settings), await make(gpu, settings)];
		await start(plain);
		await start(spoilt);
		const spoils: Record<number, number> = { 0: NaN, 2: Infinity, 3: -Infinity };
		for (let k = 0; k < 6; k++) {
			step(gpu, spoilt, k, spoils[k]);
			if (!(k in spoils)) step(gpu, plain, k);
		}
		expect((await spoilt.store.readState()).values).toEqual((await plain.store.readState()).values);
		expect([await spoilt.optimizer.skipped(), await plain.optimizer.skipped()]).toEqual([3, 0]);
		free(plain);
		free(spoilt);
	});

	test('a saved state goes on bit by bit, looking at the result in between or not', async () => {
		const gpu = await openTestGpu();
		const run = async (interrupt: boolean): Promise<Made> => {
			let made = await make(gpu, settings);
			await start(made);
			for (let k = 0; k < 6; k++) {
				if (interrupt && k === 3) {
					made.optimizer.evaluation(true);
					await made.store.readAll();
					made.optimizer.evaluation(false);
					const state = await made.store.readState();
					free(made);
					made = await make(gpu, settings);
					await made.store.writeState(state);
				}
				step(gpu, made, k, k === 2 ? NaN : undefined);
			}
			return made;
		};
		const [through, interrupted] = [await run(false), await run(true)];
		const [expected, ours] = [await through.store.readState(), await interrupted.store.readState()];
		expect(ours).toEqual(expected);
		expect(await interrupted.optimizer.skipped()).toBe(1);
		const logical = ENTRIES.reduce((sum, entry) => sum + countOf(entry), 0);
		expect(ours.values.filter((x) => x !== 0).length, 'padding stays zero').toBeLessThanOrEqual(logical);
		expect(ours.values.every(Number.isFinite)).toBe(true);

		const memory = factorMemory(ENTRIES, settings);
		expect(memory.values + memory.training, 'the estimate is what is allocated').toBe(interrupted.store.bytes);
		expect(interrupted.optimizer.bytes - memory.scratch, 'but for parameters').toBeLessThan(8192);
		expect(interrupted.optimizer.bytes).toBeGreaterThanOrEqual(memory.scratch);
		free(through);
		free(interrupted);
	});
});

test('a state of another optimizer or other factors is refused, and nothing is written', async () => {
	const gpu = await openTestGpu();
	const [lion, adamw] = [await make(gpu, defaultOptimizer('lion')), await make(gpu, defaultOptimizer('adamw'))];
	await start(lion);
	const before = await adamw.store.readState();
	await expect(adamw.store.writeState(await lion.store.readState())).rejects.toThrow('another optimizer');
	await expect(adamw.store.writeState({ ...before, values: new Float32Array(4) })).rejects.toThrow('other factors');
	expect(await adamw.store.readState()).toEqual(before);
	await expect(createOptimizer(gpu, lion.store, defaultOptimizer('adamw'))).rejects.toThrow('made for lion');
	free(lion);
	free(adamw);
});

test('buffers are cut between matrices, and every number lies in exactly one tile', () => {
	const entries = Array.from({ length: 9 }, (_, i) => ({ name: String(i), shape: [3 + 40 * i, 130 - 9 * i] }));
	const layout = layoutFactors(entries, defaultOptimizer('came'));
	const ranges = cutRanges(layout, 120_000);
	expect(ranges.length).toBeGreaterThan(2);
	expect(Math.max(...ranges.map(({ size }) => size))).toBeLessThanOrEqual(120_000);
	expect(ranges.flatMap(({ places }) => places)).toEqual(layout.places);
	ranges.forEach(({ offset, size }, i) => expect(offset + size).toBe(ranges[i + 1]?.offset ?? layout.elements * 4));

	const tables = factoredTables(ranges);
	const seen = layout.places.map(({ rows, columns }) => new Uint8Array(rows * columns));
	for (let t = 0; t < tables.tiles.length; t += 4) {
		const [number = 0, row = 0, column = 0] = tables.tiles.subarray(t, t + 3);
		const [, rows = 0, columns = 0, , tileRows = 0, tileColumns = 0] = tables.matrices.subarray(number * 12, number * 12 + 6);
		expect(tileRows * tileColumns).toBeLessThanOrEqual(2048);
		for (let r = row; r < Math.min(rows, row + tileRows); r++) {
			for (let c = column; c < Math.min(columns, column + tileColumns); c++) (seen[number] as Uint8Array)[r * columns + c]! += 1;
		}
	}
	for (const numbers of seen) expect(numbers.every((times) => times === 1)).toBe(true);
	const shares = tables.shares.map(({ tiles, matrices }) => [tiles.count, matrices.count]);
	expect(shares.reduce(([a = 0, b = 0], [c = 0, d = 0]) => [a + c, b + d])).toEqual([tables.tiles.length / 4, entries.length]);
});
