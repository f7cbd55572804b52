/**
 * Times of steps on a GPU that is kept busy, and what recording them costs the thread that does it.
 *
 * Rules
 * - A card lowers its clock when it is busy in bursts. So the queue stays full from the first step to the last, and a step's time is what lies between the ends of two steps, not between a start and an idle queue.
 * - Measuring begins when two groups of steps in a row took the same time within 3 %, after half a second at least.
 * - Recording is time inside of WebGPU's calls from the encoder's making to the submit's return, and of writes to buffers. Waiting for room in the queue is no part of it.
 */

/** Milliseconds inside of WebGPU's calls. */
export interface Recording {
	/** From making an encoder to having finished it. */
	encoding: number;
	submitting: number;
	writing: number;
	submits: number;
}

/** Puts clocks around a device's calls; to be done once. What it returns counts on from zero. */
export function clockRecording(device: GPUDevice): Recording {
	const spent: Recording = { encoding: 0, submitting: 0, writing: 0, submits: 0 };
	const { queue } = device;
	const [make, submit, write] = [device.createCommandEncoder.bind(device), queue.submit.bind(queue), queue.writeBuffer.bind(queue)];
	device.createCommandEncoder = (descriptor) => {
		const start = performance.now();
		const encoder = make(descriptor);
		const finish = encoder.finish.bind(encoder);
		encoder.finish = (options) => {
			const commands = finish(options);
			spent.encoding += performance.now() - start;
			return commands;
		};
		return encoder;
	};
	queue.submit = (commands) => {
		const start = performance.now();
		submit(commands);
		spent.submitting += performance.now() - start;
		spent.submits++;
		return undefined;
	};
	queue.writeBuffer = (buffer, offset, data, from, size) => {
		const start = performance.now();
		write(buffer, offset, data, from, size);
		spent.writing += performance.now() - start;
		return undefined;
	};
	return spent;
}

export interface Pace {
	/** Of a step: the median of groups of `GROUP`, and the best of runs of `RUN` groups (the ends of a single one are seen late while the thread records). */
	readonly ms: number;
	readonly best: number;
	/** Steps before it settled, and measured ones. */
	readonly warmup: number;
	readonly steps: number;
	/** Of one step. */
	readonly recording: Recording;
}

const GROUP = 2;
const RUN = 3;
const SETTLED = 0.03;
const LEAST_WARMUP_MS = 500;
const MOST_WARMUP_MS = 3000;

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;

/**
 * @param run records and submits one step; it may wait for room in the queue
 * @param least steps that are measured; more, until half a second has passed
 */
export async function keepPace(queue: GPUQueue, recording: Recording, run: () => Promise<unknown>, least: number): Promise<Pace> {
	/** When each group of steps ended. */
	const ends: number[] = [];
	const pending: Promise<unknown>[] = [];
	let made = 0;
	const group = async (): Promise<void> => {
		for (let i = 0; i < GROUP; i++) await run();
		made += GROUP;
		pending.push(queue.onSubmittedWorkDone().then(() => ends.push(performance.now())));
		// Short steps would pile up: no more than two groups ahead of the GPU.
		if (pending.length > 2) await pending[pending.length - 3];
	};
	const took = (back: number): number => ((ends.at(-1 - back) ?? NaN) - (ends.at(-2 - back) ?? NaN)) / GROUP;
	const began = performance.now();
	for (;;) {
		await group();
		const passed = performance.now() - began;
		const settled = Math.abs(took(0) / took(1) - 1) < SETTLED;
		if (passed > MOST_WARMUP_MS || (passed > LEAST_WARMUP_MS && settled)) break;
	}
	const warmup = made;
	const before = { ...recording };
	const first = ends.length;
	const measured = performance.now();
	while (made - warmup < Math.max(least, RUN * GROUP) || performance.now() - measured < LEAST_WARMUP_MS) await group();
	const steps = made - warmup;
	const share = (key: keyof Recording): number => (recording[key] - before[key]) / steps;
	await Promise.all(pending);
	const times = ends.slice(first).map((end, i) => (end - (ends[first + i - 1] ?? NaN)) / GROUP);
	return {
		ms: median(times),
		best: Math.min(...ends.slice(first + RUN - 1).map((end, i) => (end - (ends[first + i - 1] ?? NaN)) / (RUN * GROUP))),
		warmup,
		steps,
		recording: { encoding: share('encoding'), submitting: share('submitting'), writing: share('writing'), submits: share('submits') }
	};
}
