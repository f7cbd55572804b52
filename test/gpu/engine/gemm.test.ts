import { describe, expect, test } from 'vitest';
import { interpret } from '../../../src/graph/interpret';
import { openTestGpu, relativeError, runGraph } from '../harness';
import { GEMM_CASES } from './gemm-cases';

describe('gemm with the shapes the heuristic picks', () => {
	for (const [name, make] of Object.entries(GEMM_CASES)) {
		test(name, async () => {
			const gpu = await openTestGpu();
			const { graph, op, feeds, scalars } = make({ activation: 'f32', weight: 'f32' });
			const expected = interpret(graph, feeds, scalars).get(op.out) ?? [];
			const actual = (await runGraph(gpu, graph, feeds, scalars)).get(op.out) ?? [];
			expect(relativeError(actual, expected)).toBeLessThan(1e-5);
		});
	}
});
