/**
 * Memory that several programs use in turns. What a program computes on the way lives only during one run, and programs of one device run one after another, so the steps for
 * pictures of several sizes and the observer of a pass need the room of the largest, not of all.
 *
 * Rule: results are read before another program that shares the memory is run. (Gradients, histories and inputs lie elsewhere.)
 */
import { allocate } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';

export class Arenas {
	private constructor(private readonly buffers: readonly GPUBuffer[]) {}

	/** Bytes of the arenas that serve programs with these. */
	static sizes(plans: readonly (readonly number[])[]): number[] {
		const most = Math.max(0, ...plans.map((arenas) => arenas.length));
		return Array.from({ length: most }, (_, i) => Math.max(...plans.map((arenas) => arenas[i] ?? 0)));
	}

	/** @throws GpuError 'memory' when they do not fit; nothing is held then */
	static async create(gpu: Gpu, label: string, sizes: readonly number[]): Promise<Arenas> {
		const buffers: GPUBuffer[] = [];
		try {
			for (const [i, bytes] of sizes.entries()) buffers.push(await allocate(gpu, `${label} arena ${i}`, bytes));
			return new Arenas(buffers);
		} catch (cause) {
			for (const buffer of buffers) buffer.destroy();
			throw cause;
		}
	}

	get bytes(): number {
		return this.buffers.reduce((sum, { size }) => sum + size, 0);
	}

	/** Buffers for arenas of these sizes; undefined when they are too small. */
	lend(sizes: readonly number[]): GPUBuffer[] | undefined {
		const lent = sizes.map((_, i) => this.buffers[i]).filter((buffer, i) => buffer && buffer.size >= (sizes[i] ?? 0)) as GPUBuffer[];
		return lent.length === sizes.length ? lent : undefined;
	}

	destroy(): void {
		for (const buffer of this.buffers) buffer.destroy();
	}
}
