/**
 * The UNet's weights for the bench: from a checkpoint, or random ones without a file.
 *
 * Random weights are normal numbers drawn by the noise kernel once, as a pool, and laid over the tensors at changing places, each scaled by a power of two near 1/√fan-in (for halves that
 * only moves the exponent). Biases are a hundredth of that, norms are one.
 */
import { SD15_UNET, SDXL_UNET } from '../../src/diffusion/config';
import type { UnetConfig } from '../../src/diffusion/config';
import { unetConstants } from '../../src/diffusion/unet-layout';
import type { Gpu } from '../../src/gpu/gpu';
import { GraphBuilder } from '../../src/graph/builder';
import { floatsToHalves } from '../../src/formats/half';
import { compile } from '../../src/kernels/program';
import { WeightStore } from '../../src/kernels/weights';

/** SDXL's form at a size for software adapters. */
const TINY_XL: UnetConfig = { ...SDXL_UNET, modelChannels: 64, depths: [0, 1, 2], middleDepth: 2, contextDim: 128, vectorDim: 192 };

export const RANDOM_MODELS: Readonly<Record<string, { readonly family: 'sd15' | 'sdxl'; readonly unet: UnetConfig }>> = {
	sd15: { family: 'sd15', unet: SD15_UNET },
	sdxl: { family: 'sdxl', unet: SDXL_UNET },
	'tiny-sdxl': { family: 'sdxl', unet: TINY_XL }
};

async function normalNumbers(gpu: Gpu, count: number): Promise<Float32Array> {
	const builder = new GraphBuilder({ storage: 'f32' });
	const counter = builder.input('counter', [4], 'u32');
	const noise = builder.gaussian(counter, [1, 1, Math.ceil(count / 4), 4]);
	const weights = new WeightStore(gpu, 'f32');
	const program = await compile(gpu, builder.finish([noise]), { weights, factors: [], label: 'random weights' });
	try {
		program.write(counter, Uint32Array.of(0, 0, 1111, 0));
		await program.run();
		return await program.read(noise);
	} finally {
		program.destroy();
		weights.destroy();
	}
}

/** x · 2^−shift in halves; what would become subnormal becomes zero. */
function shifted(pool: Uint16Array, shift: number): Uint16Array {
	const down = shift << 10;
	return pool.map((bits) => ((bits & 0x7c00) > down ? bits - down : bits & 0x8000));
}

function normal(length: number, value: number): Float32Array {
	return new Float32Array(length).fill(value);
}

/** Room for all weights and nothing in it: for planning, compiling and recording on machines that compute nothing. */
export async function blankWeights({ device }: Gpu, config: UnetConfig, store: WeightStore): Promise<void> {
	const { queue } = device;
	const write = queue.writeBuffer.bind(queue);
	queue.writeBuffer = () => undefined;
	const constants = unetConstants(config).map(({ name, shape }) => ({ name, shape, count: shape.reduce((product, size) => product * size, 1) }));
	for (const { name, shape } of constants) store.reserve(name, shape);
	const nothing = new Uint16Array(Math.max(...constants.map(({ count }) => count)));
	for (const { name, shape, count } of constants) await store.add(name, shape, nothing.subarray(0, count));
	queue.writeBuffer = write;
}

export async function randomWeights(gpu: Gpu, config: UnetConfig, store: WeightStore): Promise<void> {
	const constants = unetConstants(config);
	for (const { name, shape } of constants) store.reserve(name, shape);
	const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);
	const largest = Math.max(...constants.map(({ shape }) => elements(shape)));
	// A margin, so that tensors of one size do not all begin at the same place.
	const numbers = await normalNumbers(gpu, largest + (1 << 20));
	const pool = floatsToHalves(numbers);
	const pools = new Map<number, Uint16Array>();
	let at = 0;
	for (const { name, shape } of constants) {
		const count = elements(shape);
		if (shape.length < 2) {
			const norm = /norm|in_layers\.0|out_layers\.0|^out\.0/.test(name) && name.endsWith('weight');
			await store.add(name, shape, normal(count, norm ? 1 : 0.01));
			continue;
		}
		const shift = Math.round(Math.log2(Math.sqrt(shape[1] ?? 1)));
		const scaled = pools.get(shift) ?? shifted(pool, shift);
		pools.set(shift, scaled);
		at = (at + 7919 * 64) % (pool.length - count);
		await store.add(name, shape, scaled.subarray(at, at + count));
	}
}
