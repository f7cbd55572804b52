/**
 * A copy of a network's factors and of all its optimizer remembers. Gradients are not kept; the next step makes them afresh.
 *
 * Small copies stay on the GPU: taking one or bringing it back is one queued copy of each buffer, nothing crosses to the host. Large ones (a full-size network with AdamW takes half a
 * gigabyte) would take room from the run itself; they lie in buffers for reading back, which drivers keep in the computer's memory. Taking one is a queued copy all the same.
 */
import { allocate, readBuffer, upload } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import type { FactorStore } from './factors';

/** Copies larger than this lie in the computer's memory. */
const LARGE = 64 << 20;

/** GPU bytes of a copy of so many bytes. */
export const backupBytes = (size: number): number => (size > LARGE ? 0 : size);

export class FactorBackup {
	private constructor(
		private readonly gpu: Gpu,
		private readonly pairs: readonly { readonly own: GPUBuffer; readonly copy: GPUBuffer }[],
		/** Whether the copy lies on the GPU. */
		private readonly near: boolean
	) {}

	/** @throws GpuError 'memory' when it does not fit */
	static async create(gpu: Gpu, store: FactorStore): Promise<FactorBackup> {
		await store.ready();
		// Values, gradients, then the optimizer's buffers.
		const kept = store.buffers.filter((_, i) => i !== 1);
		const near = backupBytes(kept.reduce((sum, { size }) => sum + size, 0)) > 0;
		const usage = (near ? GPUBufferUsage.COPY_SRC : GPUBufferUsage.MAP_READ) | GPUBufferUsage.COPY_DST;
		const pairs: { own: GPUBuffer; copy: GPUBuffer }[] = [];
		try {
			for (const own of kept) pairs.push({ own, copy: await allocate(gpu, `backup of ${own.label}`, own.size, usage) });
		} catch (cause) {
			for (const { copy } of pairs) copy.destroy();
			throw cause;
		}
		return new FactorBackup(gpu, pairs, near);
	}

	/** Of the copy, wherever it lies. */
	get size(): number {
		return this.pairs.reduce((sum, { copy }) => sum + copy.size, 0);
	}

	/** Takes the state after all work queued so far. */
	take(): void {
		this.#copy((pair) => [pair.own, pair.copy]);
	}

	/** Brings it back, for all work queued after this resolves. */
	async bring(): Promise<void> {
		if (this.near) this.#copy((pair) => [pair.copy, pair.own]);
		else await this.#mapped((bytes, { own }) => upload(this.gpu, own, 0, bytes));
	}

	/** What was taken last, buffer by buffer; asked for at once. */
	async read(): Promise<Uint8Array[]> {
		if (this.near) return Promise.all(this.pairs.map(async ({ copy }) => new Uint8Array(await readBuffer(this.gpu, copy, 0, copy.size))));
		return this.#mapped((bytes) => bytes.slice());
	}

	/** @param bytes as read from a backup of the same network and optimizer */
	write(bytes: readonly Uint8Array[]): void {
		this.pairs.forEach(({ copy }, i) => {
			const part = bytes[i];
			if (part?.byteLength !== copy.size) throw new Error('The saved state belongs to other factors or another optimizer.');
			upload(this.gpu, copy, 0, part);
		});
	}

	destroy(): void {
		for (const { copy } of this.pairs) copy.destroy();
	}

	async #mapped<T>(use: (bytes: Uint8Array<ArrayBuffer>, pair: { own: GPUBuffer; copy: GPUBuffer }) => T): Promise<T[]> {
		const results: T[] = [];
		for (const pair of this.pairs) {
			await pair.copy.mapAsync(GPUMapMode.READ);
			results.push(use(new Uint8Array(pair.copy.getMappedRange()), pair));
			pair.copy.unmap();
		}
		return results;
	}

	#copy(order: (pair: { own: GPUBuffer; copy: GPUBuffer }) => [from: GPUBuffer, to: GPUBuffer]): void {
		const encoder = this.gpu.device.createCommandEncoder({ label: 'backup' });
		for (const pair of this.pairs) {
			const [from, to] = order(pair);
			encoder.copyBufferToBuffer(from, 0, to, 0, from.size);
		}
		this.gpu.device.queue.submit([encoder.finish()]);
	}
}
