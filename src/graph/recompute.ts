/**
 * Trades time for memory (Chen et al., "Training deep nets with sublinear memory cost", 2016): instead of keeping an intermediate from the
 * forward to the backward part, the operations that make it are repeated right before the backward operation that reads it first. The
 * repeated operations do the same arithmetic on the same numbers, so results are equal to the bit.
 *
 * What to repeat is chosen greedily by bytes saved per operation repeated (see `recompute/segments.ts`), as little as meets the budget.
 * Run it after `fuse`, which would find the repeated operations superfluous.
 */
import { flopsOf } from './cost';
import { Emitter } from './emitter';
import type { Graph, Op, Value } from './ir';
import { mapValues, readsOf, writesOf } from './operands';
import { liveBytes, planGraph } from './plan-graph';
import type { Candidate, Level, Segment } from './recompute/segments';
import { candidatesOf, forwardLength, keptValues, mayRecompute, segmentsOf } from './recompute/segments';

export interface RecomputeOptions {
	/** What the intermediates may take, planned. */
	readonly budgetBytes: number;
	/** Intermediates that live elsewhere (parameter gradients): not counted. */
	readonly external?: Iterable<Value>;
}

/** How many neighbouring segments are taken as one: larger segments keep less, but need more while they are repeated. */
const MERGES = [1, 2, 4, 8] as const;

/** What the planner may need beyond what is live at once, as a first guess. */
const SLACK = 1.004;

/** Repeats forward operations where the backward part needs their results; `levels` says how much of each segment. */
function repeat(graph: Graph, segments: readonly Segment[], levels: readonly Level[], kept: ReadonlySet<Value>): Graph {
	const forward = forwardLength(graph);
	const emitter = new Emitter({ ...graph, ops: graph.ops.slice(0, forward) });
	const maker = new Map<Value, Op>();
	segments.forEach(({ start, end }, index) => {
		for (const op of graph.ops.slice(start, end)) {
			const results = writesOf(op);
			if (mayRecompute(op, levels[index] ?? 0) && !results.some((value) => kept.has(value))) results.forEach((value) => maker.set(value, op));
		}
	});
	const again = new Map<Value, Value>();
	const available = (value: Value): Value => {
		const op = maker.get(value);
		if (!op) return value;
		const known = again.get(value);
		if (known) return known;
		const operands = new Map(readsOf(op).map((read) => [read, available(read)]));
		for (const result of writesOf(op)) {
			const copy = emitter.value(`${result.name}.again`, result.shape, result.dtype);
			again.set(result, copy);
			operands.set(result, copy);
		}
		emitter.push(mapValues(op, (operand) => operands.get(operand) ?? operand));
		return again.get(value) as Value;
	};
	for (const op of graph.ops.slice(forward)) {
		const operands = new Map(readsOf(op).map((read) => [read, available(read)]));
		emitter.push(mapValues(op, (operand) => operands.get(operand) ?? operand));
	}
	return emitter.graph(graph.outputs);
}

function levelsOf(segments: readonly Segment[], chosen: readonly Candidate[]): Level[] {
	const levels: Level[] = segments.map(() => 0);
	for (const { segment, level } of chosen) levels[segment] = Math.max(levels[segment] ?? 0, level) as Level;
	return levels;
}

function flopsAgain(before: Graph, after: Graph): number {
	const known = new Set(before.ops.flatMap(writesOf));
	return after.ops.reduce((sum, op) => sum + (writesOf(op).some((value) => known.has(value)) ? 0 : flopsOf(op)), 0);
}

interface Attempt {
	readonly choice: Choice;
	readonly graph: Graph;
	readonly peak: number;
	readonly flops: number;
}

/** What is repeated: how many neighbouring segments count as one, and how many of the candidates, best first, are taken. */
export interface Choice {
	readonly merge: number;
	readonly count: number;
}

/** The graph with a choice carried out; the same for every graph of the same operations. */
export function repeatChosen(graph: Graph, { merge, count }: Choice): Graph {
	if (count === 0) return graph;
	const segments = segmentsOf(graph, merge);
	const kept = keptValues(graph, segments);
	return repeat(graph, segments, levelsOf(segments, candidatesOf(graph, segments, kept).slice(0, count)), kept);
}

/** The shortest prefix of the candidates whose live bytes meet the target, or the best of those looked at. */
function search(graph: Graph, merge: number, target: number, external: readonly Value[]): Attempt {
	const segments = segmentsOf(graph, merge);
	const kept = keptValues(graph, segments);
	const candidates = candidatesOf(graph, segments, kept);
	const attempt = (count: number): Attempt => {
		const after = repeat(graph, segments, levelsOf(segments, candidates.slice(0, count)), kept);
		return { choice: { merge, count }, graph: after, peak: liveBytes(after, external), flops: flopsAgain(graph, after) };
	};
	let low = 0;
	let high = candidates.length;
	let best = attempt(high);
	while (low < high) {
		const middle = (low + high) >> 1;
		const tried = attempt(middle);
		if (tried.peak <= target) high = middle;
		else low = middle + 1;
		if (tried.peak <= target || (best.peak > target && tried.peak < best.peak)) best = tried;
	}
	return best;
}

/** The segment size that meets the target with the least work; sizes are tried upwards until a larger one no longer pays. */
function cheapest(graph: Graph, target: number, external: readonly Value[]): Attempt {
	let best: Attempt | undefined;
	for (const merge of MERGES) {
		const attempt = search(graph, merge, target, external);
		if (!best || (best.peak > target ? attempt.peak < best.peak : attempt.peak <= target && attempt.flops < best.flops)) best = attempt;
		else if (best.peak <= target) break;
	}
	return best as Attempt;
}

/**
 * What to repeat for the same results within the budget, with as little repeated as the search finds. When the budget cannot be met, the choice is what comes nearest:
 * plan the graph (`planGraph`) to know.
 */
export function chooseRepeats(graph: Graph, options: RecomputeOptions): Choice {
	const external = [...(options.external ?? [])];
	let planned = planGraph(graph, external).peakBytes;
	let nearest = { choice: { merge: 1, count: 0 }, planned };
	// The planner may need a little more than what is live at once; when that is too much, the search is repeated with a target that is lower by as much.
	let target = Math.floor(options.budgetBytes / SLACK);
	for (let round = 0; round < 4 && planned > options.budgetBytes; round++) {
		const best = cheapest(graph, target, external);
		planned = planGraph(best.graph, external).peakBytes;
		if (planned < nearest.planned) nearest = { choice: best.choice, planned };
		if (best.peak > target) break;
		target = Math.floor(Math.min(target, best.peak) * Math.min(0.99, options.budgetBytes / planned));
	}
	return nearest.choice;
}

/** `chooseRepeats`, carried out. */
export function recompute(graph: Graph, options: RecomputeOptions): Graph {
	return repeatChosen(graph, chooseRepeats(graph, options));
}
