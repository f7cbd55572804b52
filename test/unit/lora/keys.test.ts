import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { UNET_BLOCKS } from '../../../src/recipe/defaults';
import { blockOfName, diffusersPath, kohyaName, readableNames, splitKey } from '../../../src/lora/keys';
import { countFactors, countModules, selectModules } from '../../../src/lora/modules';
import { MINI_UNET, miniModules, sd15Modules, sdxlModules } from './models';

type Row = [name: string, path: string, down: number[], up: number[]];
const rows = (file: string) => JSON.parse(readFileSync(`test/fixtures/lora/${file}.json`, 'utf8')) as Row[];
const all = { rank: 4, alpha: 4, convRank: 4, convAlpha: 4, blocks: UNET_BLOCKS };

describe('names of LoRA modules', () => {
	it.each([
		['mini', miniModules, rows('keys-mini')],
		['sdxl', sdxlModules, rows('keys-sdxl')]
	] as const)('%s: names and shapes are those diffusers works out by itself', (family, modules, expected) => {
		const ours = selectModules(modules, all).map((m) => {
			const kernel = m.kind === 'conv3' ? [3, 3] : m.kind === 'conv1' ? [1, 1] : [];
			return [kohyaName(m.path, family), m.path, [m.rank, m.inFeatures, ...kernel], [m.outFeatures, m.rank, ...kernel.map(() => 1)]];
		});
		const byName = (list: readonly unknown[][]) => Object.fromEntries(list.map(([name, ...rest]) => [name, rest]));
		expect(byName(ours)).toEqual(byName(expected));
	});

	it.each([
		['down_blocks_0_resnets_1_time_emb_proj', 'input_blocks.2.0.emb_layers.1'],
		['mid_block_resnets_1_conv2', 'middle_block.2.out_layers.3'],
		['up_blocks_1_attentions_2_transformer_blocks_0_attn1_to_out_0', 'output_blocks.5.1.transformer_blocks.0.attn1.to_out.0'],
		['up_blocks_1_upsamplers_0_conv', 'output_blocks.5.2.conv'],
		['up_blocks_0_upsamplers_0_conv', 'output_blocks.2.1.conv']
	])('%s is %s', (name, path) => {
		expect(diffusersPath(path).replaceAll('.', '_')).toBe(name);
		expect(readableNames(path)).toContain(name);
	});

	it('refuses paths outside of the blocks', () => {
		expect(() => diffusersPath('time_embed.0')).toThrow(RangeError);
		expect(() => diffusersPath('input_blocks.0.0')).toThrow(RangeError);
	});

	const q = 'down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q';
	it.each([
		[`lora_unet_${q}.lora_down.weight`, 'unet', q, 'down'],
		[`lora_unet_${q}.alpha`, 'unet', q, 'alpha'],
		['unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight', 'unet', q, 'down'],
		['unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.default.weight', 'unet', q, 'up'],
		['unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight', 'unet', q, 'up'],
		['unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.down.weight', 'unet', q.replace('to_q', 'to_out_0'), 'down'],
		['diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q.lora_A.weight', 'unet', 'input_blocks_4_1_transformer_blocks_0_attn1_to_q', 'down'],
		['lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight', 'te', 'te1_text_model_encoder_layers_0_mlp_fc1', 'up'],
		['text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_B.weight', 'te', 'te1_text_model_encoder_layers_0_mlp_fc1', 'up']
	])('reads %s', (name, part, module, role) => {
		expect(splitKey(name)).toEqual({ part, module, role });
	});

	it('leaves other tensors alone', () => {
		expect(splitKey('model.diffusion_model.input_blocks.0.0.weight')).toBeNull();
		expect(splitKey('lora_unet_x.hada_w1_a')).toBeNull();
	});

	it('finds the block of every module by either name', () => {
		for (const m of [...miniModules, ...sdxlModules]) for (const name of readableNames(m.path)) expect([name, blockOfName(name)]).toEqual([name, m.block]);
	});
});

describe('which modules a network has', () => {
	it('counts as kohya counts', () => {
		expect(countModules(sd15Modules)).toEqual({ linear: 192, conv: 278 });
		expect(countModules(miniModules)).toEqual({ linear: 192, conv: 278 });
		expect(countModules(sdxlModules)).toEqual({ linear: 722, conv: 788 });
		const linear = { ...all, convRank: 0, convAlpha: 0 };
		expect(countFactors(selectModules(sd15Modules, linear))).toBe(1_695_744);
		expect(countFactors(selectModules(sdxlModules, linear))).toBe(10_639_360);
		expect(countFactors(selectModules(sd15Modules, { ...all, rank: 1, convRank: 1 }))).toBe(1_050_816);
		expect(countFactors(selectModules(sdxlModules, { ...all, rank: 1, convRank: 1 }))).toBe(3_074_240);
	});

	it('gives 3×3 kernels the conv rank and all others the linear one', () => {
		const byPath = new Map(selectModules(sd15Modules, { ...all, rank: 16, alpha: 8, convRank: 4, convAlpha: 2 }).map((m) => [m.path, m]));
		expect(byPath.get('input_blocks.4.0.in_layers.2')).toMatchObject({ rank: 4, alpha: 2 });
		expect(byPath.get('input_blocks.3.0.op')).toMatchObject({ rank: 4, alpha: 2 });
		expect(byPath.get('input_blocks.4.0.skip_connection')).toMatchObject({ rank: 16, alpha: 8 });
		expect(byPath.get('input_blocks.4.0.emb_layers.1')).toMatchObject({ rank: 16, alpha: 8 });
		expect(byPath.get('input_blocks.4.1.proj_in')).toMatchObject({ rank: 16, alpha: 8 });
	});

	it('obeys the block filter', () => {
		const some = selectModules(miniModules, { ...all, blocks: ['OUT03', 'M00'] });
		expect(new Set(some.map((m) => m.block))).toEqual(new Set(['OUT03', 'M00']));
		expect(some).toHaveLength(12 + 6 + 12 + 4);
		expect(MINI_UNET.contextDim).toBe(64);
	});
});
