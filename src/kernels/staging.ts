/**
 * The shortest way for bytes of a file onto the GPU: a few mapped buffers that are read into, copied from on the GPU, and mapped again. `queue.writeBuffer` copies once more, out of memory that
 * has to be found for every tensor anew.
 */
import { settle } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';

/** Bytes of one buffer; as many are under way as fit `IN_ALL`. */
const PIECE = 8 << 20;
const IN_ALL = 64 << 20;

export class StagingRing {
	readonly #free: GPUBuffer[] = [];
	readonly #waiting: ((buffer: GPUBuffer) => void)[] = [];
	readonly #all: GPUBuffer[] = [];
	#failure: Error | undefined;

	constructor(private readonly gpu: Gpu) {}

	/**
	 * Sends `bytes` (a multiple of 4) to `buffer` at `offset`; `fill` writes a part of them, beginning at `at`, into mapped memory. Pieces go side by side.
	 * Rejects with what `fill` throws, or GpuError.
	 */
	async send(buffer: GPUBuffer, offset: number, bytes: number, fill: (at: number, target: Uint8Array) => Promise<void>): Promise<void> {
		const pieces: Promise<void>[] = [];
		for (let at = 0; at < bytes; at += PIECE) {
			const staging = await this.#take();
			if (this.#failure) break;
			const piece = this.#piece(staging, buffer, offset + at, Math.min(PIECE, bytes - at), (target) => fill(at, target));
			// Told below, or by the call that is waiting.
			piece.catch((error: unknown) => this.#fail(error));
			pieces.push(piece);
		}
		await Promise.all(pieces);
		if (this.#failure) throw this.#failure;
	}

	async #piece(staging: GPUBuffer, buffer: GPUBuffer, offset: number, bytes: number, fill: (target: Uint8Array) => Promise<void>): Promise<void> {
		const { device } = this.gpu;
		await fill(new Uint8Array(staging.getMappedRange(), 0, bytes));
		staging.unmap();
		const encoder = device.createCommandEncoder({ label: 'weights' });
		encoder.copyBufferToBuffer(staging, 0, buffer, offset, bytes);
		device.queue.submit([encoder.finish()]);
		// Whoever wants the next one waits for the GPU here, not the sender of this piece.
		void staging.mapAsync(GPUMapMode.WRITE).then(
			() => this.#give(staging),
			(error: unknown) => this.#fail(error)
		);
	}

	#take(): Promise<GPUBuffer> {
		const free = this.#free.pop();
		if (free) return Promise.resolve(free);
		if (this.#all.length * PIECE < IN_ALL) {
			const usage = GPUBufferUsage.MAP_WRITE | GPUBufferUsage.COPY_SRC;
			const made = this.gpu.device.createBuffer({ label: 'staging', size: PIECE, usage, mappedAtCreation: true });
			this.#all.push(made);
			return Promise.resolve(made);
		}
		return new Promise((resolve) => this.#waiting.push(resolve));
	}

	#give(buffer: GPUBuffer): void {
		const next = this.#waiting.shift();
		if (next) next(buffer);
		else this.#free.push(buffer);
	}

	/** Nobody waits for a buffer that will not come. */
	#fail(error: unknown): void {
		this.#failure ??= error instanceof Error ? error : new Error(String(error));
		const [any] = this.#all;
		if (any) for (const next of this.#waiting.splice(0)) next(any);
	}

	/** Resolves when everything sent has arrived; the memory is given back. */
	async close(): Promise<void> {
		const buffers = this.#all.splice(0);
		try {
			await settle(this.gpu);
		} finally {
			for (const buffer of buffers) buffer.destroy();
		}
	}
}
