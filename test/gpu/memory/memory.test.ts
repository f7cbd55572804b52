/** GPU memory: what is planned is what is taken, little is made of much without changing a bit, nothing grows, and a GPU that is full or lost costs no work. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countBuffers } from '../../../bench/full/live';
import type { LiveBuffers } from '../../../bench/full/live';
import { openFileAsBlob } from '../../../src/formats/node';
import { openGpu } from '../../../src/gpu/gpu';
import type { Gpu } from '../../../src/gpu/gpu';
import { dawn } from '../../../src/gpu/node';
import { estimateRun } from '../../../src/jobs/estimate';
import { openModel } from '../../../src/jobs/model';
import { FactorBackup } from '../../../src/kernels/backup';
import { FactorStore } from '../../../src/kernels/factors';
import type { WeightStore } from '../../../src/kernels/weights';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { defaultOptimizer } from '../../../src/recipe/optimizers';
import { TrainingControl } from '../../../src/training/events';
import type { TrainingEvent } from '../../../src/training/events';
import type { RunMemory, RunState, TrainedModules } from '../../../src/training/run-state';
import { trainRecipe } from '../../../src/training/train';
import { nanoRecipe, nanoWeights, trainNano } from '../nano';

/** A device of its own: these tests count its buffers and break it. */
async function freshGpu(): Promise<{ gpu: Gpu; live: LiveBuffers }> {
	const gpu = await openGpu(await dawn());
	return { gpu, live: countBuffers(gpu.device) };
}

interface Trained {
	readonly losses: number[];
	readonly factors: TrainedModules;
	readonly planned: number;
	readonly allocated: number;
	readonly warnings: string[];
}

async function train(gpu: Gpu, weights: WeightStore, options: Partial<Parameters<typeof trainNano>[0]> = {}): Promise<Trained> {
	const losses: number[] = [];
	const warnings: string[] = [];
	let memory = { planned: 0, allocated: 0 };
	const emit = (event: TrainingEvent): void => {
		options.emit?.(event);
		if (event.type === 'progress') losses.push(event.loss);
		if (event.type === 'memory') memory = event;
		if (event.type === 'warning') warnings.push(event.problem.code);
	};
	const { copier } = await trainNano({ gpu, weights, recipe: nanoRecipe(4), side: 16, ...options, emit });
	return { losses, factors: copier ?? [], warnings, planned: memory.planned, allocated: memory.allocated };
}

describe('a run within a limit', () => {
	let gpu: Gpu;
	let live: LiveBuffers;
	let weights: WeightStore;
	beforeAll(async () => {
		({ gpu, live } = await freshGpu());
		weights = await nanoWeights(gpu);
	});
	afterAll(() => gpu.close());

	it('computes parts again instead of keeping them, and ends with the same bits', async () => {
		const plain = await train(gpu, weights);
		live.resetPeak();
		const limit = plain.planned - 300_000;
		const small = await train(gpu, weights, { gpuMemory: limit });
		expect(small.planned).toBeLessThanOrEqual(limit);
		expect(small.allocated).toBe(small.planned);
		// Apart from buffers for reading back, which are gone at once.
		expect(live.peakBytes).toBeLessThan(plain.planned);
		expect(small.losses).toEqual(plain.losses);
		expect(small.factors).toEqual(plain.factors);
	});

	it('is planned smaller when the GPU has less room than was thought, and says so', async () => {
		const { device } = gpu;
		const [make, pop] = [device.createBuffer.bind(device), device.popErrorScope.bind(device)];
		let most = 0;
		let refusing = 0;
		try {
			device.createBuffer = (descriptor) => {
				const arena = /arena/.test(descriptor.label ?? '');
				if (arena && most > 0 && descriptor.size >= most) refusing = 2;
				if (arena && most === 0) most = descriptor.size;
				return make(descriptor);
			};
			const plain = await train(gpu, weights);
			// From now on a GPU that has room for everything but so large an arena.
			expect(most).toBeGreaterThan(0);
			device.popErrorScope = async () => {
				const found = await pop();
				return refusing-- === 1 ? { message: 'no room' } : found;
			};
			const before = live.bytes;
			const reduced = await train(gpu, weights);
			expect(reduced.warnings).toContain('gpu.memoryReduced');
			expect(reduced.planned).toBeLessThan(plain.planned);
			expect(reduced.factors).toEqual(plain.factors);
			expect(live.bytes).toBe(before);
		} finally {
			Object.assign(device, { createBuffer: make, popErrorScope: pop });
		}
	});

	it('holds nothing afterwards, and nothing grows from step to step', async () => {
		setFlagsFromString('--expose-gc');
		const collect = runInNewContext('gc') as () => void;
		const seen: { step: number; bytes: number; buffers: number; heap: number }[] = [];
		const before = live.bytes;
		const recipe = nanoRecipe(240);
		recipe.guard.action = 'rollback';
		await train(gpu, weights, {
			recipe,
			side: 2,
			emit: (event) => {
				if (event.type !== 'progress' || event.step % 60 !== 0) return;
				collect();
				seen.push({ step: event.step, bytes: live.bytes, buffers: live.count, heap: process.memoryUsage().heapUsed });
			}
		});
		expect(seen).toHaveLength(4);
		const [, second, , last] = seen;
		// A readback may be on its way at one look and not at the other.
		expect(Math.abs((last?.bytes ?? 0) - (second?.bytes ?? 0))).toBeLessThan(300_000);
		expect(Math.abs((last?.buffers ?? 0) - (second?.buffers ?? 0))).toBeLessThan(8);
		expect((last?.heap ?? 0) - (second?.heap ?? 0)).toBeLessThan(2 << 20);
		expect(live.bytes).toBe(before);
	});
});

describe('a lost device', () => {
	it('costs nothing but the steps since the last snapshot', async () => {
		const recipe = nanoRecipe(12);
		recipe.saving.snapshotEvery = 3;
		const keep = (from: RunState | undefined, states: RunState[]): RunMemory => ({
			from,
			every: 3,
			copier: undefined,
			save: (state) => {
				states.push(structuredClone(state));
				return Promise.resolve(0);
			},
			saveCopier: () => Promise.resolve(),
			failed: (error) => expect.fail(String(error))
		});
		const sound = await freshGpu();
		const weights = await nanoWeights(sound.gpu);
		const whole = await train(sound.gpu, weights, { recipe, side: 4, memory: keep(undefined, []) });

		const states: RunState[] = [];
		const broken = await freshGpu();
		const run = train(broken.gpu, await nanoWeights(broken.gpu), {
			recipe,
			side: 4,
			memory: keep(undefined, states),
			emit: (event) => {
				if (event.type === 'progress' && event.step >= 7 && states.length > 0) broken.gpu.device.destroy();
			}
		});
		await expect(run).rejects.toMatchObject({ code: 'lost' });
		const last = states.at(-1);
		expect(last?.pass?.step).toBeGreaterThan(0);

		const resumed = await train(sound.gpu, weights, { recipe, side: 4, memory: keep(last, []) });
		expect(resumed.factors).toEqual(whole.factors);
		expect(resumed.losses.length).toBeLessThan(whole.losses.length);
		sound.gpu.close();
	});
});

describe('an estimate', () => {
	it('is what a run takes, with and without a limit', async () => {
		const { gpu, live } = await freshGpu();
		const model = await openModel('m', 'mini', await openFileAsBlob('public/models/mini.safetensors'));
		const { config } = model.checkpoint;
		const recipe = defaultRecipe('mini', 'lora');
		Object.assign(recipe.passes.difference, { iterations: 1, batch: 1, optimizer: defaultOptimizer('adamw') });
		recipe.preview.every = 0;
		recipe.saving.snapshotEvery = 0;
		const estimate = (limit?: number) => estimateRun(gpu, model, recipe, [{ width: 64, height: 64 }], limit);
		const free = (await estimate()).memory.difference;
		for (const limit of [undefined, free.total - Math.round(0.3 * free.activations)]) {
			const { problems, memory } = await estimate(limit);
			expect(problems).toEqual([]);
			if (limit === undefined) expect(live.bytes, 'nothing was allocated').toBe(0);
			else expect(memory.difference.again).toBeGreaterThan(0);
			const weights = await model.weights(gpu, recipe.storage);
			let taken = 0;
			const emit = (event: TrainingEvent): void => {
				if (event.type === 'state' && event.state === 'training') taken = live.bytes;
			};
			const latent = new Float32Array(8 * 8 * 4).map((_, i) => Math.sin(i));
			const conditioning = { context: new Float32Array(77 * config.unet.contextDim).map((_, i) => Math.cos(i)) };
			const inputs = { kind: 'pictures' as const, buckets: [{ height: 8, width: 8, pictures: [{ latent, conditioning }] }] };
			await trainRecipe({ gpu, weights, config, recipe, inputs, gpuMemory: limit, control: new TrainingControl(), emit, version: 'test' });
			expect(Math.abs(taken / memory.difference.total - 1)).toBeLessThan(0.01);
		}
		model.release();
		gpu.close();
	});

	it('refuses what does not fit the limit, with what to change', async () => {
		const { gpu } = await freshGpu();
		const model = await openModel('m', 'mini', await openFileAsBlob('public/models/mini.safetensors'));
		const recipe = defaultRecipe('mini', 'lora');
		recipe.passes.difference.batch = 4;
		const { problems, memory } = await estimateRun(gpu, model, recipe, [{ width: 128, height: 128 }], 20 << 20);
		expect(problems).toMatchObject([{ level: 'error', code: 'gpu.memoryLimit', values: { pass: 'difference', remedy: 'batch' } }]);
		expect(memory.difference.total).toBeGreaterThan(20 << 20);
		gpu.close();
	});
});

describe('a copy of a large network', () => {
	it('lies in the computer’s memory and comes back bit by bit', async () => {
		const { gpu } = await freshGpu();
		const entries = [{ name: 'a', shape: [1024, 6400] as const }];
		const store = await new FactorStore(gpu, entries, { trainable: true, optimizer: defaultOptimizer('adamw') }).ready();
		const values = Float32Array.from({ length: 1024 * 6400 }, (_, i) => (i * 7919) % 1009);
		await store.write('a', values);
		const copy = await FactorBackup.create(gpu, store);
		expect(copy.size).toBeGreaterThan(64 << 20);
		copy.take();
		const before = await store.readState();
		await store.write('a', new Float32Array(values.length));
		await copy.bring();
		const after = await store.readState();
		expect(Buffer.compare(Buffer.from(after.values.buffer), Buffer.from(before.values.buffer))).toBe(0);
		expect(Buffer.compare((await copy.read())[0] ?? Buffer.alloc(0), Buffer.from(before.values.buffer))).toBe(0);
		copy.destroy();
		store.destroy();
		gpu.close();
	});
});
