/**
 * How long work takes, from a moment at which the GPU has nothing to do to the next one. A software adapter computes in this very process, so there its processor time says what the work costs,
 * whatever else the machine does; elsewhere the clock does.
 */
import type { Gpu } from '../../src/gpu/gpu';

/** Milliseconds. */
export interface Spent {
	/** Processor time of the process, all threads. */
	readonly cpu: number;
	readonly wall: number;
}

/** The one of the two that tells. */
export function clockOf(gpu: Gpu): keyof Spent {
	return gpu.adapter.software ? 'cpu' : 'wall';
}

export async function spent(gpu: Gpu, work: () => Promise<unknown>): Promise<Spent> {
	const idle = (): Promise<undefined> => gpu.device.queue.onSubmittedWorkDone();
	await idle();
	const [before, begun] = [process.cpuUsage(), performance.now()];
	await work();
	await idle();
	const { user, system } = process.cpuUsage(before);
	return { cpu: (user + system) / 1000, wall: performance.now() - begun };
}
