/** `merge`, `resize` and `extract` on files: what they write, that nothing is overwritten or left half-done, a checkpoint with a LoRA in it and the LoRA out of it again. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openSafetensors } from '../../../src/formats/safetensors';
import { writeSafetensors, type TensorData } from '../../../src/formats/safetensors-writer';
import { bytesSource } from '../../../src/formats/source';
import { parseArguments, UsageError } from '../../../src/helper/arguments';
import type { Context } from '../../../src/helper/exit';
import { merge } from '../../../src/helper/merge';
import { resize } from '../../../src/helper/resize';
import { extractLora } from '../../../src/lora/extract';
import { MergeSession } from '../../../src/lora/merge';
import { openMergeFile } from '../../../src/lora/merge-files';
import { changeOf, minus, norm, randoms, tensorsOf, type TestModule } from '../lora/merge-harness';

let folder: string;
let printed: string[];
const path = (name: string): string => join(folder, name);
const context: Context = {
	streams: { out: (text) => void printed.push(text), err: () => undefined, terminal: false, columns: () => 80 },
	installation: { version: '0', root: '', bundled: (name: string) => name } as unknown as Context['installation'],
	onInterrupt: () => () => undefined
};

const TO_K = 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k';
const CONV = 'lora_unet_down_blocks_0_resnets_0_conv1';
const TE = 'lora_te_text_model_encoder_layers_0_mlp_fc1';
const MODULES: TestModule[] = [
	{ name: TO_K, rows: 30, inputs: [64], rank: 3, alpha: 1.5 },
	{ name: CONV, rows: 20, inputs: [6, 3, 3], rank: 2, alpha: 2 },
	{ name: TE, rows: 16, inputs: [10], rank: 2, alpha: 2 }
];
const PLACES: Record<string, [string, number[]]> = {
	[TO_K]: ['model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight', [30, 64]],
	[CONV]: ['model.diffusion_model.input_blocks.1.0.in_layers.2.weight', [20, 6, 3, 3]],
	[TE]: ['cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight', [16, 10]]
};
const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

beforeAll(() => {
	folder = mkdtempSync(join(tmpdir(), 'utsushi-lab-'));
	printed = [];
	writeFileSync(path('a.safetensors'), writeSafetensors(tensorsOf(MODULES)));
	writeFileSync(path('b.safetensors'), writeSafetensors(tensorsOf(MODULES.slice(0, 1))));
	writeFileSync(path('cut.safetensors'), readFileSync(path('a.safetensors')).subarray(0, -40));
	const base: TensorData[] = Object.values(PLACES).map(([name, shape]) => ({ name, dtype: 'F32', shape, data: randoms(size(shape)) }));
	base.push({ name: 'first_stage_model.post_quant_conv.bias', dtype: 'F16', shape: [4], data: Uint16Array.of(1, 2, 3, 4) });
	writeFileSync(path('base.safetensors'), writeSafetensors(base, { 'modelspec.title': 'a model', sshs_model_hash: 'old' }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(...words: string[]): Promise<Record<string, unknown>> {
	const command = parseArguments([...words, '--json']);
	printed = [];
	if (command.name === 'merge') await merge(command, context);
	else if (command.name === 'resize') await resize(command, context);
	else throw new Error(`${command.name} is not tried here`);
	return JSON.parse(printed.join('')) as Record<string, unknown>;
}

const open = (name: string): ReturnType<typeof openMergeFile> => openMergeFile(name, bytesSource(readFileSync(path(name))));

describe('on the command line', () => {
	test('a merge is written, and a second one beside it', async () => {
		const words = ['merge', path('m.safetensors'), `${path('a.safetensors')}:0.5`, `${path('b.safetensors')}:-1:OUTD`, '--dim', 'energy=0.999'];
		expect(await run(...words)).toMatchObject({ type: 'done', path: path('m.safetensors'), modules: 3, textEncoderModules: 1 });
		const first = readFileSync(path('m.safetensors'));
		expect(await run(...words)).toMatchObject({ path: path('m-2.safetensors') });
		expect(readFileSync(path('m.safetensors'))).toEqual(first);
		expect((await open('m.safetensors')).metadata).toMatchObject({ ss_output_name: 'm', 'modelspec.merged_from': 'a, b' });
	});

	test('a resize keeps the change it can and the scale it had', async () => {
		const report = await run('resize', path('a.safetensors'), '--out', path('r.safetensors'), '--dim', '1', '--dtype', 'f32');
		expect(report).toMatchObject({ modules: 3, ranks: { 1: 3 } });
		const resized = await open('r.safetensors');
		const alphas = resized.raw.modules.map(({ name, alpha }) => [name, alpha]);
		expect(Object.fromEntries(alphas)).toEqual({ [TO_K.slice(10)]: 0.5, [CONV.slice(10)]: 1, [TE.slice(5)]: 1 });
	});

	test('into a checkpoint and out of it again: the same LoRA, all else byte for byte', async () => {
		const done = await run('merge', '--into', path('base.safetensors'), '--out', path('tuned.safetensors'), `${path('a.safetensors')}:0.8`);
		expect(done).toMatchObject({ modules: 3, path: path('tuned.safetensors') });
		const [base, tuned] = await Promise.all(['base', 'tuned'].map((name) => openSafetensors(bytesSource(readFileSync(path(`${name}.safetensors`))))));
		if (!base || !tuned) throw new Error('not opened');
		expect([...tuned.tensors.keys()].sort()).toEqual([...base.tensors.keys()].sort());
		expect(await tuned.readBytes('first_stage_model.post_quant_conv.bias')).toEqual(await base.readBytes('first_stage_model.post_quant_conv.bias'));
		expect(tuned.metadata).toMatchObject({ 'modelspec.title': 'a model', ut_merged_loras: 'a:0.8' });
		expect(tuned.metadata['sshs_model_hash']).toBeUndefined();
		const settings = { name: 'x', rank: 3, convRank: 3, precision: 'f32', family: 'mini', tuned: 'tuned', base: 'base' } as const;
		const { bytes, report } = await extractLora(tuned, base, settings);
		expect(report).toMatchObject({ modules: 3, textEncoderModules: 1 });
		const extracted = await openMergeFile('x', bytesSource(bytes));
		const part = { name: 'n', ratio: 1, blocks: null };
		const common = { name: '', method: 'concat', dimension: { kind: 'auto' }, convDimension: null, precision: 'f32' } as const;
		const [ours, theirs] = [
			await new MergeSession([await open('a.safetensors')]).merge({ ...common, parts: [{ ...part, ratio: 0.8 }] }),
			await new MergeSession([extracted]).merge({ ...common, parts: [part] })
		];
		expect(theirs.modules).toHaveLength(3);
		for (const module of ours.modules) {
			const other = theirs.modules.find(({ name }) => name === module.name);
			const wanted = changeOf(module);
			if (other) expect(norm(minus(wanted, changeOf(other)))).toBeLessThan(1e-4 * norm(wanted));
		}
		await expect(extractLora(base, base, settings)).rejects.toMatchObject({ code: 'extract.same' });
	});

	test('what is refused leaves nothing behind', async () => {
		const before = readdirSync(folder);
		const out = path('never.safetensors');
		await expect(run('merge', out, `${path('cut.safetensors')}:1`)).rejects.toThrow(/cut\.safetensors/);
		await expect(run('merge', out, `${path('missing.safetensors')}:1`)).rejects.toThrow(/no file/);
		await expect(run('merge', out, `${path('base.safetensors')}:1`)).rejects.toThrow(/LoRA/);
		await expect(run('merge', out, `${path('a.safetensors')}:0`)).rejects.toMatchObject({ code: 'merge.nothing' });
		await expect(run('merge', '--into', path('a.safetensors'), '--out', out, `${path('a.safetensors')}:1`)).rejects.toMatchObject({
			code: 'merge.notInCheckpoint'
		});
		await expect(run('merge', '--into', path('base.safetensors'), '--out', out, `${path('a.safetensors')}:0`)).rejects.toMatchObject({ code: 'merge.nothing' });
		expect(readdirSync(folder)).toEqual(before);
	});

	test.each([
		[['merge'], /OUT/],
		[['merge', 'o.safetensors'], /nothing to merge/],
		[['merge', 'o.safetensors', 'a:0.5:1,2,3'], /12, 17, 20, 26/],
		[['merge', 'o.safetensors', 'a:x'], /ratio/],
		[['merge', 'o.safetensors', 'a', '--dim', '0'], /--dim/],
		[['merge', 'o.safetensors', 'a', '--method', 'magic'], /svd, concat, average/],
		[['merge', 'o.safetensors', 'a', '--dtype', 'f8'], /f16, bf16, f32/],
		[['resize', 'a', '--out', 'b'], /--dim/],
		[['resize', 'a', '--out', 'b', '--sv-fro', '0.9', '--sv-ratio', '3'], /Only one/],
		[['extract', 'a', '--dim', '4', '--out', 'b'], /Two checkpoints/],
		[['extract', 'a', 'b', '--out', 'c'], /--dim/]
	])('%j', (words, message) => {
		expect(() => parseArguments(words)).toThrow(UsageError);
		expect(() => parseArguments(words)).toThrow(message);
	});
});
