/** Guard and probe on short copier passes of the mini model: a rate far too high is caught and recovered, one far too low is named, a good one is left alone. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../../src/diffusion/checkpoint';
import type { Checkpoint } from '../../../src/diffusion/checkpoint';
import { loadUnetWeights } from '../../../src/diffusion/weights';
import { fileSource } from '../../../src/formats/node';
import { openSafetensors } from '../../../src/formats/safetensors';
import type { Gpu } from '../../../src/gpu/gpu';
import { FactorBackup } from '../../../src/kernels/backup';
import { createNormMeter } from '../../../src/kernels/factor-norm';
import { FactorStore } from '../../../src/kernels/factors';
import { WeightStore } from '../../../src/kernels/weights';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { defaultOptimizer } from '../../../src/recipe/optimizers';
import type { Recipe } from '../../../src/recipe/recipe';
import { trainDifference } from '../../../src/training/difference';
import { TrainingControl } from '../../../src/training/events';
import type { TrainingEvent } from '../../../src/training/events';
import { openTestGpu } from '../harness';

let gpu: Gpu;
let checkpoint: Checkpoint;
let weights: WeightStore;
let latent: Float32Array;
let context: Float32Array;

beforeAll(async () => {
	gpu = await openTestGpu();
	checkpoint = await openCheckpoint(await fileSource('public/models/mini.safetensors'));
	weights = new WeightStore(gpu, 'f16');
	await loadUnetWeights(checkpoint, weights);
	const file = await openSafetensors(await fileSource('test/fixtures/training/gradients.safetensors'));
	latent = await file.readFloat32('latent');
	context = await file.readFloat32('context');
});
afterAll(() => weights.destroy());

const STEPS = 12;
/** What the mini model's copier is trained with. */
const USUAL = 5e-3;

/** A copier alone, in the late blocks, over a narrow stretch of timesteps. */
function recipe(rate: number, change: (recipe: Recipe) => void = () => undefined): Recipe {
	const made = defaultRecipe('mini');
	Object.assign(made.passes.copier, {
		rank: 8,
		alpha: 8,
		iterations: STEPS,
		batch: 1,
		blocks: ['OUT10', 'OUT11'],
		learningRate: rate,
		schedule: { kind: 'constant', warmup: 0 },
		timesteps: { min: 300, max: 320 },
		seed: 11
	});
	made.copier.only = true;
	made.guard = { action: 'rollback', rollbacks: 6 };
	made.stopWhenConverged = false;
	made.saving.snapshotEvery = 0;
	made.probe.every = 0;
	made.preview.every = 0;
	change(made);
	return made;
}

async function train(made: Recipe) {
	const events: TrainingEvent[] = [];
	const result = await trainDifference({
		gpu,
		weights,
		config: checkpoint.config,
		recipe: made,
		latents: { original: latent, target: latent, height: 16, width: 16 },
		conditioning: { context },
		control: new TrainingControl(),
		emit: (event) => events.push(event),
		version: 'test'
	});
	const of = <T extends TrainingEvent['type']>(type: T) => events.filter((e): e is Extract<TrainingEvent, { type: T }> => e.type === type);
	return { result, of };
}

describe('judgement while training', { timeout: 900_000 }, () => {
	it('catches a rate ten times too high, goes back, and goes on with half of it until the end', async () => {
		const { result, of } = await train(recipe(10 * USUAL, (r) => (r.probe.every = 4)));
		const [first] = of('guard');
		expect(first).toMatchObject({ pass: 'copier', action: 'rollback', to: 0, factor: 0.5 });
		expect(first?.value).toBeGreaterThan(first?.limit ?? Infinity);
		expect(result.outcome).toBe('done');
		const rates = new Set(of('progress').map((e) => e.learningRate));
		expect([...rates]).toEqual(of('guard').reduce((all, { factor }) => [...all, 10 * USUAL * factor], [10 * USUAL]));
		expect(of('progress').at(-1)?.step).toBe(STEPS);
		// Without it the loss stays at fifty times the base (test/fixtures/judgement); here it comes down.
		const probes = of('probe').filter(({ step }) => step > 0);
		const last = probes.at(-1);
		expect(last?.now).toBeLessThan(6 * (last?.base ?? 0));
		expect(last?.now).toBeLessThan(Math.max(...probes.map(({ now }) => now)));
		expect(last?.verdict).not.toBe('collapsed');
		for (const memory of of('memory')) expect(memory.allocated).toBe(memory.planned);
	});

	it('without rollbacks to spend it stops, and says so; nothing of the broken network is kept', async () => {
		await expect(train(recipe(40 * USUAL, (r) => (r.guard = { action: 'stop', rollbacks: 0 })))).rejects.toMatchObject({
			problem: { code: 'training.diverged', where: 'passes.copier.learningRate' }
		});
	});

	it('calls a rate ten times too low by its name', async () => {
		const { of } = await train(recipe(0.1 * USUAL, (r) => (r.probe.every = 2)));
		expect(of('guard')).toEqual([]);
		expect(of('probe').at(-1)?.verdict).toBe('notConverging');
	});

	it('changes no bit of a healthy run', async () => {
		const short = (action: 'off' | 'rollback') =>
			train(
				recipe(0.2 * USUAL, (r) => {
					r.passes.copier.iterations = 6;
					r.guard.action = action;
				})
			);
		const [off, on] = [await short('off'), await short('rollback')];
		expect(on.of('guard')).toEqual([]);
		expect(on.result.copier).toEqual(off.result.copier);
	});
});

describe('what the guard keeps on the GPU', () => {
	it('adds up the norm, and brings back what it took', async () => {
		const lion = defaultOptimizer('lion');
		const shape = [12, 260] as const;
		const store = await new FactorStore(
			gpu,
			[
				{ name: 'a', shape },
				{ name: 'b', shape: [7, 64] }
			],
			{ trainable: true, optimizer: lion }
		).ready();
		const values = Float32Array.from({ length: 12 * 260 }, (_, i) => Math.sin(i));
		await store.write('a', values);
		await store.write('b', new Float32Array(7 * 64).fill(0.5));
		const meter = await createNormMeter(gpu, store);
		const expected = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) + 7 * 64 * 0.25);
		expect(await meter.measure()).toBeCloseTo(expected, 3);
		const backup = await FactorBackup.create(gpu, store);
		backup.take();
		const before = await store.readState();
		await store.write('a', values.fill(Infinity));
		expect(await meter.measure()).toBe(Infinity);
		await backup.bring();
		expect(await store.readState()).toEqual(before);
		const bytes = await backup.read();
		await store.write('a', new Float32Array(12 * 260));
		backup.take();
		backup.write(bytes);
		await backup.bring();
		expect(await store.readState()).toEqual(before);
		backup.destroy();
		meter.destroy();
		store.destroy();
	});
});
