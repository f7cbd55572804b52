/** Submits on a simulated GPU: short from the first one on, also where the machine is slower than assumed, and longer again where it is faster. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Gpu } from '../../../src/gpu/gpu';
import { SLICE_MS, slices, Submitter } from '../../../src/kernels/submit';

/** A queue that takes `slowness` times the estimate for everything. */
function simulated(slowness: number): { gpu: Gpu; took: number[]; work: (estimate: number) => void } {
	let busyUntil = 0;
	let next = 0;
	const took: number[] = [];
	const queue = {
		submit(): void {
			busyUntil = Math.max(performance.now(), busyUntil) + next * slowness;
			took.push(next * slowness);
		},
		onSubmittedWorkDone: () => new Promise<void>((resolve) => setTimeout(resolve, busyUntil - performance.now()))
	};
	const gpu = { device: { queue }, check: () => undefined } as unknown as Gpu;
	return { gpu, took, work: (estimate) => (next = estimate) };
}

async function run(submitter: Submitter, costs: readonly number[], work: (estimate: number) => void): Promise<void> {
	let start = 0;
	for (const end of slices(costs, SLICE_MS / submitter.correction)) {
		while (submitter.full) await vi.advanceTimersToNextTimerAsync();
		const estimate = costs.slice(start, end).reduce((a, b) => a + b, 0);
		work(estimate);
		submitter.submit({} as GPUCommandBuffer, estimate);
		start = end;
	}
}

describe('submits', () => {
	beforeEach(() => void vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] }));
	afterEach(() => void vi.useRealTimers());

	it.each([0.05, 1, 4, 9])('of a GPU that takes %s times the estimate stay below 250 ms', async (slowness) => {
		const { gpu, took, work } = simulated(slowness);
		const costs = Array.from({ length: 600 }, (_, i) => 1 + (i % 3));
		const submitter = new Submitter(gpu);
		for (let k = 0; k < 12; k++) await run(submitter, costs, work);
		expect(Math.max(...took)).toBeLessThanOrEqual(250);
		// In the end as long as wanted: few submits where the GPU is fast.
		const total = costs.reduce((a, b) => a + b, 0) * slowness;
		const before = took.length;
		await run(submitter, costs, work);
		expect(took.length - before).toBeLessThanOrEqual(Math.ceil((1.6 * total) / SLICE_MS) + 1);
		// The next program of the device begins with what was learned.
		expect(new Submitter(gpu).correction).toBeCloseTo(submitter.correction, 5);
		expect(submitter.correction / slowness).toBeGreaterThan(0.6);
		await vi.runAllTimersAsync();
	});
});
