import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { bytesSource } from '../../../src/formats/source';
import { writeSafetensors } from '../../../src/formats/safetensors-writer';
import { inspectFile } from '../../../src/service/inspect';

const read = async (path: string): Promise<Uint8Array> => new Uint8Array(await readFile(new URL(`../../../${path}`, import.meta.url)));
const inspect = (bytes: Uint8Array, name = 'file.safetensors') => inspectFile(name, bytesSource(bytes));

describe('inspect', () => {
	it('knows the bundled model', async () => {
		const report = await inspect(await read('public/models/mini.safetensors'));
		expect(report).toMatchObject({ kind: 'checkpoint', family: 'mini', bytes: 31_741_718, lora: null, problems: [] });
		expect(report.dtypes['F16']).toBeGreaterThan(500);
		expect(report.metadata['modelspec.title']).toBeTruthy();
	});

	it('counts what a LoRA has', async () => {
		const report = await inspect(await read('test/fixtures/mini/reference/difference-conv.safetensors'));
		expect(report).toMatchObject({ kind: 'lora', family: 'mini', problems: [] });
		expect(report.lora?.modules).toBe(278);
		expect(Object.values(report.lora?.ranks ?? {}).reduce((a, b) => a + b, 0)).toBe(278);
		expect(Object.values(report.lora?.blocks ?? {}).reduce((a, b) => a + b, 0)).toBe(278);
		expect(report.lora?.blocks['M00']).toBeGreaterThan(0);
	});

	it('says what else a file is', async () => {
		const other = writeSafetensors([{ name: 'a.weight', dtype: 'F32', shape: [2], data: new Float32Array(2) }], { note: 'x' });
		expect(await inspect(other)).toMatchObject({
			kind: 'other',
			family: 'unknown',
			tensors: 1,
			metadata: { note: 'x' },
			problems: [{ code: 'file.unknown-model' }]
		});
		const half = writeSafetensors([{ name: 'lora_unet_x.lora_down.weight', dtype: 'F32', shape: [1, 2], data: new Float32Array(2) }], {});
		expect(await inspect(half)).toMatchObject({ kind: 'lora', lora: null, problems: [{ level: 'error', code: 'lora.incomplete' }] });
	});

	it.each([
		['an empty file', new Uint8Array(), 'empty'],
		['a pickle', new Uint8Array([0x80, 2, 0x7d, 0x71, 0, 0, 0, 0, 0, 0, 0, 0]), 'pickle'],
		['text', new TextEncoder().encode('hello, this is no model at all'), 'not-safetensors']
	])('refuses %s by name', async (_, bytes, code) => {
		await expect(inspect(bytes)).rejects.toMatchObject({ code });
	});
});
