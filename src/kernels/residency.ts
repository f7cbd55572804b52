/**
 * Where every slot of a lowered graph lives: weights and factors in their stores, inputs in one small buffer the host writes,
 * everything else in planned arenas.
 *
 * Rule: what is bound `read` must never share a buffer with what is written. Weights, factor values and inputs qualify; arenas and
 * gradient buffers do not, so their slots are bound `read_write` whatever the kernel does with them.
 */
import { ALIGNMENT, alignUp } from '../gpu/buffers';
import type { Graph, Value } from '../graph/ir';
import type { Dispatch, Slot } from './dispatch';
import type { FactorStore } from './factors';
import { bytesOf, read, write } from './lowering';
import type { WeightStore } from './weights';

export interface Home {
	readonly buffer: GPUBuffer;
	readonly offset: number;
	/** Length of the binding: the slot's bytes, at least 16, a multiple of 16. */
	readonly bytes: number;
	readonly writable: boolean;
}

/** Duplicates a slot before a dispatch that would bind it twice (WebGPU refuses overlapping writable bindings). */
export interface Copy {
	readonly copyFrom: Slot;
	readonly copyTo: Slot;
	readonly bytes: number;
	readonly label: string;
}

export type Step = Dispatch | Copy;

export const isCopy = (step: Step): step is Copy => 'copyFrom' in step;

export const slotBytes = (slot: Slot): number => alignUp(Math.max(16, bytesOf(slot)), 16);

export const slotName = (slot: Slot): string => ('scratch' in slot ? slot.scratch : slot.name);

/** Offsets of the inputs in their buffer, and its size. */
export function inputLayout(graph: Graph): { inputs: Map<Value, number>; bytes: number } {
	const inputs = new Map<Value, number>();
	let bytes = 0;
	for (const value of usedValues(graph)) {
		if (value.kind !== 'input') continue;
		inputs.set(value, bytes);
		bytes = alignUp(bytes + slotBytes(value), ALIGNMENT);
	}
	return { inputs, bytes };
}

/** Finds every constant, parameter and gradient in the stores; throws with the names of what is missing or has another shape or type. */
export function findExternal(graph: Graph, weights: WeightStore, factors: readonly FactorStore[], gradients: ReadonlyMap<Value, Value>): Map<Slot, Home> {
	const homes = new Map<Slot, Home>();
	const problems: string[] = [];
	for (const value of usedValues(graph)) {
		if (value.kind === 'constant' || value.kind === 'parameter') {
			const found = value.kind === 'constant' ? weights.get(value.name) : factors.map((store) => store.get(value.name)).find((tensor) => tensor);
			const elements = value.shape.reduce((product, size) => product * size, 1);
			if (!found) problems.push(`${value.kind} ${value.name} is missing`);
			else if (found.shape.reduce((product, size) => product * size, 1) !== elements)
				problems.push(`${value.kind} ${value.name} is [${found.shape.join(', ')}] instead of [${value.shape.join(', ')}]`);
			else if (value.dtype !== (found.dtype ?? 'f32')) problems.push(`${value.kind} ${value.name} is stored in another type than ${value.dtype}`);
			else homes.set(value, { buffer: found.buffer, offset: found.offset, bytes: slotBytes(value), writable: false });
		}
	}
	for (const [parameter, gradient] of gradients) {
		const store = factors.find((candidate) => candidate.trainable && candidate.get(parameter.name));
		const place = store?.gradient(parameter.name);
		if (!place) problems.push(`there is no place for the gradient of ${parameter.name}`);
		else if (gradient.dtype !== 'f32' || bytesOf(gradient) > place.bytes) problems.push(`the gradient of ${parameter.name} does not fit its place`);
		else homes.set(gradient, { buffer: place.buffer, offset: place.offset, bytes: slotBytes(gradient), writable: true });
	}
	if (problems.length > 0)
		throw new Error(`The graph does not fit the weights: ${problems.slice(0, 8).join('; ')}${problems.length > 8 ? `; and ${problems.length - 8} more` : ''}.`);
	return homes;
}

function usedValues(graph: Graph): Set<Value> {
	const used = new Set<Value>();
	const visit = (node: unknown): void => {
		if (Array.isArray(node)) node.forEach(visit);
		else if (node !== null && typeof node === 'object') {
			if ('kind' in node && 'id' in node && 'shape' in node) used.add(node as Value);
			else Object.values(node).forEach(visit);
		}
	};
	graph.ops.forEach(visit);
	graph.outputs.forEach((value) => used.add(value));
	return used;
}

/** Gives the second binding of one writable slot within a dispatch a copy of its own. */
export function separate(dispatches: readonly Dispatch[], writable: (slot: Slot) => boolean): Step[] {
	const steps: Step[] = [];
	for (const dispatch of dispatches) {
		const seen = new Set<Slot>();
		const bindings = dispatch.bindings.map((binding) => {
			const { slot } = binding;
			const shared = seen.has(slot) && writable(slot);
			seen.add(slot);
			if (!shared) return binding;
			if (binding.access !== 'read') throw new Error(`${dispatch.label} writes ${slotName(slot)} through two bindings.`);
			const twin: Slot = { scratch: `${slotName(slot)} (copy)`, elements: slotBytes(slot) / 4, dtype: 'f32' };
			steps.push({ copyFrom: slot, copyTo: twin, bytes: slotBytes(slot), label: `copy ${slotName(slot)}` });
			return read(twin);
		});
		steps.push({ ...dispatch, bindings });
	}
	return steps;
}

/** What each step reads and writes, for the memory plan; slots with a home elsewhere are left out. */
export function traffic(steps: readonly Step[], planned: (slot: Slot) => boolean): { reads: Slot[]; writes: Slot[] }[] {
	return steps.map((step) => {
		const bindings = isCopy(step) ? [read(step.copyFrom), write(step.copyTo)] : step.bindings;
		const ours = bindings.filter((binding) => planned(binding.slot));
		return {
			reads: ours.filter((binding) => binding.access !== 'write').map((binding) => binding.slot),
			writes: ours.filter((binding) => binding.access !== 'read').map((binding) => binding.slot)
		};
	});
}
