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
import { quantise } from './int8';
import { elementsOf } from './lowering';
import { slotBytes, slotName } from './residency';

const POOL = 1 << 20;
const PARAM_BYTES = 256;

export interface Timed {
	/** Of one repetition of all dispatches: the best of the takes. */
	readonly ms: number;
	readonly compileMs: number;
}

export interface TimeOptions {
	/** How long one take should run. */
	readonly takeMs: number;
	readonly takes: number;
	readonly mostRepeats: number;
}

interface Prepared {
	readonly pipeline: Pipeline;
	readonly group: GPUBindGroup;
	readonly uniforms: GPUBindGroup;
	readonly params: GPUBuffer;
	readonly dispatch: Dispatch;
}

export class TimingBed {
	readonly #buffers = new Map<string, GPUBuffer>();
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

	/** @throws GpuError when a kernel does not compile or memory is out */
	async time(dispatches: readonly Dispatch[], options: TimeOptions): Promise<Timed> {
		const started = performance.now();
		const ready = await Promise.all(dispatches.map((dispatch) => this.#prepare(dispatch)));
		const compileMs = performance.now() - started;
		try {
			await this.#run(ready, 1);
			const first = Math.max(await this.#run(ready, 1), 1e-3);
			const repeats = Math.max(1, Math.min(options.mostRepeats, Math.ceil(options.takeMs / first)));
			let best = first;
			for (let take = 0; take < options.takes; take++) best = Math.min(best, (await this.#run(ready, repeats)) / repeats);
			return { ms: best, compileMs };
		} finally {
			for (const { params } of ready) params.destroy();
		}
	}

	/** The first `count` numbers from `start` on of what was written last. */
	async read(slot: Slot, start: number, count: number): Promise<Float32Array> {
		const buffer = this.#buffers.get(this.#key(slot));
		if (!buffer) throw new Error(`${slotName(slot)} has not been written.`);
		const size = slot.dtype === 'f16' ? 2 : 4;
		const raw = await readBuffer(this.gpu, buffer, start * size, count * size);
		return slot.dtype === 'f16' ? halvesToFloats(new Uint16Array(raw)) : new Float32Array(raw);
	}

	/** Fills a slot with NaN, so that a kernel that leaves places unwritten is noticed. */
	async spoil(slot: Slot): Promise<void> {
		const buffer = await this.#buffer(slot);
		upload(this.gpu, buffer, 0, new Uint8Array(buffer.size).fill(0xff));
	}

	destroy(): void {
		for (const buffer of this.#buffers.values()) buffer.destroy();
		this.#buffers.clear();
		this.#scalars?.destroy();
	}

	/** Operands are told apart by name, so that an operation gets the same numbers whatever kernel computes it. */
	#key(slot: Slot): string {
		return `${slotName(slot)} ${slot.dtype} ${slotBytes(slot)}`;
	}

	async #buffer(slot: Slot): Promise<GPUBuffer> {
		const key = this.#key(slot);
		const known = this.#buffers.get(key);
		if (known) return known;
		const buffer = await allocate(this.gpu, key, slotBytes(slot));
		this.#buffers.set(key, buffer);
		if ('scratch' in slot) return buffer;
		if (slot.dtype === 'i8') {
			const [rows = 0, columns = 0] = slot.shape;
			const step = Math.max(1, Math.floor(POOL / columns));
			const scales = new Float32Array(rows);
			for (let row = 0; row < rows; row += step) {
				const some = Math.min(step, rows - row);
				const { data } = quantise(this.#pool.subarray(0, some * columns), some, columns);
				upload(this.gpu, buffer, row * columns, data.subarray(0, some * columns));
				scales.set(new Float32Array(data.slice(some * columns).buffer), row);
			}
			upload(this.gpu, buffer, rows * columns, scales);
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

	async #prepare(dispatch: Dispatch): Promise<Prepared> {
		const cache = pipelinesOf(this.gpu);
		const access: ('read' | 'read_write' | undefined)[] = [];
		dispatch.bindings.forEach(({ slot, binding, access: wanted }, i) => {
			const frozen = wanted === 'read' && !('scratch' in slot) && slot.kind === 'constant';
			access[binding ?? i] = frozen ? 'read' : 'read_write';
		});
		const [pipeline, buffers] = await Promise.all([
			cache.get({ shader: dispatch.shader, conditions: dispatch.conditions, constants: dispatch.constants, access }),
			Promise.all(dispatch.bindings.map(({ slot }) => this.#buffer(slot)))
		]);
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

	async #run(ready: readonly Prepared[], repeats: number): Promise<number> {
		const { device, timestamps } = this.gpu;
		const querySet = timestamps ? device.createQuerySet({ type: 'timestamp', count: 2 }) : undefined;
		const resolved = querySet && device.createBuffer({ size: 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
		try {
			const encoder = device.createCommandEncoder();
			const pass = encoder.beginComputePass(querySet ? { timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } } : {});
			for (let i = 0; i < repeats; i++) {
				for (const { pipeline, group, uniforms, dispatch } of ready) {
					pass.setPipeline(pipeline.pipeline);
					pass.setBindGroup(0, group);
					pass.setBindGroup(1, uniforms, [0]);
					pass.dispatchWorkgroups(...dispatch.workgroups);
				}
			}
			pass.end();
			if (querySet && resolved) encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
			const started = performance.now();
			device.queue.submit([encoder.finish()]);
			if (!resolved) {
				await device.queue.onSubmittedWorkDone();
				return performance.now() - started;
			}
			const [begin = 0n, end = 0n] = new BigUint64Array(await readBuffer(this.gpu, resolved, 0, 16));
			return Number(end - begin) / 1e6;
		} finally {
			querySet?.destroy();
			resolved?.destroy();
		}
	}
}
