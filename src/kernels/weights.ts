/**
 * Frozen weights on the GPU: many tensors in a few large buffers, looked up by checkpoint key.
 *
 * Rules: a tensor never straddles two buffers; every tensor starts at a 256-byte boundary so that it can be bound by itself; a buffer
 * never exceeds what one binding may cover. All weights are stored in one type, halves or f32, converted here when they come in the other.
 */
import { floatsToHalves, halvesToFloats } from '../formats/half';
import { ALIGNMENT, alignUp, allocate, readBuffer, settle, upload } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';

export interface StoredTensor {
	readonly buffer: GPUBuffer;
	readonly offset: number;
	readonly bytes: number;
	readonly shape: readonly number[];
}

const CHUNK = 32 << 20;

/** Bytes uploaded before waiting for the GPU to take them: a checkpoint of gigabytes must not wait in memory. */
const IN_FLIGHT = 128 << 20;

interface Chunk {
	readonly size: number;
	used: number;
	readonly buffer: Promise<GPUBuffer>;
}

export class WeightStore {
	readonly #tensors = new Map<string, StoredTensor>();
	readonly #chunks: Chunk[] = [];
	#unsettled = 0;

	constructor(
		readonly gpu: Gpu,
		readonly storage: 'f32' | 'f16'
	) {}

	/** Bytes allocated on the GPU. */
	get bytes(): number {
		return this.#chunks.reduce((sum, chunk) => sum + chunk.size, 0);
	}

	get names(): string[] {
		return [...this.#tensors.keys()];
	}

	/** Uploads one tensor; Uint16Array holds the bits of halves. Rejects with GpuError 'memory' when the GPU is full. */
	async add(name: string, shape: readonly number[], data: Float32Array | Uint16Array): Promise<void> {
		const elements = shape.reduce((product, size) => product * size, 1);
		if (elements !== data.length) throw new Error(`Weight ${name}: shape [${shape.join(', ')}] has ${elements} elements, the data ${data.length}.`);
		if (this.#tensors.has(name)) throw new Error(`Weight ${name} was added twice.`);
		const wanted = this.#convert(data);
		const bytes = alignUp(wanted.byteLength, 16);
		const chunk = this.#room(bytes);
		const offset = chunk.used;
		chunk.used = alignUp(offset + bytes, ALIGNMENT);
		const buffer = await chunk.buffer;
		if (wanted.byteLength % 4 === 0) upload(this.gpu, buffer, offset, wanted);
		else {
			const padded = new Uint8Array(alignUp(wanted.byteLength, 4));
			padded.set(new Uint8Array(wanted.buffer, wanted.byteOffset, wanted.byteLength));
			upload(this.gpu, buffer, offset, padded);
		}
		this.#tensors.set(name, { buffer, offset, bytes, shape: [...shape] });
		this.#unsettled += bytes;
		if (this.#unsettled < IN_FLIGHT) return;
		this.#unsettled = 0;
		await settle(this.gpu);
	}

	get(name: string): StoredTensor | undefined {
		return this.#tensors.get(name);
	}

	/** Reads a weight back, for tests and merging. */
	async read(name: string): Promise<Float32Array> {
		const tensor = this.#tensors.get(name);
		if (!tensor) throw new Error(`There is no weight ${name}.`);
		const elements = tensor.shape.reduce((product, size) => product * size, 1);
		const raw = await readBuffer(this.gpu, tensor.buffer, tensor.offset, elements * (this.storage === 'f16' ? 2 : 4));
		return this.storage === 'f16' ? halvesToFloats(new Uint16Array(raw)) : new Float32Array(raw);
	}

	destroy(): void {
		for (const chunk of this.#chunks) void chunk.buffer.then((buffer) => buffer.destroy()).catch(() => undefined);
		this.#chunks.length = 0;
		this.#tensors.clear();
	}

	#convert(data: Float32Array | Uint16Array): Float32Array | Uint16Array {
		if (this.storage === 'f16') return data instanceof Uint16Array ? data : floatsToHalves(data);
		return data instanceof Float32Array ? data : halvesToFloats(data);
	}

	#room(bytes: number): Chunk {
		const fitting = this.#chunks.find((chunk) => chunk.used + bytes <= chunk.size);
		if (fitting) return fitting;
		const limit = Math.min(this.gpu.limits.maxStorageBufferBindingSize, this.gpu.limits.maxBufferSize);
		if (bytes > limit) throw new Error(`A weight of ${bytes} bytes is larger than this GPU can bind (${limit}).`);
		const size = Math.max(bytes, Math.min(CHUNK, limit - (limit % ALIGNMENT)));
		const chunk: Chunk = { size: alignUp(size, 16), used: 0, buffer: allocate(this.gpu, `weights ${this.#chunks.length}`, size) };
		this.#chunks.push(chunk);
		return chunk;
	}
}
