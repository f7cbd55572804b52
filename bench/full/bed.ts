/** Opens the GPU with buffers counted, and the UNet's weights on it: from a checkpoint or random. */
import { openCheckpoint } from '../../src/diffusion/checkpoint';
import type { UnetConfig } from '../../src/diffusion/config';
import { loadUnetWeights } from '../../src/diffusion/weights';
import { fileSource } from '../../src/formats/node';
import { openGpu } from '../../src/gpu/gpu';
import type { Gpu } from '../../src/gpu/gpu';
import { CHECKED_FLAGS, dawn, FAST_FLAGS } from '../../src/gpu/node';
import { EXACT_TIMES } from '../../src/helper/platform';
import { WeightStore } from '../../src/kernels/weights';
import type { ModelFamily } from '../../src/recipe/recipe';
import { clockRecording } from './clock';
import type { Recording } from './clock';
import { countBuffers } from './live';
import type { LiveBuffers } from './live';
import { blankWeights, RANDOM_MODELS, randomWeights } from './weights';

export interface Bed {
	readonly gpu: Gpu;
	readonly live: LiveBuffers;
	readonly recording: Recording;
	readonly family: ModelFamily;
	readonly unet: UnetConfig;
	readonly weights: WeightStore;
	readonly secondsWeights: number;
}

export interface BedOptions {
	/** A checkpoint's path. */
	readonly model: string | undefined;
	/** Else one of `RANDOM_MODELS`. */
	readonly random: string | undefined;
	readonly storage: 'f16' | 'f32';
	readonly base: 'f16' | 'int8';
	/** With WebGPU's validation. */
	readonly checked: boolean;
	/** Without subgroup matrices, as in browsers. */
	readonly plain?: boolean;
	/** Weights are given room, not numbers. */
	readonly blank?: boolean;
}

export async function openBed({ model, random, storage, base, checked, plain = false, blank = false }: BedOptions): Promise<Bed> {
	const gpu = await openGpu(await dawn([...(checked ? CHECKED_FLAGS : FAST_FLAGS), EXACT_TIMES]), {
		unclamped: !checked,
		...(plain ? { matrices: false } : {})
	});
	const live = countBuffers(gpu.device);
	const recording = clockRecording(gpu.device);
	const weights = new WeightStore(gpu, storage, base);
	const started = performance.now();
	const seconds = (): number => (performance.now() - started) / 1000;
	if (model !== undefined) {
		const checkpoint = await openCheckpoint(await fileSource(model));
		await loadUnetWeights(checkpoint, weights);
		const { family, unet } = checkpoint.config;
		return { gpu, live, recording, weights, family, unet, secondsWeights: seconds() };
	}
	const known = RANDOM_MODELS[random ?? ''];
	if (!known) throw new Error(`Name a checkpoint with --model, or one of ${Object.keys(RANDOM_MODELS).join(', ')} with --random.`);
	await (blank ? blankWeights : randomWeights)(gpu, known.unet, weights);
	return { gpu, live, recording, weights, ...known, secondsWeights: seconds() };
}

/** One line of JSON, numbers to four digits. */
export function line(value: unknown): void {
	const short = (_: string, x: unknown): unknown => (typeof x === 'number' && !Number.isInteger(x) ? Number(x.toPrecision(4)) : x);
	process.stdout.write(`${JSON.stringify(value, short)}\n`);
}
