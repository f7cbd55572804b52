/** Every mode from encoded inputs to files on the smallest model, a few steps on small latents: what is trained, reported and saved; copiers from files; a LoRA to go on from. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unetModules } from '../../../src/diffusion/unet-layout';
import type { Gpu } from '../../../src/gpu/gpu';
import type { WeightStore } from '../../../src/kernels/weights';
import { loadLora } from '../../../src/lora/load';
import { UniformStream } from '../../../src/lora/random';
import { defaultRecipe } from '../../../src/recipe/defaults';
import type { Mode, Recipe } from '../../../src/recipe/recipe';
import { TrainingControl } from '../../../src/training/events';
import type { TrainingEvent } from '../../../src/training/events';
import { trainRecipe } from '../../../src/training/train';
import type { TrainOptions, TrainingInputs } from '../../../src/training/train';
import { openTestGpu, randomFloats } from '../harness';
import { NANO, nanoWeights } from '../nano';

let gpu: Gpu;
let weights: WeightStore;

beforeAll(async () => {
	gpu = await openTestGpu();
	weights = await nanoWeights(gpu, 'f16');
});
afterAll(() => weights.destroy());

const text = (i: number) => ({ context: randomFloats(77 * NANO.unet.contextDim, 70 + i) });
const latent = (seed: number, height: number, width: number) =>
	Float32Array.from(new UniformStream(seed, [1, 1]).take(0, 4 * height * width), (u) => 4 * u - 2);
const conditioning = () => ({ original: text(1), target: text(2) });
const pair = (seed: number, height: number, width: number) => ({ original: latent(seed, height, width), target: latent(seed + 1, height, width) });
const picture = (seed: number, height: number, width: number) => ({ latent: latent(seed, height, width), conditioning: text(seed % 3) });

const INPUTS: Record<Mode, () => TrainingInputs> = {
	difference: () => ({ kind: 'pairs', conditioning: conditioning(), buckets: [{ height: 8, width: 8, pairs: [pair(1, 8, 8)] }] }),
	addift: () => ({ kind: 'pairs', conditioning: conditioning(), buckets: [{ height: 8, width: 8, pairs: [pair(1, 8, 8)] }] }),
	multiAddift: () => ({
		kind: 'pairs',
		conditioning: conditioning(),
		buckets: [
			{ height: 8, width: 8, pairs: [pair(1, 8, 8), pair(3, 8, 8)] },
			{ height: 16, width: 8, pairs: [{ ...pair(5, 16, 8), mask: new Float32Array(128).fill(0.5) }] }
		]
	}),
	lora: () => ({
		kind: 'pictures',
		buckets: [
			{ height: 8, width: 8, pictures: [picture(1, 8, 8), picture(2, 8, 8)] },
			{ height: 8, width: 16, pictures: [picture(3, 8, 16)] }
		]
	}),
	leco: () => ({ kind: 'words', height: 8, width: 8, conditioning: conditioning() })
};

function recipe(mode: Mode, change: (recipe: Recipe) => void = () => undefined): Recipe {
	const made: Recipe = { ...defaultRecipe('mini'), mode };
	const { copier, difference } = made.passes;
	for (const pass of [copier, difference])
		Object.assign(pass, { rank: 4, alpha: 4, iterations: 6, batch: 2, blocks: ['OUT03'], learningRate: 5e-3, timesteps: { min: 100, max: 900 } });
	[copier.seed, difference.seed] = [11, 12];
	made.probe.every = 0;
	made.preview.every = 0;
	made.saving = { ...made.saving, everySteps: 0, keepCopier: false };
	change(made);
	return made;
}

async function train(made: Recipe, more: Partial<TrainOptions> = {}) {
	const events: TrainingEvent[] = [];
	const result = await trainRecipe({
		gpu,
		weights,
		config: NANO,
		recipe: made,
		inputs: INPUTS[made.mode](),
		control: new TrainingControl(),
		emit: (event) => events.push(event),
		version: 'test',
		...more
	});
	const of = <T extends TrainingEvent['type']>(type: T) => events.filter((e): e is Extract<TrainingEvent, { type: T }> => e.type === type);
	return { result, of };
}

describe('training a recipe', { timeout: 900_000 }, () => {
	it.each(['addift', 'multiAddift', 'lora', 'leco'] as const)('%s: one pass, every step reported, a file that loads', async (mode) => {
		const { result, of } = await train(recipe(mode));
		expect(result).toMatchObject({ outcome: 'done', copier: undefined, skipped: { difference: 0 } });
		expect(of('progress').map(({ pass, step }) => [pass, step])).toEqual([1, 2, 3, 4, 5, 6].map((step) => ['difference', step]));
		expect(of('progress').every(({ loss }) => loss > 0 && loss < 100)).toBe(true);
		const [memory] = of('memory');
		expect(memory?.allocated).toBe(memory?.planned);
		const [file] = of('file');
		expect(file).toMatchObject({ role: 'result', step: 6 });
		const saved = await loadLora(new Uint8Array(file?.bytes ?? new ArrayBuffer(0)), unetModules(NANO.unet));
		expect(saved.modules.length).toBeGreaterThan(0);
		expect(result.network?.every(({ up }) => up.some((x) => x !== 0))).toBe(true);
	});

	it('probes what the mode trains: the copied prediction, not the noise, where there is a teacher', async () => {
		const watched = await train(recipe('addift', (r) => (r.probe.every = 6)));
		const [base, end] = watched.of('probe');
		expect(base?.now).toBe(base?.base);
		expect(end?.now).toBeLessThan(base?.base ?? 0);
		const plain = await train(recipe('addift'));
		expect(plain.result.network).toEqual(watched.result.network);
	});

	it('ends after the copier when only that is wanted, and takes one that exists instead of training it', async () => {
		const first = await train(recipe('difference', (r) => (r.copier.only = true)));
		expect(first.of('file').map(({ role }) => role)).toEqual(['copier']);
		expect(first.result).toMatchObject({ outcome: 'done', network: undefined });
		const { copier } = first.result;
		const second = await train(recipe('difference'), { copier });
		expect(new Set(second.of('progress').map(({ pass }) => pass))).toEqual(new Set(['difference']));
		const whole = await train(recipe('difference'));
		expect(second.result.network).toEqual(whole.result.network);
	});

	it('goes on from a LoRA', async () => {
		const first = await train(recipe('addift'));
		const start = first.result.network;
		const still = recipe('addift', (r) => {
			r.passes.difference.iterations = 1;
			r.passes.difference.learningRate = 1e-9;
		});
		const { result } = await train(still, { start });
		for (const [i, { up }] of (result.network ?? []).entries()) {
			const before = start?.[i]?.up ?? new Float32Array(0);
			expect(Math.max(...up.map((x, k) => Math.abs(x - (before[k] ?? 0))))).toBeLessThan(1e-6);
		}
	});

	it('learns where the mask is white only: a black one leaves nothing to learn', async () => {
		const inputs: TrainingInputs = {
			kind: 'pairs',
			conditioning: conditioning(),
			buckets: [{ height: 8, width: 8, pairs: [{ ...pair(1, 8, 8), mask: new Float32Array(64) }] }]
		};
		const { result, of } = await train(recipe('addift'), { inputs });
		expect(of('progress').every(({ loss }) => loss === 0)).toBe(true);
		expect(result.network?.every(({ up }) => up.every((x) => x === 0))).toBe(true);
	});
});
