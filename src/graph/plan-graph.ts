/** The memory a graph's intermediates need, planned over its operations. What a program really allocates adds the kernels' scratch. */
import type { Graph, Value } from './ir';
import { readsOf, writesOf } from './operands';
import type { MemoryPlan, PlanOptions, PlanStep } from './plan';
import { peakLiveBytes, planMemory } from './plan';
import { bytesOf } from './shape';

/** WebGPU's offset alignment of storage bindings. */
const ALIGNMENT = 256;

function stepsOf(graph: Graph, external: ReadonlySet<Value>): { steps: PlanStep<Value>[]; pinned: Value[] } {
	const planned = (value: Value) => value.kind === 'intermediate' && !external.has(value);
	const steps = graph.ops.map((op) => ({ reads: readsOf(op).filter(planned), writes: writesOf(op).filter(planned) }));
	return { steps, pinned: graph.outputs.filter(planned) };
}

function optionsFor(pinned: readonly Value[]): PlanOptions<Value> {
	return { alignment: ALIGNMENT, maxArenaBytes: Number.MAX_SAFE_INTEGER, pinned };
}

/**
 * @param external Intermediates that live elsewhere (parameter gradients in the factor store): not counted.
 */
export function planGraph(graph: Graph, external: Iterable<Value> = []): MemoryPlan<Value> {
	const { steps, pinned } = stepsOf(graph, new Set(external));
	return planMemory(steps, bytesOf, optionsFor(pinned));
}

/** The most bytes of intermediates live at once; quick, and never more than `planGraph` needs. */
export function liveBytes(graph: Graph, external: Iterable<Value> = []): number {
	const { steps, pinned } = stepsOf(graph, new Set(external));
	return peakLiveBytes(steps, bytesOf, optionsFor(pinned));
}
