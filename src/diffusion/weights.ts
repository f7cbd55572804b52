/**
 * Puts the UNet of a checkpoint into a weight store. The GPU changes types and orders itself, so that the file is read once, in its own order, straight into memory the GPU copies from
 * (`kernels/weights-upload.ts`); what it cannot read (whole numbers, f64), what a software adapter would have to convert, and sinks without a GPU get numbers instead, tensor by tensor, a bounded number of bytes ahead.
 * Convolutions change from the file's `[Cout, Cin, ky, kx]` to the graph's `[Cout, ky, kx, Cin]`; everything else keeps its order.
 */
import type { SafetensorsFile } from '../formats/safetensors';
import type { ByteSource } from '../formats/source';
import { countOf, isRawType, RAW_BYTES, type RawTensor } from '../kernels/weights-plan';
import type { Checkpoint } from './checkpoint';
import { UNET_PREFIX } from './recognise';
import { unetConstants, type UnetConstant } from './unet-layout';

/** Bytes of the file that may be read before they are wanted. */
const AHEAD = 96 << 20;

/** Where weights go: `WeightStore` of the kernels, or a map in tests. */
export interface WeightSink {
	/** What the sink keeps; tensors come in this type when the file has it or can be rounded to it. */
	readonly storage: 'f32' | 'f16';
	add(name: string, shape: readonly number[], data: Float32Array | Uint16Array): Promise<void> | void;
	/** The rest may be missing: tensors then come by `add` alone. All names in order, before the first comes. */
	reserve?(name: string, shape: readonly number[]): void;
	/** Whether `load` should be given this one. */
	takes?(tensor: RawTensor): boolean;
	/** Tensors as they lie in a file. @param onProgress bytes that are on their way */
	load?(tensors: readonly RawTensor[], source: ByteSource, onProgress: (bytes: number) => void): Promise<void>;
}

/** Convolutions are the only ones whose order changes. */
const changesOrder = ({ shape, fileShape }: UnetConstant): boolean => fileShape.length === 4 && shape[1] !== fileShape[1];

/**
 * @param onProgress fraction of the numbers done, 0..1; what it throws ends the loading
 * @throws the sink's errors, e.g. when the GPU's memory is full
 */
export async function loadUnetWeights({ config, file }: Checkpoint, sink: WeightSink, onProgress?: (fraction: number) => void): Promise<void> {
	const constants = unetConstants(config.unet);
	for (const { name, shape } of constants) sink.reserve?.(name, shape);
	const raw: RawTensor[] = [];
	const others: UnetConstant[] = [];
	for (const constant of constants) {
		const tensor = sink.load && asRaw(file, constant);
		if (tensor && sink.takes?.(tensor) !== false) raw.push(tensor);
		else others.push(constant);
	}
	const total = constants.reduce((sum, { shape }) => sum + countOf(shape), 0);
	const rawNumbers = raw.reduce((sum, { shape }) => sum + countOf(shape), 0);
	const rawBytes = raw.reduce((sum, { shape, type }) => sum + countOf(shape) * RAW_BYTES[type], 0);
	if (raw.length > 0) await sink.load?.(raw, file.source, (bytes) => onProgress?.(((bytes / rawBytes) * rawNumbers) / total));
	await convert(file, others, sink, (numbers) => onProgress?.((rawNumbers + numbers) / total));
}

/** A tensor whose bytes the GPU can take, exactly as many as its shape says. */
function asRaw(file: SafetensorsFile, constant: UnetConstant): RawTensor | undefined {
	const { name, shape, fileShape } = constant;
	const entry = file.tensors.get(UNET_PREFIX + name);
	if (!entry || !isRawType(entry.dtype) || entry.length !== countOf(shape) * RAW_BYTES[entry.dtype]) return undefined;
	const [, channels = 1, height = 1, width = 1] = fileShape;
	return { name, shape, type: entry.dtype, offset: entry.offset, swap: changesOrder(constant) ? [channels, height * width] : undefined };
}

/** Changed here: read ahead, converted, given to the sink one by one. */
async function convert(file: SafetensorsFile, constants: readonly UnetConstant[], sink: WeightSink, report: (numbers: number) => void): Promise<void> {
	const bytesOf = (name: string): number => file.tensors.get(UNET_PREFIX + name)?.length ?? 0;
	const ahead: Promise<Float32Array | Uint16Array>[] = [];
	let [started, waiting, done] = [0, 0, 0];
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
		report((done += countOf(constant.shape)));
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
