/** Every gemm variant, those for real GPUs above all, passes Dawn's validation with f16 and subgroups (null backend: compiles, executes nothing). */
import { expect, test } from 'vitest';
import type { GemmOp } from '../../../src/graph/ir';
import { lowerGemm } from '../../../src/kernels/gemm';
import { targetOf } from '../../../src/kernels/lower';
import { FAT_TILES, LANES_TILES, STAGED_TILES, tileFits, type Tile } from '../../../src/kernels/tiles';
import { nullGpu, prepareGraph } from '../harness';
import { ESSENTIAL, GEMM_CASES, type GemmCase, type Types } from './gemm-cases';

const F32: Types = { left: 'f32', right: 'f32', out: 'f32' };
const TYPES: readonly Types[] = [F32, { left: 'f16', right: 'f16', out: 'f16' }, { left: 'f32', right: 'f16', out: 'f16' }];

test.each([true, false])('every kernel shape and mode compiles (shader-f16 %s)', async (f16) => {
	const gpu = await nullGpu({ software: false, f16 });
	expect(gpu.f16).toBe(f16);
	const tiles = [...STAGED_TILES, ...LANES_TILES, ...FAT_TILES].filter((tile) => tileFits(tile, targetOf(gpu)));
	for (const [i, tile] of tiles.entries()) {
		for (const name of ESSENTIAL) {
			const { graph, feeds } = (GEMM_CASES[name] as (types: Types) => GemmCase)(TYPES[i % TYPES.length] ?? F32);
			const split = i % 2 === 0 ? 2 : 1;
			const bench = await prepareGraph(gpu, graph, feeds, { lower: (op, target) => lowerGemm(op as GemmOp, target, { tile, split }) });
			expect(bench.program.summary.pipelines, name).toBeGreaterThan(0);
			bench.destroy();
		}
	}
});

/** Small enough for what an adapter of nothing offers. */
const MATRICES: readonly Tile[] = [
	{ kind: 'matrix', name: '64×32', bm: 128, bn: 64, bk: 32, wm: 64, wn: 32, rate: 1 },
	{ kind: 'matrix', name: '32×32', bm: 64, bn: 64, bk: 32, wm: 32, wn: 32, rate: 1 },
	{ kind: 'matrix', name: '16×16', bm: 32, bn: 32, bk: 64, wm: 16, wn: 16, rate: 1 }
];

test('every kernel shape on subgroup matrices compiles', async () => {
	const gpu = await nullGpu({ software: false });
	expect(gpu.features.has('chromium-experimental-subgroup-matrix')).toBe(true);
	const halves: Types = { left: 'f16', right: 'f16', out: 'f16' };
	for (const [i, tile] of MATRICES.entries()) {
		for (const name of ESSENTIAL) {
			const { graph, feeds } = (GEMM_CASES[name] as (types: Types) => GemmCase)(i % 2 === 0 ? halves : { left: 'f32', right: 'f16', out: 'f32' });
			const split = i % 2 === 0 ? 2 : 1;
			const bench = await prepareGraph(gpu, graph, feeds, { lower: (op, target) => lowerGemm(op as GemmOp, target, { tile, split }) });
			expect(bench.program.summary.pipelines, name).toBeGreaterThan(0);
			bench.destroy();
		}
	}
});
