/**
 * Times every dispatch of a program by itself: GPU timestamps where the adapter has them, else wall clock around a submit of its own.
 *
 * Timestamps are quantised in browsers (65 µs in Chrome) and a dispatch alone cannot overlap its neighbours, so the sum is an upper
 * bound of a run; compare shares, not totals.
 */
import { readBuffer } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import type { Dispatch } from './dispatch';
import { encodeCopy, encodeDispatch, type Ready } from './encode';

export interface Timing {
	readonly family: string;
	readonly label: string;
	readonly shader: string;
	/** Its arrays: what it reads → what it writes. */
	readonly shape: string;
	readonly ms: number;
	readonly flops: number;
	readonly bytes: number;
}

function shapeOf({ bindings }: Dispatch): string {
	const list = (written: boolean): string =>
		bindings.flatMap(({ slot, access }) => ((access !== 'read') === written ? ['shape' in slot ? slot.shape.join('x') : `(${slot.elements})`] : [])).join(' ');
	return `${list(false)} > ${list(true)}`;
}

/** Two timestamps per dispatch; a query set holds at most 4096. */
const BATCH = 512;

export async function profileSteps(gpu: Gpu, ready: readonly Ready[]): Promise<Timing[]> {
	const timings: Timing[] = [];
	const size = gpu.timestamps ? BATCH : 1;
	for (let start = 0; start < ready.length; start += size) {
		const batch = ready.slice(start, start + size);
		const times = gpu.timestamps ? await stamped(gpu, batch) : await clocked(gpu, batch);
		batch.forEach((item, i) => {
			const step = 'step' in item ? item.step : { family: 'copy', label: item.label, shader: 'copy', flops: 0, bytes: 2 * item.bytes };
			const shape = 'step' in item ? shapeOf(item.step) : `${item.bytes} bytes`;
			timings.push({ family: step.family, label: step.label, shader: step.shader, shape, ms: times[i] ?? 0, flops: step.flops, bytes: step.bytes });
		});
	}
	gpu.check();
	return timings;
}

function encodeOne(encoder: GPUCommandEncoder, item: Ready, timestampWrites?: GPUComputePassTimestampWrites): void {
	if ('step' in item) {
		const pass = encoder.beginComputePass(timestampWrites ? { timestampWrites } : {});
		encodeDispatch(pass, item);
		pass.end();
	} else encodeCopy(encoder, item);
}

async function stamped(gpu: Gpu, batch: readonly Ready[]): Promise<number[]> {
	const { device } = gpu;
	const querySet = device.createQuerySet({ type: 'timestamp', count: batch.length * 2 });
	const resolved = device.createBuffer({ size: batch.length * 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
	try {
		const encoder = device.createCommandEncoder({ label: 'profile' });
		batch.forEach((item, i) => encodeOne(encoder, item, { querySet, beginningOfPassWriteIndex: i * 2, endOfPassWriteIndex: i * 2 + 1 }));
		encoder.resolveQuerySet(querySet, 0, batch.length * 2, resolved, 0);
		device.queue.submit([encoder.finish()]);
		const stamps = new BigUint64Array(await readBuffer(gpu, resolved, 0, batch.length * 16));
		return batch.map((_, i) => Number((stamps[i * 2 + 1] ?? 0n) - (stamps[i * 2] ?? 0n)) / 1e6);
	} finally {
		querySet.destroy();
		resolved.destroy();
	}
}

async function clocked(gpu: Gpu, batch: readonly Ready[]): Promise<number[]> {
	const times: number[] = [];
	for (const item of batch) {
		const encoder = gpu.device.createCommandEncoder({ label: 'profile' });
		encodeOne(encoder, item);
		const started = performance.now();
		gpu.device.queue.submit([encoder.finish()]);
		await gpu.device.queue.onSubmittedWorkDone();
		times.push(performance.now() - started);
	}
	return times;
}
