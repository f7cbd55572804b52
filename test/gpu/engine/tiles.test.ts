/** The heuristic's choices: always a kernel that the machine can run, suited to the shape. */
import { expect, test } from 'vitest';
import type { Target } from '../../../src/kernels/dispatch';
import { chooseSplit, chooseTile, coverOf, invocationsOf, workgroupBytesOf, type Problem } from '../../../src/kernels/tiles';

const GPU: Target = {
	f16: true,
	subgroups: true,
	subgroupSize: 32,
	subgroupMatrix: false,
	maxWorkgroupInvocations: 256,
	maxWorkgroupStorage: 16384,
	maxWorkgroupsPerDimension: 65535,
	maxStorageBuffers: 8,
	software: false
};

const PROBLEMS: readonly Problem[] = [1, 16, 77, 1024, 16384].flatMap((m) =>
	[4, 16, 64, 640, 10240].flatMap((n) => [16, 576, 11520].map((k) => ({ m, n, k, halves: true, form: 'rows nk' })))
);

test('fits the default limits of WebGPU', () => {
	for (const problem of PROBLEMS) {
		const tile = chooseTile(problem, GPU);
		expect(['tile', 'strip']).toContain(tile.kind);
		expect(invocationsOf(tile)).toBeLessThanOrEqual(GPU.maxWorkgroupInvocations);
		expect(workgroupBytesOf(tile)).toBeLessThanOrEqual(GPU.maxWorkgroupStorage);
	}
});

test('software adapters share loads where the size of subgroups is known', () => {
	const kinds = [0, 4, 8, 16].map((subgroupSize) => {
		const tile = chooseTile({ m: 64, n: 64, k: 64, halves: false, form: 'rows nk' }, { ...GPU, software: true, subgroupSize });
		return tile.kind === 'lanes' ? tile.lanes : tile.kind;
	});
	expect(kinds).toEqual(['fat', 4, 8, 'fat']);
});

test('a narrow result does not take a wide tile', () => {
	expect(coverOf(chooseTile({ m: 16384, n: 16, k: 640, halves: true, form: 'rows nk' }, GPU)).columns).toBeLessThanOrEqual(32);
	expect(coverOf(chooseTile({ m: 16, n: 5120, k: 4096, halves: true, form: 'rows nk' }, GPU)).rows).toBeLessThanOrEqual(32);
});

test('only a small result with a long reduction is split', () => {
	const split = (problem: Problem): number => chooseSplit(chooseTile(problem, GPU), problem);
	expect(split({ m: 64, n: 640, k: 16384, halves: true, form: 'rows nk' })).toBeGreaterThan(4);
	expect(split({ m: 16384, n: 5120, k: 640, halves: true, form: 'rows nk' })).toBe(1);
	expect(split({ m: 16, n: 16, k: 32, halves: true, form: 'rows nk' })).toBe(1);
	for (const problem of PROBLEMS) expect(split(problem)).toBeLessThanOrEqual(64);
});
