/**
 * Streams the UNet of a checkpoint into a weight store, tensor by tensor, so that one tensor at a time is in memory.
 * Convolutions change from the file's `[Cout, Cin, ky, kx]` to the graph's `[Cout, ky, kx, Cin]`; everything else keeps its order.
 */
import type { Checkpoint } from './checkpoint';
import { UNET_PREFIX } from './recognise';
import { unetConstants } from './unet-layout';

/** Where weights go: `WeightStore` of the kernels, or a map in tests. */
export interface WeightSink {
	/** What the sink keeps; tensors come in this type when the file has it or can be rounded to it. */
	readonly storage: 'f32' | 'f16';
	add(name: string, shape: readonly number[], data: Float32Array | Uint16Array): Promise<void> | void;
}

/**
 * @param onProgress fraction of the bytes done, 0..1
 * @throws the sink's errors, e.g. when the GPU's memory is full
 */
export async function loadUnetWeights(checkpoint: Checkpoint, sink: WeightSink, onProgress?: (fraction: number) => void): Promise<void> {
	const constants = unetConstants(checkpoint.config.unet);
	const total = constants.reduce((sum, { shape }) => sum + elements(shape), 0);
	let done = 0;
	for (const { name, fileShape, shape } of constants) {
		const key = UNET_PREFIX + name;
		const read = sink.storage === 'f16' ? await checkpoint.file.readHalf(key) : await checkpoint.file.readFloat32(key);
		await sink.add(name, shape, fileShape.length === 4 && shape[1] !== fileShape[1] ? toChannelsLast(read, fileShape) : read);
		done += elements(shape);
		onProgress?.(done / total);
	}
}

/** `[O, I, kh, kw]` → `[O, kh, kw, I]`. */
export function toChannelsLast<T extends Float32Array | Uint16Array>(weight: T, shape: readonly number[]): T {
	const [outputs = 1, inputs = 1, height = 1, width = 1] = shape;
	const area = height * width;
	const out = weight.slice() as T;
	for (let o = 0, at = 0; o < outputs; o++) {
		const base = o * inputs * area;
		for (let p = 0; p < area; p++) {
			for (let i = 0; i < inputs; i++) out[at++] = weight[base + i * area + p] ?? 0;
		}
	}
	return out;
}

function elements(shape: readonly number[]): number {
	return shape.reduce((product, size) => product * size, 1);
}
