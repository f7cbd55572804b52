/**
 * The kernel for subgroup matrices, checked where there are none: its matrix operations are replaced by plain ones that every invocation does for itself, so that everything else
 * (staging, addressing, the order of terms, edges, how results leave) runs as written. The operations themselves are the device's.
 */
import { describe, expect, test } from 'vitest';
import type { Gpu } from '../../../src/gpu/gpu';
import { interpret } from '../../../src/graph/interpret';
import type { GemmOp } from '../../../src/graph/ir';
import { lowerGemm } from '../../../src/kernels/gemm';
import type { Tile } from '../../../src/kernels/tiles';
import { openTestGpu, prepareGraph, relativeError } from '../harness';
import { errorBound, GEMM_CASES, type Types } from './gemm-cases';

const HALVES: Types = { left: 'f16', right: 'f16', out: 'f16' };

/** Plain WGSL with the meaning of the matrix operations, for matrices of 16 × 16 that every invocation holds as a whole. */
const PLAIN = `
// Always zero, but the compiler cannot know: loops that start here are not unrolled.
var<private> nothing: u32;
fn matrix_element(at: u32, pitch: u32, row: u32, column: u32) -> f32 {
	let element = (at + row * pitch) * 4u + column;
	return f32(TILE[element >> 2u][element & 3u]);
}
fn matrix_load(at: u32, pitch: u32, transposed: bool) -> array<f32, 256> {
	var m: array<f32, 256>;
	for (var i = nothing; i < 256u; i++) {
		let row = select(i / 16u, i % 16u, transposed);
		let column = select(i % 16u, i / 16u, transposed);
		m[i] = matrix_element(at, pitch, row, column);
	}
	return m;
}
fn matrix_product(a: array<f32, 256>, b: array<f32, 256>, c: array<f32, 256>) -> array<f32, 256> {
	var left = a;
	var right = b;
	var sum = c;
	for (var i = nothing; i < 16u; i++) {
		for (var j = nothing; j < 16u; j++) {
			for (var k = nothing; k < 16u; k++) {
				sum[i * 16u + j] += left[i * 16u + k] * right[k * 16u + j];
			}
		}
	}
	return sum;
}
fn matrix_store(at: u32, m: array<f32, 256>, pitch: u32, inner: u32) {
	var values = m;
	for (var i = inner; i < 128u; i += 32u) {
		let to = at + (i / 8u) * pitch + i % 8u;
		TILE[to] = bitcast<vec4<f16>>(vec2f(values[2u * i], values[2u * i + 1u]));
	}
}
`;

function plain(code: string): string {
	if (!code.includes('subgroup_matrix')) return code;
	const tile = /var<workgroup> (\w*tile\w*)/.exec(code)?.[1] ?? '';
	return (
		code
			.replace(/enable subgroups;\n|enable chromium_experimental_subgroup_matrix;\n|diagnostic\(off, chromium.subgroup_matrix_uniformity\);\n/g, '')
			.replace(/subgroup_matrix_(?:left|right|result)<f\d+, 16, 16>/g, 'array<f32, 256>')
			.replace(
				/subgroupMatrixLoad<\w+,\s*(\w+)>\(&\w+, ([^;]*), ([^;,]*)\);/g,
				(_, order: string, at: string, pitch: string) => `matrix_load(${at}, ${pitch}, ${order === 'col_major'});`
			)
			.replace(/subgroupMatrixStore<\w+>\(&\w+, ([^;]*)\);/g, 'matrix_store($1, inner);')
			.replace(/subgroupMatrixMultiplyAccumulate/g, 'matrix_product')
			.replace(
				/@builtin\(local_invocation_index\) lane: u32,[^{]*\{/,
				'@builtin(local_invocation_index) lane: u32) {\nnothing = groups.z >> 31u;\nlet subgroup = lane / 32u;\nlet inner = lane % 32u;\n'
			) + PLAIN.replaceAll('TILE', tile)
	);
}

/** The same adapter, said to have matrices. */
async function pretending(): Promise<Gpu> {
	const gpu = await openTestGpu({ software: false, subgroups: true });
	const device = new Proxy(gpu.device, {
		get(target, name) {
			if (name === 'createShaderModule')
				return (descriptor: GPUShaderModuleDescriptor) => target.createShaderModule({ ...descriptor, code: plain(descriptor.code) });
			const value: unknown = Reflect.get(target, name, target);
			return typeof value === 'function' ? (value.bind(target) as unknown) : value;
		}
	});
	return { ...gpu, check: gpu.check.bind(gpu), device };
}

/** Few products, as compilers for CPUs are slow. */
const TILES: readonly Tile[] = [
	{ kind: 'matrix', name: '32×16', bm: 32, bn: 16, bk: 32, wm: 16, wn: 16, rate: 1 },
	{ kind: 'matrix', name: '16×32', bm: 16, bn: 32, bk: 32, wm: 16, wn: 32, rate: 1 }
];

const CASES: readonly (readonly [name: string, tile: number, split: number])[] = [
	['linear with bias, rowBias, residual and scale', 0, 1],
	['conv stride 2: input gradient', 1, 2],
	['conv: gradient of the down factor', 0, 3]
];

describe('reads, edges, slices and what follows the sum', () => {
	test.each(CASES)('%s', async (name, which, split) => {
		const gpu = await pretending();
		const tile = TILES[which];
		const make = GEMM_CASES[name];
		if (!tile || !make) throw new Error(name);
		const { graph, op, feeds, scalars } = make(HALVES);
		const expected = interpret(graph, feeds, scalars).get(op.out) ?? [];
		const bench = await prepareGraph(gpu, graph, feeds, { lower: (any, target) => lowerGemm(any as GemmOp, target, { tile, split }) });
		await bench.program.run(scalars);
		// Factors come in f32 and are rounded to halves.
		expect(relativeError(await bench.program.read(op.out), expected)).toBeLessThan(errorBound(op) + 2 ** -11);
		bench.destroy();
	});
});
