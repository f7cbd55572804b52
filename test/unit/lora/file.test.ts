import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { predictionOfFiles } from '../../../src/formats/lora-prediction';
import { openSafetensors } from '../../../src/formats/safetensors';
import { writeSafetensors } from '../../../src/formats/safetensors-writer';
import { bytesSource } from '../../../src/formats/source';
import { saveLora } from '../../../src/lora/file';
import { initialFactors } from '../../../src/lora/init';
import { columnsToKernel, kernelToColumns } from '../../../src/lora/layout';
import { loadLora } from '../../../src/lora/load';
import { loraMetadata } from '../../../src/lora/metadata';
import { selectModules } from '../../../src/lora/modules';
import { changeNormSquared, reportLora } from '../../../src/lora/report';
import { defaultRecipe, UNET_BLOCKS } from '../../../src/recipe/defaults';
import type { ModelFamily } from '../../../src/recipe/recipe';
import { miniModules, sd15Modules, sdxlModules } from './models';

const reference = (name: string) => new Uint8Array(readFileSync(`test/fixtures/mini/reference/${name}.safetensors`));
const open = (bytes: Uint8Array) => openSafetensors(bytesSource(bytes));
const settings = { rank: 4, alpha: 2, convRank: 2, convAlpha: 1, blocks: UNET_BLOCKS };

/** A small network with values everywhere. */
function network(modules = miniModules, count = 300) {
	return selectModules(modules, settings)
		.slice(0, count)
		.map((m, i) => {
			const { down, up } = initialFactors(m, i, 5);
			return { ...m, down, up: up.map((_, k) => Math.sin(k + i)) };
		});
}

const facts = (family: ModelFamily) => ({
	outputName: 'mouth',
	recipe: defaultRecipe(family),
	pass: 'difference' as const,
	steps: 150,
	seed: 12,
	startedAt: new Date(1_700_000_000_000),
	savedAt: new Date(1_700_000_100_000),
	width: 128,
	height: 128,
	prediction: 'epsilon' as const,
	version: '0.1.0'
});

const row = (name: string, shape: number[], data: Float32Array = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.5)) => ({
	name,
	dtype: 'F32' as const,
	shape,
	data
});

describe('reference files', () => {
	it.each([
		['difference-adamw', 192],
		['difference-lion', 192],
		['difference-lion_copy', 192],
		['difference-conv', 278],
		['addift-conv', 278]
	])('%s loads', async (name, count) => {
		const { modules, warnings } = await loadLora(reference(name), miniModules);
		expect(modules).toHaveLength(count);
		expect(warnings).toEqual([]);
		const rank = name.endsWith('_copy') ? 16 : 4;
		for (const m of modules) expect([m.rank, m.alpha]).toEqual([rank, rank]);
		expect(modules.some((m) => m.up.some((x) => x !== 0))).toBe(true);
	});

	it('are refused by a full-size model, with counts and what they look like', async () => {
		await expect(loadLora(reference('difference-adamw'), sd15Modules)).rejects.toMatchObject({
			code: 'lora.otherModel',
			values: { looksLike: 'the mini model', matched: 0, unmatched: 192, total: 192 }
		});
	});

	it('are reported', async () => {
		const report = await reportLora(await open(reference('difference-conv')));
		expect(report).toMatchObject({
			modules: 278,
			textEncoderModules: 0,
			ranks: { 4: 278 },
			alphas: { 4: 278 },
			looksLike: { family: 'mini' },
			unknownTensors: 0
		});
		expect(report.blocks).toMatchObject({ IN01: 15, IN03: 1, M00: 18, OUT11: 16 });
		expect(report.norm).toBeGreaterThan(0.1);
	});
});

describe('saving', () => {
	it.each([
		['mini', miniModules, 278],
		['sd15', sd15Modules, 8],
		['sdxl', sdxlModules, 8]
	] as const)('%s: what is saved comes back, f32 exactly and f16 rounded', async (family, modules, count) => {
		const saved = network(modules, count);
		for (const precision of ['f32', 'f16'] as const) {
			const back = await loadLora(await saveLora(saved, { family, precision, metadata: {} }), modules);
			expect(back.modules.map((m) => [m.path, m.rank, m.alpha])).toEqual(saved.map((m) => [m.path, m.rank, m.alpha]));
			for (const [i, m] of back.modules.entries()) {
				const tolerance = precision === 'f32' ? 0 : 2 ** -11;
				const original = saved[i]!;
				for (const role of ['down', 'up'] as const) {
					const worst = m[role].reduce((max, x, k) => Math.max(max, Math.abs(x - original[role][k]!)), 0);
					expect(worst).toBeLessThanOrEqual(tolerance);
				}
			}
		}
	});

	it('writes the very names, shapes and types of the reference file', async () => {
		const expected = await open(reference('difference-conv'));
		const { modules } = await loadLora(reference('difference-conv'), miniModules);
		const ours = await open(await saveLora(modules, { family: 'mini', precision: 'f16', metadata: { ss_v2: 'False' } }));
		const table = (file: typeof ours) => Object.fromEntries([...file.tensors].map(([name, t]) => [name, [t.dtype, t.shape]]));
		expect(table(ours)).toEqual(table(expected));
		for (const name of ['lora_unet_down_blocks_1_resnets_0_conv1.lora_down.weight', 'lora_unet_up_blocks_1_upsamplers_0_conv.lora_up.weight'])
			expect(await ours.readHalf(name)).toEqual(await expected.readHalf(name));
	});

	it('carries hashes of what was written, and nothing but strings', async () => {
		const bytes = await saveLora(network(miniModules, 20), { family: 'mini', precision: 'f16', metadata: loraMetadata(facts('mini')) });
		const file = await open(bytes);
		const start = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
		const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes.slice(start)));
		expect(file.metadata['sshs_model_hash']).toBe(Array.from(digest, (b) => b.toString(16).padStart(2, '0')).join(''));
		// Below one MiB the old hash is that of nothing.
		expect(file.metadata['sshs_legacy_hash']).toBe('e3b0c442');
		expect(file.metadata).toMatchObject({
			ss_output_name: 'mouth',
			ss_base_model_version: 'sd_v1',
			ss_network_module: 'networks.lora',
			ss_network_dim: '4',
			ss_network_alpha: '4',
			ss_seed: '12',
			ss_steps: '150',
			'modelspec.sai_model_spec': '1.0.1',
			'modelspec.architecture': 'stable-diffusion-v1/lora',
			'modelspec.resolution': '128x128',
			'modelspec.title': 'mouth'
		});
		expect(JSON.parse(file.metadata['utsushi.recipe']!)).toEqual(defaultRecipe('mini'));
	});

	it('tells SDXL apart and never writes paths', () => {
		const recipe = defaultRecipe('sdxl');
		recipe.model.path = '/home/me/xl.safetensors';
		recipe.model.vae = { name: 'vae', path: '/home/me/vae.safetensors' };
		recipe.images.target.path = '/home/me/a.png';
		const metadata = loraMetadata({ ...facts('sdxl'), recipe });
		expect(metadata['ss_base_model_version']).toBe('sdxl_base_v1-0');
		expect(metadata['modelspec.architecture']).toBe('stable-diffusion-xl-v1-base/lora');
		expect(JSON.stringify(metadata)).not.toContain('/home');
	});

	it('says that its model predicts velocity, so that pictures with it are drawn that way', async () => {
		const lora = async (prediction: 'epsilon' | 'v'): Promise<Blob> => {
			const metadata = loraMetadata({ ...facts('mini'), prediction });
			return new Blob([(await saveLora(network(miniModules, 1), { family: 'mini', precision: 'f16', metadata })).slice()]);
		};
		const [plain, velocity] = [await lora('epsilon'), await lora('v')];
		expect(await predictionOfFiles([plain, new Blob(['no LoRA'])])).toBeUndefined();
		expect(await predictionOfFiles([plain, velocity])).toBe('v');
	});

	it('refuses to save a collapsed network', async () => {
		const [m] = network(miniModules, 1);
		m!.up[3] = NaN;
		await expect(saveLora([m!], { family: 'mini', precision: 'f16', metadata: {} })).rejects.toMatchObject({ code: 'lora.notFinite' });
		m!.up[3] = 1e6;
		await expect(saveLora([m!], { family: 'mini', precision: 'f16', metadata: {} })).rejects.toMatchObject({ code: 'lora.notFinite' });
	});

	it('turns kernels and back', () => {
		const data = Float32Array.from({ length: 2 * 3 * 9 }, (_, i) => i);
		expect(columnsToKernel(kernelToColumns(data, 2, 3), 2, 3)).toEqual(data);
		// Row 1, channel 2, kernel place 4.
		expect(kernelToColumns(data, 2, 3)[(1 * 9 + 4) * 3 + 2]).toBe((1 * 3 + 2) * 9 + 4);
	});
});

describe('other styles and other files', () => {
	const q = 'down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q';
	const dotted = 'unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1';

	it.each([
		['kohya without alpha', [`lora_unet_${q}.lora_down.weight`, `lora_unet_${q}.lora_up.weight`]],
		['PEFT', [`${dotted}.to_q.lora_A.weight`, `${dotted}.to_q.lora_B.weight`]],
		['old diffusers', [`${dotted}.processor.to_q_lora.down.weight`, `${dotted}.processor.to_q_lora.up.weight`]],
		[
			'checkpoint names',
			[
				'lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_down.weight',
				'lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_up.weight'
			]
		],
		[
			'ComfyUI',
			[
				'diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.lora_A.weight',
				'diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.lora_B.weight'
			]
		]
	])('%s: alpha is the rank', async (_, [down, up]) => {
		const { modules } = await loadLora(writeSafetensors([row(down!, [2, 64]), row(up!, [64, 2])]), miniModules);
		expect(modules).toMatchObject([{ path: 'input_blocks.1.1.transformer_blocks.0.attn1.to_q', rank: 2, alpha: 2 }]);
	});

	it('accepts proj_in as Linear where the model has a 1×1 convolution', async () => {
		const name = 'lora_unet_down_blocks_0_attentions_0_proj_in';
		const { modules } = await loadLora(writeSafetensors([row(`${name}.lora_down.weight`, [2, 64]), row(`${name}.lora_up.weight`, [64, 2])]), miniModules);
		expect(modules[0]?.down).toHaveLength(128);
	});

	it('warns about a text encoder that would matter, not about an empty one', async () => {
		const te = 'lora_te_text_model_encoder_layers_0_mlp_fc1';
		const unet = [row(`lora_unet_${q}.lora_down.weight`, [2, 64]), row(`lora_unet_${q}.lora_up.weight`, [64, 2])];
		const trained = [row(`${te}.lora_down.weight`, [2, 64]), row(`${te}.lora_up.weight`, [256, 2])];
		expect((await loadLora(writeSafetensors([...unet, ...trained]), miniModules)).warnings).toMatchObject([{ code: 'lora.textEncoderIgnored' }]);
		const empty = [trained[0]!, row(`${te}.lora_up.weight`, [256, 2], new Float32Array(512))];
		expect((await loadLora(writeSafetensors([...unet, ...empty]), miniModules)).warnings).toEqual([]);
	});

	const half = [row(`lora_unet_${q}.lora_down.weight`, [2, 64])];
	it.each([
		['DoRA', [...half, row(`lora_unet_${q}.dora_scale`, [64])], 'lora.dora'],
		['half a LoHa', [row(`lora_unet_${q}.hada_w1_a`, [2, 2])], 'lora.incomplete'],
		['LoKr', [row(`lora_unet_${q}.lokr_w1`, [2, 2])], 'lora.otherKind'],
		['a missing up factor', half, 'lora.incomplete'],
		['ranks that differ', [...half, row(`lora_unet_${q}.lora_up.weight`, [64, 3])], 'lora.shape'],
		['no LoRA at all', [row('model.weight', [2])], 'lora.notLora'],
		[
			'Flux',
			[row('lora_unet_double_blocks_0_img_mlp_0.lora_down.weight', [2, 64]), row('lora_unet_double_blocks_0_img_mlp_0.lora_up.weight', [64, 2])],
			'lora.otherModel'
		],
		['infinities', [...half, row(`lora_unet_${q}.lora_up.weight`, [64, 2], new Float32Array(128).fill(Infinity))], 'lora.notFinite']
	])('%s is refused by name', async (_, tensors, code) => {
		await expect(loadLora(writeSafetensors(tensors), miniModules)).rejects.toMatchObject({ name: 'LoraError', code });
	});

	it('names SD2 and a partial stranger', async () => {
		const k = q.replace('attn1_to_q', 'attn2_to_k');
		const sd2 = writeSafetensors([row(`lora_unet_${k}.lora_down.weight`, [2, 1024]), row(`lora_unet_${k}.lora_up.weight`, [64, 2])]);
		await expect(loadLora(sd2, miniModules)).rejects.toMatchObject({ code: 'lora.otherModel', values: { looksLike: 'Stable Diffusion 2' } });
		const some = await saveLora(network(miniModules, 3), { family: 'mini', precision: 'f32', metadata: {} });
		const file = await open(some);
		const rows = await Promise.all([...file.tensors].map(async ([name, t]) => row(name, [...t.shape], await file.readFloat32(name))));
		const mixed = writeSafetensors([
			...rows,
			row('lora_unet_up_blocks_9_resnets_0_conv1.lora_down.weight', [2, 4, 3, 3]),
			row('lora_unet_up_blocks_9_resnets_0_conv1.lora_up.weight', [4, 2, 1, 1])
		]);
		await expect(loadLora(mixed, miniModules)).rejects.toMatchObject({ code: 'lora.partlyOther', values: { matched: 3, unmatched: 1 } });
	});

	it('computes the norm of a change without making it', () => {
		const down = Float32Array.from([1, 2, 3, 4, 5, 6]);
		const up = Float32Array.from([1, -1, 0.5, 2]);
		let direct = 0;
		for (let n = 0; n < 2; n++) for (let k = 0; k < 3; k++) direct += (up[n * 2]! * down[k]! + up[n * 2 + 1]! * down[3 + k]!) ** 2;
		expect(changeNormSquared(down, up, 2)).toBeCloseTo(direct, 4);
	});
});
