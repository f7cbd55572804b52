/**
 * Streams the UNet of a checkpoint into a weight store, tensor by tensor. The next tensors are read while one is converted and uploaded, a bounded number of bytes ahead: a file of
 * gigabytes passes through a few hundred megabytes of memory.
 * Convolutions change from the file's `[Cout, Cin, ky, kx]` to the graph's `[Cout, ky, kx, Cin]`; everything else keeps its order.
 */
import type { SafetensorsFile } from '../formats/safetensors';
import type { Checkpoint } from './checkpoint';
import { UNET_PREFIX } from './recognise';
import { unetConstants } from './unet-layout';

/** Bytes of the file that may be read before they are wanted. */
const AHEAD = 96 << 20;

/** From this size on a tensor is worth memory of its own on the way. */
const LARGE = 256 << 10;

/** Where weights go: `WeightStore` of the kernels, or a map in tests. */
export interface WeightSink {
	/** What the sink keeps; tensors come in this type when the file has it or can be rounded to it. */
	readonly storage: 'f32' | 'f16';
	add(name: string, shape: readonly number[], data: Float32Array | Uint16Array): Promise<void> | void;
	/** The rest may be missing: tensors then come by `add` alone. All names in order, before the first comes. */
	reserve?(name: string, shape: readonly number[]): void;
	/** Whether `stream` takes a tensor that the file has in this type. */
	keeps?(shape: readonly number[], type: string): boolean;
	stream?(name: string, shape: readonly number[], fill: (at: number, target: Uint8Array) => Promise<void>): Promise<void>;
	/** All are there. */
	loaded?(): Promise<void>;
}

interface Constant {
	readonly name: string;
	readonly fileShape: readonly number[];
	readonly shape: readonly number[];
}

/** Convolutions are the only ones whose order changes. */
const changesOrder = ({ shape, fileShape }: Constant): boolean => fileShape.length === 4 && shape[1] !== fileShape[1];

/**
 * @param onProgress fraction of the bytes done, 0..1
 * @throws the sink's errors, e.g. when the GPU's memory is full
 */
export async function loadUnetWeights({ config, file }: Checkpoint, sink: WeightSink, onProgress?: (fraction: number) => void): Promise<void> {
	const constants: Constant[] = unetConstants(config.unet);
	const total = constants.reduce((sum, { shape }) => sum + elements(shape), 0);
	let done = 0;
	const report = ({ shape }: Constant): void => onProgress?.((done += elements(shape)) / total);
	for (const { name, shape } of constants) sink.reserve?.(name, shape);
	const streamed = constants.filter((constant) => {
		const entry = file.tensors.get(UNET_PREFIX + constant.name);
		return entry && entry.length >= LARGE && file.readInto && sink.stream && !changesOrder(constant) && sink.keeps?.(constant.shape, entry.dtype);
	});
	const others = new Set(constants);
	for (const constant of streamed) others.delete(constant);
	try {
		await Promise.all([stream(file, streamed, sink, report), convert(file, [...others], sink, report)]);
	} finally {
		await sink.loaded?.();
	}
}

/** Just as they are, from the file into mapped memory. Tensors overlap at their ends; the sink bounds how much is under way. */
async function stream({ readInto }: SafetensorsFile, constants: readonly Constant[], sink: WeightSink, report: (constant: Constant) => void): Promise<void> {
	let before: Promise<void> = Promise.resolve();
	for (const constant of constants) {
		const { name, shape } = constant;
		const sent = sink.stream?.(name, shape, async (at, target) => readInto?.(UNET_PREFIX + name, at, target)) ?? Promise.resolve();
		// Told when the next one has begun, or at the end.
		sent.catch(() => undefined);
		await before;
		before = sent.then(() => report(constant));
	}
	await before;
}

/** Those that change type or order: read ahead, changed here, uploaded. */
async function convert(file: SafetensorsFile, constants: readonly Constant[], sink: WeightSink, report: (constant: Constant) => void): Promise<void> {
	const bytesOf = (name: string): number => file.tensors.get(UNET_PREFIX + name)?.length ?? 0;
	const ahead: Promise<Float32Array | Uint16Array>[] = [];
	let [started, waiting] = [0, 0];
	for (const [index, constant] of constants.entries()) {
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
		waiting -= bytesOf(constant.name);
		await sink.add(constant.name, constant.shape, changesOrder(constant) ? toChannelsLast(read, constant.fileShape) : read);
		report(constant);
	}
}

/** `[O, I, kh, kw]` → `[O, kh, kw, I]`. */
export function toChannelsLast<T extends Float32Array | Uint16Array>(weight: T, shape: readonly number[]): T {
	const [outputs = 1, inputs = 1, height = 1, width = 1] = shape;
	const area = height * width;
	const size = inputs * area;
	// Every place is written, so nothing has to be copied first.
	const out = (weight instanceof Uint16Array ? new Uint16Array(weight.length) : new Float32Array(weight.length)) as T;
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
