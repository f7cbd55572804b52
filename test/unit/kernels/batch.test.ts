/** Which products share a dispatch: nothing is lost or read too early, and a step of SDXL's shape takes far fewer dispatches. */
import { expect, test } from 'vitest';
import { SDXL_UNET, type UnetConfig } from '../../../src/diffusion/config';
import { unetModules } from '../../../src/diffusion/unet-layout';
import { readsOf, writesOf } from '../../../src/graph/operands';
import { groupOps, lowerGroup } from '../../../src/kernels/batch';
import type { Target } from '../../../src/kernels/dispatch';
import { lower } from '../../../src/kernels/lower';
import { planProgram } from '../../../src/kernels/plan-program';
import { selectModules } from '../../../src/lora/modules';
import { defaultPasses, UNET_BLOCKS } from '../../../src/recipe/defaults';
import { buildStep } from '../../../src/training/step';

const TINY: UnetConfig = { ...SDXL_UNET, modelChannels: 64, depths: [0, 1, 1], middleDepth: 1, contextDim: 128, vectorDim: 192 };
const settings = { ...defaultPasses('sdxl', 'lora').difference, blocks: [...UNET_BLOCKS], rank: 8, alpha: 8, convRank: 4, convAlpha: 4, batch: 1 };
const plan = { label: 'batch', modules: selectModules(unetModules(TINY), settings) };
const { graph, gradients } = buildStep(TINY, { height: 24, width: 16, storage: 'f16' }, settings, { frozen: [], trained: plan });
const external = new Set(gradients.values());

const card: Target = {
	f16: true,
	subgroups: true,
	subgroupSize: 32,
	subgroupMatrix: true,
	maxWorkgroupInvocations: 1024,
	maxWorkgroupStorage: 49152,
	maxWorkgroupsPerDimension: 65535,
	maxStorageBuffers: 16,
	software: false
};

test.each([16, 8])('every operation runs once, after what it reads is there (%i bindings)', (maxStorageBuffers) => {
	const target = { ...card, maxStorageBuffers };
	const groups = groupOps(graph.ops, target, external);
	const there = new Set(graph.values.filter(({ kind }) => kind !== 'intermediate'));
	const early: string[] = [];
	for (const group of groups) {
		// All of a group read before any of it writes.
		for (const op of group) early.push(...readsOf(op).flatMap((value) => (there.has(value) ? [] : [value.name])));
		for (const op of group) for (const value of writesOf(op)) there.add(value);
	}
	expect(early).toEqual([]);
	const all = groups.flat();
	expect(all).toHaveLength(graph.ops.length);
	expect(new Set(all)).toEqual(new Set(graph.ops));
	const shared = groups.filter((group) => group.length > 1);
	expect(shared.length).toBeGreaterThan(0);
	for (const [dispatch] of shared.map((group) => lowerGroup(group, target))) {
		const bindings = dispatch?.bindings ?? [];
		expect(new Set(bindings.map(({ binding }, i) => binding ?? i)).size).toBe(bindings.length);
		expect(new Set(bindings.map(({ slot }) => slot)).size).toBe(bindings.length);
		expect(bindings.length).toBeLessThanOrEqual(maxStorageBuffers);
	}
});

test('fewer dispatches', () => {
	const machine = { target: card, maxBufferSize: 2 ** 31 };
	const single = planProgram(machine, graph, { gradients, lower });
	const batched = planProgram(machine, graph, { gradients });
	expect(batched.dispatches).toBeLessThan(0.9 * single.dispatches);
	expect(batched.arenaBytes).toBeLessThan(1.5 * single.arenaBytes);
});

test('software adapters take one after the other', () => {
	const groups = groupOps(graph.ops, { ...card, software: true }, external);
	expect(groups.map(([op]) => op)).toEqual(graph.ops);
});
