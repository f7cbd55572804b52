/**
 * A copy of a network's factors and of all its optimizer remembers, kept on the GPU: taking it or bringing it back is one queued copy of each buffer, nothing crosses
 * to the host. Gradients are not kept; the next step makes them afresh.
 */
import { allocate, readBuffer, upload } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import type { FactorStore } from './factors';

export class FactorBackup {
	private constructor(
		private readonly gpu: Gpu,
		private readonly pairs: readonly { readonly own: GPUBuffer; readonly copy: GPUBuffer }[]
	) {}

	/** @throws GpuError 'memory' when it does not fit */
	static async create(gpu: Gpu, store: FactorStore): Promise<FactorBackup> {
		await store.ready();
		const pairs: { own: GPUBuffer; copy: GPUBuffer }[] = [];
		try {
			// Values, gradients, then the optimizer's buffers.
			for (const [i, own] of store.buffers.entries())
				if (i !== 1) pairs.push({ own, copy: await allocate(gpu, `backup of ${own.label}`, own.size, GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST) });
		} catch (cause) {
			for (const { copy } of pairs) copy.destroy();
			throw cause;
		}
		return new FactorBackup(gpu, pairs);
	}

	get bytes(): number {
		return this.pairs.reduce((sum, { copy }) => sum + copy.size, 0);
	}

	/** Takes the state after all work queued so far. */
	take(): void {
		this.#copy((pair) => [pair.own, pair.copy]);
	}

	/** Brings it back, for all work queued from now on. */
	bring(): void {
		this.#copy((pair) => [pair.copy, pair.own]);
	}

	/** What was taken last, buffer by buffer; asked for at once. */
	async read(): Promise<Uint8Array[]> {
		return Promise.all(this.pairs.map(async ({ copy }) => new Uint8Array(await readBuffer(this.gpu, copy, 0, copy.size))));
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

	#copy(order: (pair: { own: GPUBuffer; copy: GPUBuffer }) => [from: GPUBuffer, to: GPUBuffer]): void {
		const encoder = this.gpu.device.createCommandEncoder({ label: 'backup' });
		for (const pair of this.pairs) {
			const [from, to] = order(pair);
			encoder.copyBufferToBuffer(from, 0, to, 0, from.size);
		}
		this.gpu.device.queue.submit([encoder.finish()]);
	}
}
