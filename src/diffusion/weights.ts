/**
 * Streams the UNet of a checkpoint into a weight store, tensor by tensor. The next tensors are read while one is converted and uploaded, a bounded number of bytes ahead: a file of
 * gigabytes passes through a few hundred megabytes of memory.
 * Convolutions change from the file's `[Cout, Cin, ky, kx]` to the graph's `[Cout, ky, kx, Cin]`; everything else keeps its order.
 */
import type { Checkpoint } from './checkpoint';
import { UNET_PREFIX } from './recognise';
import { unetConstants } from './unet-layout';

/** Bytes of the file that may be read before they are wanted. */
const AHEAD = 96 << 20;

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
	const { file } = checkpoint;
	const bytesOf = (name: string): number => file.tensors.get(UNET_PREFIX + name)?.length ?? 0;
	const ahead: Promise<Float32Array | Uint16Array>[] = [];
	let [done, started, waiting] = [0, 0, 0];
	for (const [index, { name, fileShape, shape }] of constants.entries()) {
		for (let next = constants[started]; next && (started === index || waiting + bytesOf(next.name) <= AHEAD); next = constants[started]) {
			const key = UNET_PREFIX + next.name;
			const reading = sink.storage === 'f16' ? file.readHalf(key) : file.readFloat32(key);
			// Told where it is awaited; if something before it fails, never.
			reading.catch(() => undefined);
			ahead[started++] = reading;
			waiting += bytesOf(next.name);
		}
		const read = await (ahead[index] as Promise<Float32Array | Uint16Array>);
		delete ahead[index];
		waiting -= bytesOf(name);
		await sink.add(name, shape, fileShape.length === 4 && shape[1] !== fileShape[1] ? toChannelsLast(read, fileShape) : read);
		done += elements(shape);
		onProgress?.(done / total);
	}
}

/** `[O, I, kh, kw]` → `[O, kh, kw, I]`. */
export function toChannelsLast<T extends Float32Array | Uint16Array>(weight: T, shape: readonly number[]): T {
	const [outputs = 1, inputs = 1, height = 1, width = 1] = shape;
	const area = height * width;
	const size = inputs * area;
	const out = weight.slice() as T;
	// Read in order, written in `area` strands: half the time of the other way round.
	for (let base = 0; base < outputs * size; base += size) {
		for (let i = 0, at = base; i < inputs; i++) {
			for (let to = base + i; to < base + size; to += inputs) out[to] = weight[at++] as number;
		}
	}
	return out;
}

function elements(shape: readonly number[]): number {
	return shape.reduce((product, size) => product * size, 1);
}
