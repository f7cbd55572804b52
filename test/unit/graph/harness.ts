/** Random contents for a graph, and gradients by central finite differences in float64. */
import { GraphBuilder } from '../../../src/graph/builder';
import { differentiate } from '../../../src/graph/differentiate';
import type { Differentiated } from '../../../src/graph/differentiate';
import { interpret } from '../../../src/graph/interpret';
import type { Graph, LossOp, Value } from '../../../src/graph/ir';
import { elementsOf } from '../../../src/graph/shape';

/** Small seeded generator (mulberry32), uniform in [0, 1). */
export function random(seed: number): () => number {
	let state = seed >>> 0;
	return () => {
		state = (state + 0x6d2b79f5) >>> 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

export function randomFeeds(graph: Graph, seed = 1): Map<Value, Float64Array> {
	const next = random(seed);
	const feeds = new Map<Value, Float64Array>();
	for (const value of graph.values) {
		if (value.kind === 'intermediate') continue;
		const draw = value.dtype === 'u32' ? () => Math.floor(next() * 2 ** 32) : () => next() * 2 - 1;
		feeds.set(value, Float64Array.from({ length: elementsOf(value.shape) }, draw));
	}
	return feeds;
}

export const SCALARS = { multiplier: 0.75, other: -1.25, lossScale: 8 };

export interface Case {
	readonly forward: Graph;
	readonly loss: Value;
	readonly wrt: readonly Value[];
	readonly backward: Differentiated;
	readonly feeds: Map<Value, Float64Array>;
}

/** Builds a forward graph, puts a loss behind its result, and differentiates. */
export function makeCase(build: (b: GraphBuilder) => { out: Value; wrt: Value[] }, options: { seed?: number; kind?: LossOp['kind'] } = {}): Case {
	const b = new GraphBuilder({ storage: 'f32' });
	const { out, wrt } = build(b);
	const loss = b.loss(options.kind ?? 'mse', out, b.input('target', out.shape), b.input('weight', [out.shape[0] ?? 1]));
	const forward = b.finish([loss]);
	const backward = differentiate(b, { loss, lossScale: { factor: 0.5, scalar: b.scalar('lossScale') }, wrt });
	return { forward, loss, wrt, backward, feeds: randomFeeds(forward, options.seed) };
}

export function scaledLoss(c: Case): number {
	const loss = interpret(c.forward, c.feeds, SCALARS).get(c.loss) as Float64Array;
	return (0.5 * SCALARS.lossScale * loss.reduce((sum, value) => sum + value, 0)) / loss.length;
}

/** d scaledLoss / d value by central differences, for the elements asked for. */
export function finiteDifference(c: Case, value: Value, elements: readonly number[], h = 1e-4): number[] {
	const data = c.feeds.get(value) as Float64Array;
	return elements.map((i) => {
		const at = data[i] as number;
		data[i] = at + h;
		const above = scaledLoss(c);
		data[i] = at - h;
		const below = scaledLoss(c);
		data[i] = at;
		return (above - below) / (2 * h);
	});
}

/** The largest difference, relative to the largest number. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
	let difference = 0;
	let size = 0;
	for (let i = 0; i < expected.length; i++) {
		difference = Math.max(difference, Math.abs((actual[i] ?? NaN) - (expected[i] as number)));
		size = Math.max(size, Math.abs(expected[i] as number));
	}
	if (Number.isNaN(difference) || size === 0) return Infinity;
	return difference / size;
}

/** Worst relative error of a graph's gradients against finite differences, over at most `limit` elements of every parameter. */
export function gradientError(c: Case, limit = 60, graph: Graph = c.backward.graph): number {
	const results = interpret(graph, c.feeds, SCALARS);
	let worst = 0;
	for (const parameter of c.wrt) {
		const gradient = results.get(c.backward.gradients.get(parameter) as Value) as Float64Array;
		if (gradient.length !== elementsOf(parameter.shape)) return Infinity;
		const step = Math.max(1, Math.floor(gradient.length / limit));
		const elements = Array.from({ length: Math.ceil(gradient.length / step) }, (_, i) => i * step);
		worst = Math.max(
			worst,
			relativeError(
				elements.map((i) => gradient[i] as number),
				finiteDifference(c, parameter, elements)
			)
		);
	}
	return worst;
}

/**
 * The same along one random direction per parameter, which tests all its elements at once: |(L(p + hd) − L(p − hd))/2h − g·d| relative to |g|·|d|,
 * the worst over all parameters.
 */
export function directionalError(c: Case, graph: Graph = c.backward.graph, h = 1e-4): number {
	const results = interpret(graph, c.feeds, SCALARS);
	const next = random(23);
	let worst = 0;
	for (const parameter of c.wrt) {
		const gradient = results.get(c.backward.gradients.get(parameter) as Value) as Float64Array;
		const original = c.feeds.get(parameter) as Float64Array;
		const direction = original.map(() => next() * 2 - 1);
		const lossAt = (distance: number) => {
			c.feeds.set(
				parameter,
				original.map((value, i) => value + distance * (direction[i] as number))
			);
			return scaledLoss(c);
		};
		const slope = (lossAt(h) - lossAt(-h)) / (2 * h);
		c.feeds.set(parameter, original);
		const length = (data: Float64Array) => Math.sqrt(data.reduce((sum, value) => sum + value * value, 0));
		const expected = gradient.reduce((sum, value, i) => sum + value * (direction[i] as number), 0);
		const error = Math.abs(slope - expected) / (length(gradient) * length(direction));
		worst = Math.max(worst, Number.isFinite(error) ? error : Infinity);
	}
	return worst;
}
