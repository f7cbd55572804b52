/** Every gemm variant for real GPUs passes Dawn's validation with f16 and subgroups (null backend: compiles, executes nothing). */
import { expect, test } from 'vitest';
import type { GemmOp } from '../../../src/graph/ir';
import { lowerGemm } from '../../../src/kernels/gemm';
import { STAGED_TILES } from '../../../src/kernels/tiles';
import { nullGpu, prepareGraph } from '../harness';
import { GEMM_CASES, type Types } from './gemm-cases';

const TYPES: readonly Types[] = [
	{ left: 'f32', right: 'f32', out: 'f32' },
	{ left: 'f16', right: 'f16', out: 'f16' },
	{ left: 'f32', right: 'f16', out: 'f16' }
];

test.each([true, false])('staged kernels compile (shader-f16 %s)', async (f16) => {
	const gpu = await nullGpu({ software: false, f16 });
	expect(gpu.f16).toBe(f16);
	let variants = 0;
	for (const [name, make] of Object.entries(GEMM_CASES)) {
		for (const types of TYPES) {
			for (const [i, tile] of STAGED_TILES.entries()) {
				const { graph, feeds } = make(types);
				const split = i === 0 ? 2 : 1;
				const bench = await prepareGraph(gpu, graph, feeds, { lower: (op, target) => lowerGemm(op as GemmOp, target, { tile, split }) });
				expect(bench.program.summary.pipelines, name).toBeGreaterThan(0);
				variants += bench.program.summary.pipelines;
				bench.destroy();
			}
		}
	}
	expect(variants).toBeGreaterThan(STAGED_TILES.length * TYPES.length * Object.keys(GEMM_CASES).length - 1);
});
