/**
 * A graph made ready to run: lowered to dispatches, memory planned and allocated, pipelines and bind groups made once.
 *
 * Rules: a run only writes one 256-byte block of scalars (and the inputs that changed) and re-encodes the list; what the plan says is what
 * is allocated; nothing is read back in the hot loop except on demand.
 */
import { allocate, formatBytes, readBuffer, STORAGE_USAGE } from '../gpu/buffers';
import { GpuError, type Gpu } from '../gpu/gpu';
import { JOINED, pipelinesOf } from '../gpu/pipelines';
import type { Graph, Value } from '../graph/ir';
import { halvesToFloats } from '../formats/half';
import type { Arenas } from './arenas';
import type { Slot } from './dispatch';
import type { FactorStore } from './factors';
import { elementsOf } from './lowering';
import { encodeCopy, encodeDispatch, type Ready } from './encode';
import { HISTORY_RUNS, machineOf, PARAM_BYTES, planProgram, SCALAR_BYTES, type PlanOptions, type ProgramPlan } from './plan-program';
import { profileSteps, type Timing } from './profile';
import { findExternal, isCopy, slotBytes, slotName, type Home, type Step } from './residency';
import { estimateMs, ratesOf, SLICE_MS, slices, Submitter } from './submit';
import { asStored } from './stored';
import { accessOf } from './warm';
import type { WeightStore } from './weights';

export interface CompileOptions extends PlanOptions {
	readonly weights: WeightStore;
	readonly factors: readonly FactorStore[];
	readonly label?: string;
	readonly onProgress?: (done: number, total: number) => void;
	/** Memory shared with other programs; absent: the program's own. */
	readonly arenas?: Arenas | undefined;
}

export interface ProgramSummary {
	readonly dispatches: number;
	readonly pipelines: number;
	/** Arenas (unless they are shared), inputs, parameter blocks and history rings: what the plan asked for, and what was allocated. Weights and factors are the stores'. */
	readonly plannedBytes: number;
	readonly allocatedBytes: number;
	/** Planned, shared or not. */
	readonly arenas: readonly number[];
	readonly flops: number;
}

export interface Program {
	readonly summary: ProgramSummary;
	/** Sets an input for all later runs. */
	write(value: Value, data: Float32Array | Uint32Array): void;
	/**
	 * Encodes and submits one run; scalars that are not named keep their last value (1 at first). Waits only while three submits are unfinished.
	 * `onSlice` is called before each submit with the share of the work submitted so far; what it throws ends the run there.
	 */
	run(scalars?: Readonly<Record<string, number>>, onSlice?: (fraction: number) => void): Promise<void>;
	/** Resolves when all runs are done. */
	idle(): Promise<void>;
	/** Contents after the last run, of an output, input or gradient. */
	read(value: Value): Promise<Float32Array>;
	/** A history value's contents of all runs since the last call, run by run (the latest 4096). */
	readHistory(value: Value): Promise<Float32Array>;
	/** Runs once, timing every dispatch by itself. */
	profile(scalars?: Readonly<Record<string, number>>): Promise<Timing[]>;
	destroy(): void;
}

export function compile(gpu: Gpu, graph: Graph, options: CompileOptions): Promise<Program> {
	return compilePlan(gpu, planProgram(machineOf(gpu), asStored(graph, options.weights), options), options);
}

/** @throws GpuError 'memory' when it does not fit; nothing is held then */
export async function compilePlan(gpu: Gpu, plan: ProgramPlan, options: Omit<CompileOptions, keyof PlanOptions>): Promise<Program> {
	const label = options.label ?? 'program';
	await Promise.all(options.factors.map((store) => store.ready()));
	const { graph, steps, memory, params, small } = plan;
	const homes = findExternal(graph, options.weights, options.factors, plan.gradients);
	const owned: GPUBuffer[] = [];
	try {
		const own = async (name: string, bytes: number): Promise<GPUBuffer> => {
			const uniform = name === 'params' || name === 'scalars';
			const buffer = await allocate(gpu, `${label} ${name}`, bytes, uniform ? GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST : STORAGE_USAGE());
			owned.push(buffer);
			return buffer;
		};
		const lent = options.arenas?.lend(memory.arenas);
		const arenas = lent ?? [];
		if (!lent) for (const [i, bytes] of memory.arenas.entries()) arenas.push(await own(`arena ${i}`, bytes));
		const others: GPUBuffer[] = [];
		for (const { name, bytes } of small) others.push(await own(name, bytes));
		const [inputs, paramBuffer, scalarBuffer, ...rings] = others;
		if (!inputs || !paramBuffer || !scalarBuffer) throw new Error(`${label}: buffers are missing.`);
		gpu.device.queue.writeBuffer(paramBuffer, 0, params.data);

		for (const [value, offset] of plan.inputs) homes.set(value, { buffer: inputs, offset, bytes: slotBytes(value), writable: false });
		for (const [slot, at] of memory.place) {
			const buffer = arenas[at.arena];
			if (buffer) homes.set(slot, { buffer, offset: at.offset, bytes: slotBytes(slot), writable: true });
		}
		const { ready, pipelines } = await prepare(gpu, steps, homes, { params: paramBuffer, offsets: params.offsets, scalars: scalarBuffer }, options.onProgress);
		const summary: ProgramSummary = {
			dispatches: plan.dispatches,
			pipelines,
			plannedBytes: plan.smallBytes + (lent ? 0 : plan.arenaBytes),
			allocatedBytes: owned.reduce((sum, buffer) => sum + buffer.size, 0),
			arenas: memory.arenas,
			flops: plan.flops
		};
		const recorded: HistoryRing[] = plan.history.flatMap((value, index) => {
			const ring = rings[index];
			return ring ? [{ value, stride: slotBytes(value), ring, from: homeOf(homes, value) }] : [];
		});
		return new CompiledProgram(gpu, label, graph, ready, homes, [...owned, ...arenas], scalarBuffer, recorded, owned, summary);
	} catch (cause) {
		owned.forEach((buffer) => buffer.destroy());
		throw cause;
	}
}

function homeOf(homes: ReadonlyMap<Slot, Home>, slot: Slot): Home {
	const home = homes.get(slot);
	if (!home) throw new Error(`${slotName(slot)} is read before anything writes it.`);
	return home;
}

function bindable(gpu: Gpu, label: string, slot: Slot, home: Home): Home {
	const limit = gpu.limits.maxStorageBufferBindingSize;
	if (home.bytes <= limit) return home;
	throw new GpuError('memory', `${label}: ${slotName(slot)} has ${formatBytes(home.bytes)}, but this GPU lets a kernel see ${formatBytes(limit)} at most.`);
}

async function prepare(
	gpu: Gpu,
	steps: readonly Step[],
	homes: ReadonlyMap<Slot, Home>,
	uniforms: { readonly params: GPUBuffer; readonly offsets: readonly number[]; readonly scalars: GPUBuffer },
	onProgress: ((done: number, total: number) => void) | undefined
): Promise<{ ready: Ready[]; pipelines: number }> {
	const cache = pipelinesOf(gpu);
	let done = 0;
	const compiled = await Promise.all(
		steps.map(async (step) => {
			if (isCopy(step)) return undefined;
			const places = step.bindings.map((binding) => bindable(gpu, step.label, binding.slot, homeOf(homes, binding.slot)));
			const access = accessOf(step, (_, i) => places[i]?.writable === true);
			const { pipeline, storageLayout } = await cache.get({ shader: step.shader, conditions: step.conditions, constants: step.constants, access }, true);
			onProgress?.(++done, steps.length);
			return { places, pipeline, storageLayout };
		})
	);
	// In the order they are recorded, whatever order the pipelines came in: thousands of groups do not fit a core's cache, and neighbours in memory are read faster.
	const ready = steps.map((step, index): Ready => {
		if (isCopy(step)) return { from: homeOf(homes, step.copyFrom), to: homeOf(homes, step.copyTo), bytes: step.bytes, label: step.label };
		const made = compiled[index];
		if (!made) throw new Error(`${step.label} has no pipeline.`);
		const { places, pipeline, storageLayout } = made;
		const group = gpu.device.createBindGroup({
			label: step.label,
			layout: storageLayout,
			entries: [
				...places.map((home, i) => ({
					binding: step.bindings[i]?.binding ?? i,
					resource: { buffer: home.buffer, offset: home.offset, size: home.bytes }
				})),
				{ binding: JOINED.params, resource: { buffer: uniforms.params, offset: uniforms.offsets[index] ?? 0, size: PARAM_BYTES } },
				{ binding: JOINED.scalars, resource: { buffer: uniforms.scalars } }
			]
		});
		const [x, y, z] = step.workgroups;
		return { step, pipeline, group, x, y, z };
	});
	const distinct = new Set(compiled.flatMap((made) => made?.pipeline ?? []));
	return { ready, pipelines: distinct.size };
}

interface HistoryRing {
	readonly value: Value;
	readonly stride: number;
	readonly ring: GPUBuffer;
	readonly from: Home;
}

class CompiledProgram implements Program {
	readonly #submitter: Submitter;
	readonly #costs: number[];
	readonly #total: number;
	readonly #scalars = new Float32Array(SCALAR_BYTES / 4).fill(1);
	#ends: number[] = [];
	#slicedAt = 0;
	#runs = 0;
	readonly #readRuns = new Map<Value, number>();

	constructor(
		readonly gpu: Gpu,
		readonly label: string,
		readonly graph: Graph,
		readonly ready: readonly Ready[],
		readonly homes: ReadonlyMap<Slot, Home>,
		/** Everything but weights and factors: what is in them lasts for a run only, unless it is kept. */
		readonly passing: readonly GPUBuffer[],
		readonly scalarBuffer: GPUBuffer,
		readonly history: readonly HistoryRing[],
		readonly owned: readonly GPUBuffer[],
		readonly summary: ProgramSummary
	) {
		this.#submitter = new Submitter(gpu);
		const rates = ratesOf(gpu);
		this.#costs = ready.map((item) => ('step' in item ? estimateMs(rates, item.step.flops, item.step.bytes) : estimateMs(rates, 0, 2 * item.bytes)));
		this.#total = this.#costs.reduce((sum, cost) => sum + cost, 0);
	}

	write(value: Value, data: Float32Array | Uint32Array): void {
		const home = this.homes.get(value);
		if (value.kind !== 'input' || !home) throw new Error(`${value.name} is not an input of ${this.label}.`);
		if (data.length !== elementsOf(value)) throw new Error(`Input ${value.name} has ${elementsOf(value)} elements, the data ${data.length}.`);
		if (data instanceof Uint32Array !== (value.dtype === 'u32') || value.dtype === 'f16') throw new Error(`Input ${value.name} is ${value.dtype}.`);
		this.gpu.device.queue.writeBuffer(home.buffer, home.offset, data.buffer, data.byteOffset, data.byteLength);
	}

	async run(scalars: Readonly<Record<string, number>> = {}, onSlice?: (fraction: number) => void): Promise<void> {
		this.#writeScalars(scalars);
		const { correction } = this.#submitter;
		if (this.#ends.length === 0 || Math.max(correction / this.#slicedAt, this.#slicedAt / correction) > 1.3) {
			this.#ends = slices(this.#costs, SLICE_MS / correction);
			this.#slicedAt = correction;
		}
		let [start, done] = [0, 0];
		for (const end of this.#ends) {
			if (this.#submitter.full) await this.#submitter.room();
			onSlice?.(done / this.#total);
			const encoder = this.gpu.device.createCommandEncoder({ label: this.label });
			this.#encode(encoder, start, end);
			if (end === this.ready.length) this.#recordHistory(encoder);
			let cost = 0;
			for (let i = start; i < end; i++) cost += this.#costs[i] ?? 0;
			this.#submitter.submit(encoder.finish(), cost);
			done += cost;
			start = end;
		}
		this.#runs++;
		this.gpu.check();
	}

	idle(): Promise<void> {
		return this.#submitter.idle();
	}

	async read(value: Value): Promise<Float32Array> {
		const kept = value.kind !== 'intermediate' || this.graph.outputs.includes(value) || this.history.some((ring) => ring.value === value);
		const home = this.homes.get(value);
		const stored = home && !this.passing.includes(home.buffer);
		if (!home || !(kept || stored)) throw new Error(`${value.name} is not kept by ${this.label}; name it as an output.`);
		const elements = elementsOf(value);
		const raw = await readBuffer(this.gpu, home.buffer, home.offset, elements * (value.dtype === 'f16' ? 2 : 4));
		return value.dtype === 'f16' ? halvesToFloats(new Uint16Array(raw, 0, elements)) : new Float32Array(raw);
	}

	async readHistory(value: Value): Promise<Float32Array> {
		const ring = this.history.find((candidate) => candidate.value === value);
		if (!ring) throw new Error(`${value.name} has no history in ${this.label}.`);
		const end = this.#runs;
		const begin = Math.max(this.#readRuns.get(value) ?? 0, end - HISTORY_RUNS);
		this.#readRuns.set(value, end);
		if (end === begin) return new Float32Array(0);
		const raw = await readBuffer(this.gpu, ring.ring, 0, ring.ring.size);
		const elements = elementsOf(value);
		const out = new Float32Array((end - begin) * elements);
		for (let run = begin; run < end; run++) out.set(new Float32Array(raw, (run % HISTORY_RUNS) * ring.stride, elements), (run - begin) * elements);
		return out;
	}

	async profile(scalars: Readonly<Record<string, number>> = {}): Promise<Timing[]> {
		this.#writeScalars(scalars);
		await this.idle();
		return profileSteps(this.gpu, this.ready);
	}

	destroy(): void {
		this.owned.forEach((buffer) => buffer.destroy());
	}

	#writeScalars(scalars: Readonly<Record<string, number>>): void {
		for (const [name, value] of Object.entries(scalars)) {
			const scalar = this.graph.scalars.find((candidate) => candidate.name === name);
			if (!scalar) throw new Error(`${this.label} has no scalar ${name}.`);
			this.#scalars[scalar.index] = value;
		}
		this.gpu.device.queue.writeBuffer(this.scalarBuffer, 0, this.#scalars);
	}

	#encode(encoder: GPUCommandEncoder, start: number, end: number): void {
		let pass: GPUComputePassEncoder | undefined;
		let before: GPUComputePipeline | undefined;
		for (let i = start; i < end; i++) {
			const item = this.ready[i];
			if (!item) continue;
			if ('step' in item) {
				pass ??= encoder.beginComputePass({ label: this.label });
				encodeDispatch(pass, item, before);
				before = item.pipeline;
			} else {
				pass?.end();
				pass = undefined;
				before = undefined;
				encodeCopy(encoder, item);
			}
		}
		pass?.end();
	}

	#recordHistory(encoder: GPUCommandEncoder): void {
		for (const { from, ring, stride } of this.history) encoder.copyBufferToBuffer(from.buffer, from.offset, ring, (this.#runs % HISTORY_RUNS) * stride, stride);
	}
}
