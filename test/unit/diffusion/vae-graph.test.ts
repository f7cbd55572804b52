/** The VAE's graph at full size, by shapes alone: what the GPU would be asked for. */
import { describe, expect, it } from 'vitest';
import type { VaeConfig } from '../../../src/diffusion/config';
import { arranged, buildVae } from '../../../src/diffusion/vae-graph';
import { decoder, encoder } from '../../../src/diffusion/vae-network';
import type { TensorEntry } from '../../../src/formats/safetensors';
import { flopsOf } from '../../../src/graph/cost';
import { planProgram, type Machine } from '../../../src/kernels/plan-program';
import { lowerStrips } from '../../../src/kernels/strips';
import { checkpointTensors } from '../../../tools/synthetic/layout.mjs';

const GIB = 2 ** 30;
const config: VaeConfig = {
	prefix: 'first_stage_model.',
	channels: 128,
	channelMult: [1, 2, 4, 4],
	resBlocks: 2,
	latentChannels: 4,
	groups: 32,
	scale: 0.13025
};
const tensors = new Map<string, TensorEntry>(
	checkpointTensors('sdxl').map(({ name, shape }) => [name, { name, dtype: 'F16', shape, offset: 0, length: 0 } as unknown as TensorEntry])
);
/** The least that WebGPU lets a kernel bind. */
const machine: Machine = {
	maxBufferSize: 256 * 2 ** 20,
	target: {
		f16: true,
		subgroups: false,
		subgroupSize: 0,
		subgroupMatrix: false,
		maxWorkgroupInvocations: 256,
		maxWorkgroupStorage: 16384,
		maxWorkgroupsPerDimension: 65535,
		maxStorageBuffers: 8,
		software: false
	}
};

describe('the VAE of SDXL at 1024²', () => {
	it.each([
		{ direction: 'encode', network: encoder, size: { channels: 3, height: 1024, width: 1024 } },
		{ direction: 'decode', network: decoder, size: { channels: 4, height: 128, width: 128 } }
	])('$direction: takes less than 2 GiB, in arrays that any adapter can bind, and does the work hardly twice', async ({ network, size }) => {
		const { graph } = await buildVae(network, config, { tensors }, size);
		const plan = planProgram(machine, graph, { lower: lowerStrips });
		expect(plan.arenaBytes).toBeLessThan(2 * GIB);
		expect(plan.largestBinding).toBeLessThanOrEqual(128 * 2 ** 20);
		// Rows that two strips both make cost little.
		const whole = await buildVae(network, config, { tensors }, size, { strip: Infinity, scores: Infinity });
		const work = (ops: typeof graph.ops): number => ops.reduce((sum, op) => sum + flopsOf(op), 0);
		expect(work(graph.ops) / work(whole.graph.ops)).toBeLessThan(1.05);
	});

	it('says which tensor is missing', async () => {
		const less = new Map(tensors);
		less.delete('first_stage_model.decoder.mid.attn_1.k.bias');
		await expect(buildVae(decoder, config, { tensors: less }, { channels: 4, height: 16, width: 16 })).rejects.toMatchObject({
			code: 'incomplete-model',
			where: 'first_stage_model.decoder.mid.attn_1.k.bias'
		});
	});
});

it('arranges weights as (output, ky, kx, input) with zeros up to whole quads', () => {
	const data = Float32Array.from({ length: 2 * 3 * 9 }, (_, i) => i + 1);
	const out = arranged(data, { name: 'w', fileShape: [2, 3, 3, 3], shape: [4, 36] });
	for (let o = 0; o < 4; o++) {
		for (let tap = 0; tap < 9; tap++) for (let i = 0; i < 4; i++) expect(out[(o * 9 + tap) * 4 + i]).toBe(o < 2 && i < 3 ? data[(o * 3 + i) * 9 + tap] : 0);
	}
	expect([...arranged(Float32Array.of(1, 2, 3), { name: 'b', fileShape: [3], shape: [4] })]).toEqual([1, 2, 3, 0]);
	const square = Float32Array.from({ length: 16 }, (_, i) => i);
	expect(arranged(square, { name: 's', fileShape: [4, 4, 1, 1], shape: [4, 4] })).toEqual(square);
});
