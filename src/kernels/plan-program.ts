/**
 * A graph made ready to be allocated: lowered to dispatches, with a place for every slot, and every byte it will take. No buffer is made here, so this is also what an estimate is made of:
 * what it says is what `compile` then allocates.
 */
import { ALIGNMENT } from '../gpu/buffers';
import type { Gpu } from '../gpu/gpu';
import type { Graph, Op, Value } from '../graph/ir';
import { planMemory } from '../graph/plan';
import type { MemoryPlan } from '../graph/plan';
import type { Dispatch, Slot, Target } from './dispatch';
import { lowerTogether } from './batch';
import { targetOf } from './lower';
import { inputLayout, isCopy, separate, slotBytes, traffic } from './residency';
import type { Step } from './residency';

export const SCALAR_BYTES = 256;
export const PARAM_BYTES = 256;
/** Runs a history ring holds. */
export const HISTORY_RUNS = 4096;
/** Several buffers of a moderate size are easier to get than one large one; a slot is bound by itself, so an arena may exceed the binding limit. */
const MAX_ARENA_BYTES = 1 << 30;

/** What planning must know of the machine. */
export interface Machine {
	readonly target: Target;
	readonly maxBufferSize: number;
}

export const machineOf = (gpu: Gpu): Machine => ({ target: targetOf(gpu), maxBufferSize: gpu.limits.maxBufferSize });

export interface PlanOptions {
	/** parameter → its gradient, which lives in the parameter's store. */
	readonly gradients?: ReadonlyMap<Value, Value>;
	/** Small values copied into a ring after every run. */
	readonly history?: readonly Value[];
	/** Instead of the table in `lower.ts`, and each operation by itself: tests and measurements choose kernels with it. Otherwise products of one shape share dispatches (`batch.ts`). */
	readonly lower?: (op: Op, target: Target) => Dispatch[];
}

export interface ProgramPlan {
	readonly graph: Graph;
	readonly gradients: ReadonlyMap<Value, Value>;
	readonly history: readonly Value[];
	readonly steps: readonly Step[];
	/** Without copies. */
	readonly dispatches: number;
	readonly flops: number;
	readonly memory: MemoryPlan<Slot>;
	/** Offsets of the inputs in their buffer. */
	readonly inputs: ReadonlyMap<Value, number>;
	/** All parameter blocks in one buffer, equal ones shared; `offsets[i]` belongs to step i. */
	readonly params: { readonly data: Uint8Array<ArrayBuffer>; readonly offsets: readonly number[] };
	/** Bytes of the buffers beside the arenas, in the order they are allocated: inputs, params, scalars, then a ring for each history value. */
	readonly small: readonly { readonly name: string; readonly bytes: number }[];
	/** Sum of the arenas. */
	readonly arenaBytes: number;
	/** Sum of `small`. */
	readonly smallBytes: number;
	/** The largest array a kernel binds. */
	readonly largestBinding: number;
}

/** @throws GraphError when one value is larger than a buffer may be */
export function planProgram(machine: Machine, graph: Graph, options: PlanOptions = {}): ProgramPlan {
	const { gradients = new Map<Value, Value>(), history = [], lower } = options;
	const stored = new Set<Value>(gradients.values());
	const dispatches = lower ? graph.ops.flatMap((op) => lower(op, machine.target)) : lowerTogether(graph.ops, machine.target, stored);
	const planned = (slot: Slot): boolean => 'scratch' in slot || (slot.kind === 'intermediate' && !stored.has(slot));
	const steps = separate(dispatches, (slot) => planned(slot) || (!('scratch' in slot) && stored.has(slot)));
	const memory = planMemory(traffic(steps, planned), slotBytes, {
		alignment: ALIGNMENT,
		maxArenaBytes: Math.min(machine.maxBufferSize, MAX_ARENA_BYTES),
		pinned: [...graph.outputs, ...history].filter(planned)
	});
	const { inputs, bytes: inputBytes } = inputLayout(graph);
	const params = packAll(steps);
	const small = [
		{ name: 'inputs', bytes: Math.max(inputBytes, ALIGNMENT) },
		{ name: 'params', bytes: params.data.byteLength },
		{ name: 'scalars', bytes: SCALAR_BYTES },
		...history.map((value) => ({ name: `history ${value.name}`, bytes: slotBytes(value) * HISTORY_RUNS }))
	];
	return {
		graph,
		gradients,
		history,
		steps,
		dispatches: dispatches.length,
		flops: dispatches.reduce((sum, { flops }) => sum + flops, 0),
		memory,
		inputs,
		params,
		small,
		arenaBytes: memory.peakBytes,
		smallBytes: small.reduce((sum, { bytes }) => sum + bytes, 0),
		largestBinding: dispatches.reduce((most, { bindings }) => bindings.reduce((largest, { slot }) => Math.max(largest, slotBytes(slot)), most), 0)
	};
}

function packAll(steps: readonly Step[]): ProgramPlan['params'] {
	const known = new Map<string, number>();
	const blocks: Uint8Array[] = [];
	const offsets = steps.map((step) => {
		if (isCopy(step)) return 0;
		const block = new Uint8Array(step.params);
		if (block.length > PARAM_BYTES) throw new Error(`${step.label}: parameters of ${block.length} bytes.`);
		const key = String.fromCharCode(...block);
		let offset = known.get(key);
		if (offset === undefined) {
			offset = blocks.length * PARAM_BYTES;
			known.set(key, offset);
			blocks.push(block);
		}
		return offset;
	});
	const data = new Uint8Array(Math.max(1, blocks.length) * PARAM_BYTES);
	blocks.forEach((block, i) => data.set(block, i * PARAM_BYTES));
	return { data, offsets };
}
