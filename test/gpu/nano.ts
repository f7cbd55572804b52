/** The smallest UNet that still has every kind of layer, with random weights, and a recipe that trains it in milliseconds a step: for tests of what happens around the numbers. */
import type { ModelConfig, UnetConfig } from '../../src/diffusion/config';
import { SD15_UNET } from '../../src/diffusion/config';
import { unetConstants } from '../../src/diffusion/unet-layout';
import type { Gpu } from '../../src/gpu/gpu';
import { WeightStore } from '../../src/kernels/weights';
import { defaultRecipe } from '../../src/recipe/defaults';
import { defaultOptimizer } from '../../src/recipe/optimizers';
import type { Recipe } from '../../src/recipe/recipe';
import type { TrainingEvent } from '../../src/training/events';
import { TrainingControl } from '../../src/training/events';
import type { RunMemory } from '../../src/training/run-state';
import { trainRecipe } from '../../src/training/train';
import type { TrainingResult } from '../../src/training/run-kit';
import { randomFloats } from './harness';

const UNET: UnetConfig = {
	...SD15_UNET,
	modelChannels: 32,
	channelMult: [1, 2],
	resBlocks: 1,
	depths: [1, 1],
	heads: { count: 2 },
	contextDim: 32,
	groups: 8
};

export const NANO: ModelConfig = {
	family: 'mini',
	title: 'nano',
	prediction: 'epsilon',
	resolution: 64,
	unet: UNET,
	vae: { prefix: '', channels: 8, channelMult: [1, 1, 1, 1], resBlocks: 1, latentChannels: 4, groups: 4, scale: 1 },
	text: []
};

export async function nanoWeights(gpu: Gpu, storage: 'f16' | 'f32' = 'f32'): Promise<WeightStore> {
	const store = new WeightStore(gpu, storage);
	for (const [i, { name, shape }] of unetConstants(UNET).entries()) {
		const count = shape.reduce((a, b) => a * b, 1);
		await store.add(
			name,
			shape,
			shape.length < 2 ? new Float32Array(count).fill(/weight$/.test(name) ? 1 : 0) : randomFloats(count, i + 1, 1 / Math.sqrt(shape[1] ?? 1))
		);
	}
	return store;
}

/** A picture and another one, as far as a model that has seen none can tell. */
export function nanoLatents(side: number): { original: Float32Array; target: Float32Array; height: number; width: number } {
	const original = randomFloats(side * side * 4, 77);
	return { original, target: original.map((x, i) => (i % (8 * side) < 2 * side ? -x : x)), height: side, width: side };
}

/** Pass 1 alone. */
export function nanoRecipe(steps: number, storage: 'f16' | 'f32' = 'f32'): Recipe {
	const recipe = defaultRecipe('mini');
	recipe.storage = storage;
	recipe.copier.only = true;
	recipe.probe.every = 0;
	recipe.preview.every = 0;
	recipe.guard.action = 'off';
	Object.assign(recipe.passes.copier, {
		rank: 4,
		alpha: 4,
		convRank: 0,
		batch: 1,
		iterations: steps,
		learningRate: 2e-3,
		seed: 5,
		optimizer: defaultOptimizer('adamw')
	});
	return recipe;
}

export interface NanoRun {
	readonly gpu: Gpu;
	readonly weights: WeightStore;
	readonly recipe: Recipe;
	/** Side of the latent. */
	readonly side?: number;
	readonly gpuMemory?: number | undefined;
	readonly memory?: RunMemory | undefined;
	readonly emit?: (event: TrainingEvent) => void;
	readonly control?: TrainingControl;
}

export function trainNano({ gpu, weights, recipe, side = 8, gpuMemory, memory, emit, control }: NanoRun): Promise<TrainingResult> {
	const latent = randomFloats(side * side * 4, 77);
	const conditioning = { context: randomFloats(77 * UNET.contextDim, 78) };
	return trainRecipe({
		gpu,
		weights,
		config: NANO,
		recipe,
		inputs: {
			kind: 'pairs',
			buckets: [{ height: side, width: side, pairs: [{ original: latent, target: latent }] }],
			conditioning: { original: conditioning, target: conditioning }
		},
		gpuMemory,
		memory,
		control: control ?? new TrainingControl(),
		emit: emit ?? (() => undefined),
		version: 'test'
	});
}
