/** Timings of single dispatches, added up by kernel family and by shape. */
import type { Timing } from '../../src/kernels/profile';

export interface Row {
	readonly key: string;
	readonly dispatches: number;
	readonly ms: number;
	/** Of all. */
	readonly share: number;
	readonly gflop: number;
	readonly tflops: number;
	/** Bytes that must move at least once, by the time taken. */
	readonly gbps: number;
}

const short = (x: number): number => Number(x.toPrecision(4));

export function rows(timings: readonly Timing[], keyOf: (timing: Timing) => string): Row[] {
	const total = timings.reduce((sum, { ms }) => sum + ms, 0);
	const groups = new Map<string, { dispatches: number; ms: number; flops: number; bytes: number }>();
	for (const timing of timings) {
		const key = keyOf(timing);
		const group = groups.get(key) ?? { dispatches: 0, ms: 0, flops: 0, bytes: 0 };
		group.dispatches++;
		group.ms += timing.ms;
		group.flops += timing.flops;
		group.bytes += timing.bytes;
		groups.set(key, group);
	}
	return [...groups]
		.map(([key, { dispatches, ms, flops, bytes }]) => ({
			key,
			dispatches,
			ms: short(ms),
			share: short(ms / total),
			gflop: short(flops / 1e9),
			tflops: ms > 0 ? short(flops / ms / 1e9) : 0,
			gbps: ms > 0 ? short(bytes / ms / 1e6) : 0
		}))
		.sort((a, b) => b.ms - a.ms);
}
