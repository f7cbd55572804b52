/** A whole small UNet with adapters: gradients against finite differences; fusion and recomputation leave them as they are. */
import { describe, expect, test } from 'vitest';
import { totalFlops } from '../../../src/graph/cost';
import { describe as describeGraph, summarize } from '../../../src/graph/describe';
import { differentiate } from '../../../src/graph/differentiate';
import { GraphBuilder } from '../../../src/graph/builder';
import { fuse } from '../../../src/graph/fuse';
import { interpret } from '../../../src/graph/interpret';
import type { Graph, Value } from '../../../src/graph/ir';
import { readsOf, writesOf } from '../../../src/graph/operands';
import { planGraph } from '../../../src/graph/plan-graph';
import { recompute } from '../../../src/graph/recompute';
import type { Case } from './harness';
import { directionalError, randomFeeds, relativeError, SCALARS } from './harness';
import { TinyUnet } from './tiny-unet';

function unetCase(adapted: (name: string) => boolean, size = { batch: 3, height: 4, width: 4, channels: 4 }): Case {
	const b = new GraphBuilder({ storage: 'f32' });
	const unet = new TinyUnet(b, { ...size, adapted });
	const prediction = unet.predict();
	const loss = b.loss('mse', prediction, unet.noise, b.input('weight', [size.batch]));
	const forward = b.finish([loss]);
	const backward = differentiate(b, { loss, lossScale: { factor: 0.5, scalar: b.scalar('lossScale') }, wrt: unet.factors });
	const feeds = randomFeeds(forward, 11);
	feeds.set(forward.values.find((value) => value.name === 'counter') as Value, Float64Array.from([0, 0, 7, 0]));
	return { forward, loss, wrt: unet.factors, backward, feeds };
}

const everything = unetCase(() => true);
const external = (c: Case) => c.backward.gradients.values();

function ordered(graph: Graph): boolean {
	const written = new Set(graph.values.filter((value) => value.kind !== 'intermediate'));
	return graph.ops.every((op) => {
		const ready = readsOf(op).every((value) => written.has(value));
		writesOf(op).forEach((value) => written.add(value));
		return ready;
	});
}

test('gradients of every factor equal finite differences', () => {
	expect(everything.wrt.length).toBeGreaterThan(60);
	expect(directionalError(everything)).toBeLessThan(1e-6);
});

test('with only cross-attention trained, the first block and the time embedding are not differentiated', () => {
	const some = unetCase((name) => name.startsWith('middle.attn2'));
	expect(directionalError(some)).toBeLessThan(1e-6);
	const backward = some.backward.graph.ops.slice(some.forward.ops.length);
	expect(backward.some((op) => readsOf(op).some((value) => value.name.startsWith('top.')))).toBe(false);
	expect(backward.some((op) => op.type === 'rowSum')).toBe(false);
});

test('only the time embedding trained', () => {
	expect(directionalError(unetCase((name) => name.startsWith('time.')))).toBeLessThan(1e-6);
});

describe('fusion', () => {
	const fused = fuse(everything.backward.graph);

	test('keeps loss and gradients', () => {
		const before = interpret(everything.backward.graph, everything.feeds, SCALARS);
		const after = interpret(fused, everything.feeds, SCALARS);
		for (const value of [everything.loss, ...everything.backward.gradients.values()]) {
			expect(relativeError(after.get(value) as Float64Array, before.get(value) as Float64Array)).toBeLessThan(1e-10);
		}
		expect(ordered(fused)).toBe(true);
	});

	test('leaves no scales, few additions, and one SiLU of the time embedding', () => {
		const [before, after] = [summarize(everything.backward.graph), summarize(fused)];
		expect(after.opsByType.scale).toBeUndefined();
		expect(before.opsByType.silu).toBe(4);
		expect(after.opsByType.silu).toBe(2);
		expect(after.opsByType.upsample2x).toBeUndefined();
		expect(after.opsByType.add ?? 0).toBeLessThan((before.opsByType.add ?? 0) / 4);
		expect(after.ops).toBeLessThan(before.ops * 0.75);
		expect(after.flopsByFamily.attention).toBe(before.flopsByFamily.attention);
	});

	test('before differentiation saves more: shared values get one gradient', () => {
		const forward = fuse(everything.forward);
		const { graph, gradients } = differentiate(forward, {
			loss: everything.loss,
			lossScale: { factor: 0.5, scalar: { name: 'lossScale', index: 1 } },
			wrt: everything.wrt
		});
		const twice = fuse(graph);
		expect(graph.scalars.map((scalar) => scalar.name)).toEqual(['multiplier', 'lossScale']);
		const before = interpret(fused, everything.feeds, SCALARS);
		const after = interpret(twice, everything.feeds, SCALARS);
		for (const parameter of everything.wrt) {
			const expected = before.get(everything.backward.gradients.get(parameter) as Value) as Float64Array;
			expect(relativeError(after.get(gradients.get(parameter) as Value) as Float64Array, expected)).toBeLessThan(1e-10);
		}
		expect(twice.ops.length).toBeLessThan(fused.ops.length);
		expect(summarize(twice).opsByType.siluGrad).toBe(2);
	});

	test('a second time changes nothing', () => {
		expect(fuse(fused).ops).toEqual(fused.ops);
	});
});

describe('recomputation', () => {
	const large = unetCase(() => true, { batch: 1, height: 8, width: 8, channels: 8 });
	const fused = fuse(large.backward.graph);
	const whole = planGraph(fused, external(large)).peakBytes;
	const expected = interpret(fused, large.feeds, SCALARS);

	test.for([0.9, 0.75, 0.6])('meets %s of the memory, with gradients equal to the bit', (share) => {
		const graph = recompute(fused, { budgetBytes: whole * share, external: external(large) });
		expect(planGraph(graph, external(large)).peakBytes).toBeLessThanOrEqual(whole * share);
		expect(ordered(graph)).toBe(true);
		expect(totalFlops(graph)).toBeGreaterThan(totalFlops(fused));
		expect(totalFlops(graph)).toBeLessThan(totalFlops(fused) * 1.4);
		const actual = interpret(graph, large.feeds, SCALARS);
		for (const value of [large.loss, ...large.backward.gradients.values()]) expect(actual.get(value)).toEqual(expected.get(value));
		expect(graph.ops.filter((op) => op.type === 'gaussian')).toHaveLength(1);
	});

	test('a smaller budget never costs less work', () => {
		const flops = [1, 0.9, 0.8, 0.7, 0.6].map((share) => totalFlops(recompute(fused, { budgetBytes: whole * share, external: external(large) })));
		expect(flops).toEqual(flops.toSorted((a, b) => a - b));
	});

	test('enough memory changes nothing; too little gives the smallest it can', () => {
		expect(recompute(fused, { budgetBytes: whole, external: external(large) })).toBe(fused);
		const least = recompute(fused, { budgetBytes: 1, external: external(large) });
		expect(planGraph(least, external(large)).peakBytes).toBeLessThan(whole * 0.6);
	});
});

test('describe: counts and sizes in words', () => {
	const text = describeGraph(everything.forward);
	expect(text).toMatch(/^\d+ operations: \d+ gemm, /);
	expect(text).toMatch(/GFLOP: conv .*gemm/);
	expect(summarize(everything.forward).flops).toBe(totalFlops(everything.forward));
	const b = new GraphBuilder({ storage: 'f16' });
	const x = b.input('x', [2, 4, 4, 8]);
	const graph = b.finish([b.conv(x, b.constant('w', [16, 72]), { stride: 2 })]);
	const summary = summarize(graph);
	expect(summary.flops).toBe(2 * 8 * 16 * 72);
	expect(summary.flopsByFamily).toEqual({ conv: summary.flops });
	expect(summary.bytesByKind).toEqual({ input: 1024, constant: 2304, parameter: 0, intermediate: 256 });
	expect(summary.plannedBytes).toBe(256);
});
