/**
 * Times kernels by themselves: the dispatches of one operation over buffers of their own, repeated in one pass between two GPU timestamps (wall clock where there are none).
 * Used to choose kernels by measurement and by the benches.
 *
 * Operands hold the same pool of small random numbers; what an operation writes is kept until `destroy`, so that results of two kernels can be compared.
 */
import { floatsToHalves, halvesToFloats } from '../formats/half';
import { allocate, readBuffer, upload } from '../gpu/buffers';
import { type Gpu } from '../gpu/gpu';
import { pipelinesOf, type Pipeline } from '../gpu/pipelines';
import type { Dispatch, Slot } from './dispatch';
import { quantise, quantisedPlaces } from './int8';
import { elementsOf } from './lowering';
import { slotBytes, slotName } from './residency';

const POOL = 1 << 20;
const PARAM_BYTES = 256;

interface TimeOptions {
	/** How long one candidate should run in each round, as far as `mostRepeats` allows. */
	readonly takeMs: number;
	readonly mostRepeats: number;
	readonly rounds: number;
	/** Work before the rounds. */
	readonly warmMs: number;
}

interface Prepared {
	readonly pipeline: Pipeline;
	readonly group: GPUBindGroup;
	readonly uniforms: GPUBindGroup;
	readonly params: GPUBuffer;
	readonly dispatch: Dispatch;
}

export class TimingBed {
	readonly #buffers = new Map<string, Promise<GPUBuffer>>();
	readonly #pool: Float32Array;
	readonly #halves: Uint16Array<ArrayBuffer>;
	#scalars: GPUBuffer | undefined;

	constructor(readonly gpu: Gpu) {
		let state = 12345;
		this.#pool = Float32Array.from({ length: POOL }, () => {
			state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
			return (state / 2 ** 32 - 0.5) * 2;
		});
		this.#halves = new Uint16Array(floatsToHalves(this.#pool));
		this.#pool = halvesToFloats(this.#halves);
	}

	/**
	 * Milliseconds of one repetition of each candidate's dispatches, the best of the rounds. All candidates run back to back in submits that are queued ahead, after `warmMs` of work:
	 * a GPU that is busy only now and then lowers its clock (measured: to a sixth on an H100), and kernels timed then cannot be compared.
	 * @throws GpuError when a kernel does not compile or memory is out
	 */
	async time(candidates: readonly (readonly Dispatch[])[], options: TimeOptions): Promise<number[]> {
		const ready = await Promise.all(candidates.map((dispatches) => Promise.all(dispatches.map((dispatch) => this.#prepare(dispatch)))));
		try {
			// Twice: what runs for the first time takes longer.
			await this.#round(
				ready,
				ready.map(() => 1)
			);
			const once = await this.#round(
				ready,
				ready.map(() => 1)
			);
			const repeats = once.map((ms) => Math.max(1, Math.min(options.mostRepeats, Math.ceil(options.takeMs / Math.max(ms, 1e-3)))));
			const quickest = once.indexOf(Math.min(...once));
			const rounds: Promise<number[]>[] = [];
			if (options.warmMs > 0)
				rounds.push(
					this.#round(ready.slice(quickest, quickest + 1), [Math.max(1, Math.min(20000, Math.ceil(options.warmMs / Math.max(once[quickest] ?? 1, 1e-3))))])
				);
			for (let round = 0; round < options.rounds; round++) rounds.push(this.#round(ready, repeats));
			const taken = (await Promise.all(rounds)).slice(options.warmMs > 0 ? 1 : 0);
			return repeats.map((count, i) => Math.min(...taken.map((round) => (round[i] ?? Infinity) / count)));
		} finally {
			for (const { params } of ready.flat()) params.destroy();
		}
	}

	/** Runs an operation once, so that its result can be read. */
	async run(dispatches: readonly Dispatch[]): Promise<void> {
		const ready = await Promise.all(dispatches.map((dispatch) => this.#prepare(dispatch)));
		const encoder = this.gpu.device.createCommandEncoder();
		const pass = encoder.beginComputePass();
		encode(pass, ready, 1);
		pass.end();
		this.gpu.device.queue.submit([encoder.finish()]);
		await this.gpu.device.queue.onSubmittedWorkDone();
		for (const { params } of ready) params.destroy();
	}

	/** Compiles without running, so that many kernels can be compiled at a time. */
	async compile(dispatches: readonly Dispatch[]): Promise<void> {
		await Promise.all(dispatches.map((dispatch) => this.#pipeline(dispatch)));
	}

	/** The first `count` numbers from `start` on of what was written last. */
	async read(slot: Slot, start: number, count: number): Promise<Float32Array> {
		const buffer = await this.#buffers.get(this.#key(slot));
		if (!buffer) throw new Error(`${slotName(slot)} has not been written.`);
		const size = slot.dtype === 'f16' ? 2 : 4;
		const raw = await readBuffer(this.gpu, buffer, start * size, count * size);
		return slot.dtype === 'f16' ? halvesToFloats(new Uint16Array(raw)) : new Float32Array(raw);
	}

	/** Clears what was written, so that a kernel that leaves places unwritten is noticed. */
	async clear(slot: Slot): Promise<void> {
		const encoder = this.gpu.device.createCommandEncoder();
		encoder.clearBuffer(await this.#buffer(slot));
		this.gpu.device.queue.submit([encoder.finish()]);
	}

	destroy(): void {
		for (const pending of this.#buffers.values()) void pending.then((buffer) => buffer.destroy()).catch(() => undefined);
		this.#buffers.clear();
		this.#scalars?.destroy();
	}

	/** Operands are told apart by name, so that an operation gets the same numbers whatever kernel computes it. */
	#key(slot: Slot): string {
		return `${slotName(slot)} ${slot.dtype} ${slotBytes(slot)}`;
	}

	/** One for all that name it, also when they ask at the same time. */
	#buffer(slot: Slot): Promise<GPUBuffer> {
		const key = this.#key(slot);
		let buffer = this.#buffers.get(key);
		if (!buffer) this.#buffers.set(key, (buffer = this.#filled(slot, key)));
		return buffer;
	}

	async #filled(slot: Slot, key: string): Promise<GPUBuffer> {
		const buffer = await allocate(this.gpu, key, slotBytes(slot));
		if ('scratch' in slot) return buffer;
		if (slot.dtype === 'i8') {
			const elements = elementsOf(slot);
			const whole = quantisedPlaces(elements);
			for (let done = 0; done < elements; done += POOL) {
				// Whole groups and words, but for the last piece.
				const count = Math.min(POOL, elements - done);
				const { data } = quantise(this.#pool.subarray(0, count));
				const part = quantisedPlaces(count);
				upload(this.gpu, buffer, done, data.subarray(0, part.twos));
				upload(this.gpu, buffer, whole.twos + done / 4, data.subarray(part.twos, part.ones));
				upload(this.gpu, buffer, whole.ones + done / 8, data.subarray(part.ones, part.scales));
				upload(this.gpu, buffer, whole.scales + done / 32, data.subarray(part.scales, part.end));
			}
			return buffer;
		}
		const source = slot.dtype === 'f16' ? this.#halves : this.#pool;
		const elements = elementsOf(slot);
		// Each stretch begins elsewhere in the pool, so that rows are not all alike.
		for (let done = 0, turn = 0; done < elements; turn++) {
			const from = (turn * 4096 * 37 + key.length * 64) % (POOL / 2);
			const length = Math.min(elements - done, POOL / 2);
			upload(this.gpu, buffer, done * source.BYTES_PER_ELEMENT, source.subarray(from, from + length + (length % 2)));
			done += length;
		}
		return buffer;
	}

	#pipeline(dispatch: Dispatch): Promise<Pipeline> {
		const access: ('read' | 'read_write' | undefined)[] = [];
		dispatch.bindings.forEach(({ slot, binding, access: wanted }, i) => {
			const frozen = wanted === 'read' && !('scratch' in slot) && slot.kind === 'constant';
			access[binding ?? i] = frozen ? 'read' : 'read_write';
		});
		return pipelinesOf(this.gpu).get({ shader: dispatch.shader, conditions: dispatch.conditions, constants: dispatch.constants, access });
	}

	async #prepare(dispatch: Dispatch): Promise<Prepared> {
		const cache = pipelinesOf(this.gpu);
		const [pipeline, buffers] = await Promise.all([this.#pipeline(dispatch), Promise.all(dispatch.bindings.map(({ slot }) => this.#buffer(slot)))]);
		const { device } = this.gpu;
		const group = device.createBindGroup({
			layout: pipeline.storageLayout,
			entries: buffers.map((buffer, i) => ({ binding: dispatch.bindings[i]?.binding ?? i, resource: { buffer } }))
		});
		const params = device.createBuffer({ size: PARAM_BYTES, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
		device.queue.writeBuffer(params, 0, dispatch.params);
		if (!this.#scalars) {
			this.#scalars = device.createBuffer({ size: 256, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
			device.queue.writeBuffer(this.#scalars, 0, new Float32Array(64).fill(1));
		}
		const uniforms = device.createBindGroup({
			layout: cache.uniformLayout,
			entries: [
				{ binding: 0, resource: { buffer: params, size: PARAM_BYTES } },
				{ binding: 1, resource: { buffer: this.#scalars } }
			]
		});
		return { pipeline, group, uniforms, params, dispatch };
	}

	/** Milliseconds of each candidate's repetitions. Queued when this returns. */
	async #round(ready: readonly (readonly Prepared[])[], repeats: readonly number[]): Promise<number[]> {
		const { device, timestamps } = this.gpu;
		if (!timestamps) return this.#clocked(ready, repeats);
		const count = 2 * ready.length;
		const querySet = device.createQuerySet({ type: 'timestamp', count });
		const resolved = device.createBuffer({ size: 8 * count, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
		try {
			ready.forEach((dispatches, i) => {
				const encoder = device.createCommandEncoder();
				const pass = encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 } });
				encode(pass, dispatches, repeats[i] ?? 1);
				pass.end();
				device.queue.submit([encoder.finish()]);
			});
			const encoder = device.createCommandEncoder();
			encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
			device.queue.submit([encoder.finish()]);
			const stamps = new BigUint64Array(await readBuffer(this.gpu, resolved, 0, 8 * count));
			return ready.map((_, i) => Number((stamps[2 * i + 1] ?? 0n) - (stamps[2 * i] ?? 0n)) / 1e6);
		} finally {
			querySet.destroy();
			resolved.destroy();
		}
	}

	async #clocked(ready: readonly (readonly Prepared[])[], repeats: readonly number[]): Promise<number[]> {
		const { queue } = this.gpu.device;
		const times: number[] = [];
		for (const [i, dispatches] of ready.entries()) {
			const encoder = this.gpu.device.createCommandEncoder();
			const pass = encoder.beginComputePass();
			encode(pass, dispatches, repeats[i] ?? 1);
			pass.end();
			const started = performance.now();
			queue.submit([encoder.finish()]);
			await queue.onSubmittedWorkDone();
			times.push(performance.now() - started);
		}
		return times;
	}
}

function encode(pass: GPUComputePassEncoder, dispatches: readonly Prepared[], repeats: number): void {
	for (let i = 0; i < repeats; i++) {
		for (const { pipeline, group, uniforms, dispatch } of dispatches) {
			pass.setPipeline(pipeline.pipeline);
			pass.setBindGroup(0, group);
			pass.setBindGroup(1, uniforms, [0]);
			pass.dispatchWorkgroups(...dispatch.workgroups);
		}
	}
}
