/**
 * Products against the float64 interpreter: every mode with the kernels this machine would use, then every kernel shape, also those for real GPUs.
 */
import { describe, expect, test } from 'vitest';
import type { Gpu } from '../../../src/gpu/gpu';
import { interpret } from '../../../src/graph/interpret';
import type { GemmOp } from '../../../src/graph/ir';
import { lowerGemm, type GemmChoice } from '../../../src/kernels/gemm';
import { FAT_TILES, LANES_TILES, STAGED_TILES, type Tile } from '../../../src/kernels/tiles';
import { openTestGpu, prepareGraph, relativeError } from '../harness';
import { ESSENTIAL, errorBound, GEMM_CASES, type Types } from './gemm-cases';

const F32: Types = { left: 'f32', right: 'f32', out: 'f32' };
const F16: Types = { left: 'f16', right: 'f16', out: 'f16' };
const MIXED: Types = { left: 'f32', right: 'f16', out: 'f32' };

/** The kernel for GPUs in a size that a CPU compiles quickly. */
const SMALL: Tile = { kind: 'tile', name: 'small', bm: 16, bn: 32, bk: 4, tm: 4, tn: 4, ahead: false, rate: 1, rateAcross: 1 };

/** The same, reading ahead. */
const AHEAD: Tile = { ...SMALL, name: 'ahead', ahead: true };

const STRIP: Tile = { kind: 'strip', name: 'strip', bm: 8, bn: 16, slices: 8, deep: false };

/** The result's error over its bound (`allowed` more, in units of the largest number); the choice replaces the heuristic's. */
async function excess(gpu: Gpu, name: string, types: Types, choice?: GemmChoice, allowed = 0): Promise<number> {
	const make = GEMM_CASES[name];
	if (!make) throw new Error(name);
	const { graph, op, feeds, scalars } = make(types);
	const expected = interpret(graph, feeds, scalars).get(op.out) ?? [];
	const bench = await prepareGraph(gpu, graph, feeds, choice ? { lower: (any, target) => lowerGemm(any as GemmOp, target, choice) } : {});
	try {
		await bench.program.run(scalars);
		return relativeError(await bench.program.read(op.out), expected) / (errorBound(op) + allowed);
	} finally {
		bench.destroy();
	}
}

describe('every mode, with the shapes the heuristic picks', () => {
	test.each(Object.keys(GEMM_CASES))('f32: %s', async (name) => {
		expect(await excess(await openTestGpu(), name, F32)).toBeLessThan(1);
	});
	test.each(ESSENTIAL.slice(0, 4))('halves: %s', async (name) => {
		expect(await excess(await openTestGpu(), name, F16)).toBeLessThan(1);
	});
	test.each(ESSENTIAL.slice(0, 1))('halves without shader-f16: %s', async (name) => {
		const gpu = await openTestGpu({ f16: false });
		expect(gpu.f16).toBe(false);
		expect(await excess(gpu, name, F16)).toBeLessThan(1);
		expect(await excess(gpu, name, MIXED)).toBeLessThan(1);
	});
});

/** Each variant costs the software adapter seconds to compile, so shapes and modes are not all multiplied with each other. */
describe('every kernel shape', () => {
	// Of the kernels for GPUs a small one: compilers for CPUs take half a minute for a large one.
	const shapes: readonly Tile[] = [...LANES_TILES, ...FAT_TILES, ...STAGED_TILES.filter(({ bm, bn }) => bm * bn <= 32 * 64).slice(0, 1)];
	test.each(shapes.map((tile, i) => [tile.name, tile, ESSENTIAL[i % ESSENTIAL.length] ?? ''] as const))('%s', async (_, tile, name) => {
		const gpu = await openTestGpu();
		if (tile.kind === 'lanes' && gpu.subgroupSize < tile.lanes) return;
		expect(await excess(gpu, name, F32, { tile, split: 1 }), name).toBeLessThan(1);
	});
	const staged = [ESSENTIAL[0], ESSENTIAL[2], ESSENTIAL[5], ESSENTIAL[6]].map((name) => name ?? '');
	test.each(staged)('staged for GPUs, in slices: %s', async (name) => {
		expect(await excess(await openTestGpu(), name, MIXED, { tile: SMALL, split: 3 })).toBeLessThan(1);
	});
	test('staged for GPUs, reading ahead', async () => {
		// Halves stay halves until they are staged, and factors are rounded to them.
		expect(await excess(await openTestGpu(), ESSENTIAL[0] ?? '', F16, { tile: AHEAD, split: 1 }, 2 ** -11)).toBeLessThan(1);
	});
	test('in strips', async () => {
		expect(await excess(await openTestGpu(), 'up gradient: dyᵀ·h over 77 rows', MIXED, { tile: STRIP })).toBeLessThan(1);
	});
	test('in strips, four blocks at a time', async () => {
		expect(await excess(await openTestGpu(), 'skinny: x·Aᵀ', MIXED, { tile: { ...STRIP, deep: true } })).toBeLessThan(1);
	});
});

test('the same product gives the same bits again', async () => {
	const gpu = await openTestGpu();
	const make = GEMM_CASES['down gradient: gᵀ·x over 1000 rows'];
	if (!make) throw new Error('missing case');
	const { graph, op, feeds } = make(F32);
	const lower = (any: unknown, target: Parameters<typeof lowerGemm>[1]) => lowerGemm(any as GemmOp, target, { tile: SMALL, split: 7 });
	const bench = await prepareGraph(gpu, graph, feeds, { lower });
	await bench.program.run();
	const first = await bench.program.read(op.out);
	await bench.program.run();
	expect(await bench.program.read(op.out)).toEqual(first);
	bench.destroy();
});
