/** Every gemm variant, those for real GPUs above all, passes Dawn's validation with f16 and subgroups (null backend: compiles, executes nothing). */
import { expect, test } from 'vitest';
import type { GemmOp } from '../../../src/graph/ir';
import { lowerGemm } from '../../../src/kernels/gemm';
import { FAT_TILES, LANES_TILES, STAGED_TILES } from '../../../src/kernels/tiles';
import { nullGpu, prepareGraph } from '../harness';
import { ESSENTIAL, GEMM_CASES, type GemmCase, type Types } from './gemm-cases';

const F32: Types = { left: 'f32', right: 'f32', out: 'f32' };
const TYPES: readonly Types[] = [F32, { left: 'f16', right: 'f16', out: 'f16' }, { left: 'f32', right: 'f16', out: 'f16' }];

test.each([true, false])('every kernel shape and mode compiles (shader-f16 %s)', async (f16) => {
	const gpu = await nullGpu({ software: false, f16 });
	expect(gpu.f16).toBe(f16);
	for (const [i, tile] of [...STAGED_TILES, ...LANES_TILES, ...FAT_TILES].entries()) {
		for (const name of ESSENTIAL) {
			const { graph, feeds } = (GEMM_CASES[name] as (types: Types) => GemmCase)(TYPES[i % TYPES.length] ?? F32);
			const split = i % 2 === 0 ? 2 : 1;
			const bench = await prepareGraph(gpu, graph, feeds, { lower: (op, target) => lowerGemm(op as GemmOp, target, { tile, split }) });
			expect(bench.program.summary.pipelines, name).toBeGreaterThan(0);
			bench.destroy();
		}
	}
});
