/** Merging and comparing through the protocol's own requests, without a model and without a GPU. */
import { describe, expect, test } from 'vitest';
import { writeSafetensors } from '../../../src/formats/safetensors-writer';
import { createHost } from '../../../src/service/host';
import { createInProcessClient } from '../../../src/service/inProcess';
import type { Platform } from '../../../src/service/platform';
import type { MergeSettings } from '../../../src/recipe/merge';
import { tensorsOf } from '../lora/merge-harness';

const none = (): never => {
	throw new Error('There is no such thing here.');
};
const platform = { openGpu: () => Promise.reject(new Error('no GPU')), openConditioner: none, fetchBundled: none } as unknown as Platform;

const lora = (inputs = 64): ArrayBuffer =>
	writeSafetensors(
		tensorsOf([{ name: 'lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k', rows: 20, inputs: [inputs], rank: 4, alpha: 4 }])
	).slice().buffer;

const settings = (ratio: number): MergeSettings => ({
	name: 'both',
	method: 'svd',
	dimension: { kind: 'fixed', rank: 2 },
	convDimension: null,
	precision: 'f16',
	parts: ['one', 'two'].map((name) => ({ name, ratio, blocks: null }))
});

describe('the lab', () => {
	test('merges buffers and Blobs, again with other ratios, and says what it did', async () => {
		const client = createInProcessClient(createHost(platform));
		const [one, two] = [lora(), lora()];
		const merge = (run: string, ratio: number, files: (ArrayBuffer | Blob)[]): Promise<{ file: ArrayBuffer; report: { norm: number; device: string } }> =>
			client.request({ type: 'merge', run, request: { settings: settings(ratio), files } });
		const first = await merge('a', 0.5, [one, two]);
		const second = await merge('b', 1, [new Blob([one]), new Blob([two])]);
		expect(second.report.norm).toBeCloseTo(2 * first.report.norm, 6);
		expect(first.report).toMatchObject({ modules: 1, ranks: { 2: 1 }, device: 'cpu', problems: [] });
		const report = await client.request({ type: 'inspect', name: 'both', blob: new Blob([second.file]) });
		expect(report).toMatchObject({ kind: 'lora', family: 'mini', lora: { modules: 1, ranks: { 2: 1 }, alphas: { 2: 1 } } });
		const files = [first.file, second.file].map((bytes, i) => ({ name: `m${i}`, bytes }));
		const { similarity, advice } = await client.request({ type: 'compareLoras', files });
		expect(similarity[0]?.[1]).toBeCloseTo(1, 3);
		expect(advice.each).toBeLessThan(1);
		client.close();
	});

	test('refuses with a problem that names the file', async () => {
		const client = createInProcessClient(createHost(platform));
		const request = (files: ArrayBuffer[]): Promise<unknown> => client.request({ type: 'merge', run: 'c', request: { settings: settings(1), files } });
		await expect(request([lora(), lora(768)])).rejects.toMatchObject({ problem: { code: 'merge.architectures' } });
		await expect(request([lora(), new ArrayBuffer(3)])).rejects.toMatchObject({ problem: { where: 'two' } });
		await expect(request([lora()])).rejects.toMatchObject({ problem: { code: 'merge.noFiles' } });
		client.close();
	});
});
