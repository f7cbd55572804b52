/**
 * Frozen weights on the GPU: many tensors in a few large buffers, looked up by checkpoint key.
 *
 * Rules: a tensor never straddles two buffers; every tensor starts at a 256-byte boundary so that it can be bound by itself; a buffer
 * never exceeds what one binding may cover (`weight-bytes.ts`). All weights are stored in one type, halves or f32, converted on the way (`weights-upload.ts`), or here when they come as numbers in the other;
 * with an int8 base large matrices are not (`int8.ts`), and what that costs is kept to be told.
 */
import { floatsToHalves, halvesToFloats } from '../formats/half';
import type { ByteSource } from '../formats/source';
import { alignUp, allocate, readBuffer, settle, upload } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import type { DType } from '../graph/ir';
import { dequantise, quantise, quantised, quantisedPlaces, type Base } from './int8';
import { findRoom, tensorBytes, type Chunk } from './weight-bytes';
import { countOf, RAW_BYTES, type RawTensor } from './weights-plan';

export interface StoredTensor {
	readonly buffer: GPUBuffer;
	readonly offset: number;
	readonly bytes: number;
	readonly shape: readonly number[];
	/** Absent: the store's one type. */
	readonly dtype?: DType;
}

/** Relative root mean square by which an int8 base differs from the checkpoint. */
interface Int8Error {
	/** Of every matrix in int8. */
	readonly byName: ReadonlyMap<string, number>;
	/** Over all of them, each weighted by its size. */
	readonly mean: number;
	readonly worst: { readonly name: string; readonly error: number };
}

/** Bytes uploaded before waiting for the GPU to take them: a checkpoint of gigabytes must not wait in memory. */
const IN_FLIGHT = 128 << 20;

interface Place {
	readonly chunk: Chunk;
	readonly offset: number;
	readonly bytes: number;
	readonly elements: number;
	readonly int8: boolean;
}

export class WeightStore {
	readonly #tensors = new Map<string, StoredTensor>();
	readonly #places = new Map<string, Place>();
	readonly #chunks: Chunk[] = [];
	readonly #errors = new Map<string, number>();
	#unsettled = 0;
	#settling: Promise<void> = Promise.resolve();

	constructor(
		readonly gpu: Gpu,
		readonly storage: 'f32' | 'f16',
		/** `int8`: large matrices take a third of f32's room. */
		readonly base: Base = 'f16'
	) {}

	/** Bytes allocated on the GPU, or about to be. */
	get bytes(): number {
		return this.#chunks.reduce((sum, { buffer, size }) => sum + (buffer ? size : 0), 0);
	}

	get names(): string[] {
		return [...this.#tensors.keys()];
	}

	/**
	 * Finds a place for a tensor. What is reserved in one order lies in that order, whatever comes in first; what is reserved before the first of it comes in takes no more memory than it needs
	 * (`weight-bytes.ts`).
	 */
	reserve(name: string, shape: readonly number[]): void {
		this.#place(name, shape);
	}

	/**
	 * Whether `load` should be given a tensor. A software adapter only copies: kernels run on the processor there, where JavaScript changes a small model sooner than they are compiled (lavapipe, two
	 * cores: 0.4 s for each kernel).
	 */
	takes({ shape, type, offset, swap }: RawTensor): boolean {
		if (!this.gpu.adapter.software) return true;
		const kept = type === (this.storage === 'f16' ? 'F16' : 'F32') && !swap && !quantised(shape, this.base);
		return kept && offset % 4 === 0 && (countOf(shape) * RAW_BYTES[type]) % 4 === 0;
	}

	/**
	 * Tensors as they lie in a file, changed on the way by the GPU. All or none of them are here afterwards.
	 * Rejects with GpuError, with what reading or `onProgress` throws.
	 * @param onProgress bytes that are on their way
	 */
	async load(tensors: readonly RawTensor[], source: ByteSource, onProgress?: (bytes: number) => void): Promise<void> {
		const places = tensors.map(({ name, shape }) => {
			if (this.#tensors.has(name)) throw new Error(`Weight ${name} was added twice.`);
			return this.#place(name, shape);
		});
		const { uploadTensors } = await import('./weights-upload');
		const buffers = await Promise.all(places.map(({ chunk }) => this.#bufferOf(chunk, chunk.used)));
		const placed = tensors.map((tensor, i) => {
			const { offset, int8, bytes } = places[i] as Place;
			const dtype = int8 ? ('i8' as const) : this.storage;
			return {
				...tensor,
				becomes: dtype,
				buffer: buffers[i] as GPUBuffer,
				place: offset,
				stored: { buffer: buffers[i] as GPUBuffer, offset, bytes, shape: [...tensor.shape], dtype }
			};
		});
		for (const [name, error] of await uploadTensors(this.gpu, placed, source, onProgress)) this.#errors.set(name, error);
		for (const { name, stored } of placed) this.#tensors.set(name, stored);
	}

	/** Uploads one tensor; Uint16Array holds the bits of halves. Rejects with GpuError 'memory' when the GPU is full. */
	async add(name: string, shape: readonly number[], data: Float32Array | Uint16Array): Promise<void> {
		const elements = shape.reduce((product, size) => product * size, 1);
		if (elements !== data.length) throw new Error(`Weight ${name}: shape [${shape.join(', ')}] has ${elements} elements, the data ${data.length}.`);
		if (this.#tensors.has(name)) throw new Error(`Weight ${name} was added twice.`);
		const known = this.#places.has(name);
		const { chunk, offset, bytes, int8 } = this.#place(name, shape);
		const wanted = int8 ? this.#quantise(name, data) : this.#convert(data);
		const buffer = await this.#bufferOf(chunk, known ? chunk.used : chunk.size);
		if (wanted.byteLength % 4 === 0) upload(this.gpu, buffer, offset, wanted);
		else {
			const padded = new Uint8Array(alignUp(wanted.byteLength, 4));
			padded.set(new Uint8Array(wanted.buffer, wanted.byteOffset, wanted.byteLength));
			upload(this.gpu, buffer, offset, padded);
		}
		this.#tensors.set(name, { buffer, offset, bytes, shape: [...shape], dtype: int8 ? 'i8' : this.storage });
		this.#unsettled += bytes;
		if (this.#unsettled < IN_FLIGHT / 2) return;
		this.#unsettled = 0;
		// One half is taken in while the next is made ready.
		await this.#settling;
		this.#settling = settle(this.gpu);
		this.#settling.catch(() => undefined);
	}

	get(name: string): StoredTensor | undefined {
		return this.#tensors.get(name);
	}

	/** What int8 cost, once weights are in; undefined when none is in int8. */
	get int8Error(): Int8Error | undefined {
		let worst = { name: '', error: -1 };
		let [sum, count] = [0, 0];
		for (const [name, error] of this.#errors) {
			const size = this.#tensors.get(name)?.bytes ?? 0;
			sum += error * error * size;
			count += size;
			if (error > worst.error) worst = { name, error };
		}
		return count === 0 ? undefined : { byName: this.#errors, mean: Math.sqrt(sum / count), worst };
	}

	/** Reads a weight back as kernels see it, for tests and merging. */
	async read(name: string): Promise<Float32Array> {
		const tensor = this.#tensors.get(name);
		if (!tensor) throw new Error(`There is no weight ${name}.`);
		const elements = tensor.shape.reduce((product, size) => product * size, 1);
		if (tensor.dtype === 'i8') {
			return dequantise(await readBuffer(this.gpu, tensor.buffer, tensor.offset, quantisedPlaces(elements).end), elements);
		}
		const raw = await readBuffer(this.gpu, tensor.buffer, tensor.offset, elements * (this.storage === 'f16' ? 2 : 4));
		return this.storage === 'f16' ? halvesToFloats(new Uint16Array(raw)) : new Float32Array(raw);
	}

	destroy(): void {
		for (const chunk of this.#chunks) void chunk.buffer?.then((buffer) => buffer.destroy()).catch(() => undefined);
		this.#chunks.length = 0;
		this.#places.clear();
		this.#tensors.clear();
	}

	#quantise(name: string, data: Float32Array | Uint16Array): Uint8Array<ArrayBuffer> {
		const { data: bytes, error } = quantise(data);
		this.#errors.set(name, error);
		return bytes;
	}

	#convert(data: Float32Array | Uint16Array): Float32Array | Uint16Array {
		if (this.storage === 'f16') return data instanceof Uint16Array ? data : floatsToHalves(data);
		return data instanceof Float32Array ? data : halvesToFloats(data);
	}

	#place(name: string, shape: readonly number[]): Place {
		const known = this.#places.get(name);
		if (known) return known;
		const bytes = tensorBytes(shape, this.storage, this.base);
		const limit = Math.min(this.gpu.limits.maxStorageBufferBindingSize, this.gpu.limits.maxBufferSize);
		if (bytes > limit) throw new Error(`A weight of ${bytes} bytes is larger than this GPU can bind (${limit}).`);
		const place = { ...findRoom(this.#chunks, bytes), bytes, elements: countOf(shape), int8: quantised(shape, this.base) };
		this.#places.set(name, place);
		return place;
	}

	/** Rejects with GpuError `memory`. @param size bytes it has from now on, when this is the first to want it */
	#bufferOf(chunk: Chunk, size: number): Promise<GPUBuffer> {
		if (!chunk.buffer) {
			chunk.size = size;
			chunk.buffer = allocate(this.gpu, `weights ${this.#chunks.indexOf(chunk)}`, size);
		}
		return chunk.buffer;
	}
}
