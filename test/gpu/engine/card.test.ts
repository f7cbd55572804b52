/**
 * Every kernel that whole training steps get on a large card (subgroup matrices, subgroups of 32, halves, with and without them) is valid WGSL with an entry point and a layout that knows its
 * bindings. The null backend has the language's features but not such a card's limits, so a pipeline may fail for those alone. Without this, a kernel only a card chooses would be compiled there first;
 * Node opens cards without validation, where an invalid module ends the process.
 */
import { describe, expect, test } from 'vitest';
import { SD15_UNET, SDXL_UNET, type UnetConfig } from '../../../src/diffusion/config';
import { unetModules } from '../../../src/diffusion/unet-layout';
import { openGpu } from '../../../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../../../src/gpu/node';
import { pipelinesOf } from '../../../src/gpu/pipelines';
import { shaderName, type ShaderRequest } from '../../../src/gpu/shaders';
import { lowerTogether } from '../../../src/kernels/batch';
import type { Dispatch, Target } from '../../../src/kernels/dispatch';

import { lower } from '../../../src/kernels/lower';
import { selectModules } from '../../../src/lora/modules';
import { defaultPasses, UNET_BLOCKS } from '../../../src/recipe/defaults';
import { buildStep } from '../../../src/training/step';
import { nullGpu } from '../harness';

/** An H100 as Dawn shows it. */
const CARD: Target = {
	f16: true,
	subgroups: true,
	subgroupSize: 32,
	subgroupMatrix: true,
	unclamped: true,
	maxWorkgroupInvocations: 1024,
	maxWorkgroupStorage: 49152,
	maxWorkgroupsPerDimension: 65535,
	maxStorageBuffers: 16,
	software: false
};

function stepOf(family: 'sd15' | 'sdxl', unet: UnetConfig, [height, width]: readonly [number, number], rank: number, convRank: number) {
	const settings = { ...defaultPasses(family, 'lora').difference, blocks: [...UNET_BLOCKS], rank, alpha: rank, convRank, convAlpha: convRank, batch: 1 };
	const plan = { label: 'card', modules: selectModules(unetModules(unet), settings) };
	return buildStep(unet, { height, width, storage: 'f16' }, settings, { frozen: [], trained: plan });
}

/** As programs bind: what is written, and what shares an arena with it. */
function requestOf({ shader, conditions, constants, bindings }: Dispatch): ShaderRequest {
	const access: ('read' | 'read_write')[] = [];
	bindings.forEach((binding, i) => {
		const external = binding.access === 'read' && !('scratch' in binding.slot) && binding.slot.kind !== 'intermediate';
		access[binding.binding ?? i] = external ? 'read' : 'read_write';
	});
	return { shader, conditions, constants, access };
}

const CASES = [
	['SDXL', () => stepOf('sdxl', SDXL_UNET, [128, 128], 16, 0), CARD],
	['SD1.5 of an odd size, rank 6, convolutions', () => stepOf('sd15', SD15_UNET, [72, 56], 6, 4), { ...CARD, unclamped: false }],
	['SD1.5 without matrices', () => stepOf('sd15', SD15_UNET, [64, 64], 16, 0), { ...CARD, subgroupMatrix: false }]
] as const;

describe('what a card gets', () => {
	test.each(CASES)('%s', async (_, stepFor, target) => {
		const pipelines = pipelinesOf(await nullGpu({ software: false }));
		const requests = new Map<string, ShaderRequest>();
		const { graph, gradients } = stepFor();
		// As many bindings as the null backend has.
		const few = { ...target, maxStorageBuffers: 8 };
		const dispatches = [...graph.ops.flatMap((op) => lower(op, target)), ...lowerTogether(graph.ops, few, new Set(gradients.values()))];
		for (const request of dispatches.map(requestOf)) requests.set(shaderName(request), request);
		expect([...requests.keys()].some((name) => name.startsWith('gemm_matrix'))).toBe(target.subgroupMatrix);
		const faults = await Promise.all(
			[...requests.values()].map(async (request) => {
				try {
					await pipelines.get(request, true);
					return [];
				} catch (cause) {
					const message = cause instanceof Error ? cause.message : String(cause);
					// The last things that are checked, when everything else has been found good.
					return /(?:exceeds|is larger than) the maximum allowed|multiple of the device maxSubgroupSize/.test(message) ? [] : [message];
				}
			})
		);
		expect(faults.flat()).toEqual([]);
	});
});

test('without validation, a text that is no kernel is an error, not the end of the process', async () => {
	const gpu = await openGpu(await dawn(FAST_FLAGS), { onError: () => undefined });
	const pipelines = pipelinesOf(gpu);
	await expect(pipelines.get({ shader: 'common', conditions: {}, constants: {}, access: ['read_write', 'read'] })).rejects.toThrow(/no entry point main/);
	await expect(pipelines.get({ shader: 'factor_norm', conditions: {}, constants: { WORKGROUP: 0 }, access: ['read_write', 'read'] })).rejects.toThrow(
		/factor_norm/
	);
	gpu.close();
});
