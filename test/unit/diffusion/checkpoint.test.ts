import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openCheckpoint, readConfig } from '../../../src/diffusion/checkpoint';
import { latentFactor, SD15_UNET, SDXL_UNET, type UnetConfig } from '../../../src/diffusion/config';
import { unetConstants } from '../../../src/diffusion/unet-layout';
import { FormatError, type FormatErrorCode } from '../../../src/formats/error';
import { writeSafetensors } from '../../../src/formats/safetensors-writer';
import { bytesSource } from '../../../src/formats/source';
import { miniCheckpoint } from './golden';

type Shapes = Map<string, { shape: readonly number[] }>;

/** The tensors of a full-size checkpoint, by name and shape; the tensors of VAE and text encoder that recognition looks at. */
function checkpoint(config: UnetConfig, encoders: 'sd15' | 'sdxl'): Shapes {
	const shapes: Shapes = new Map();
	const add = (name: string, ...shape: number[]): void => void shapes.set(name, { shape });
	for (const { name, fileShape } of unetConstants(config)) add(`model.diffusion_model.${name}`, ...fileShape);
	const vae = 'first_stage_model.';
	add(`${vae}encoder.conv_in.weight`, 128, 3, 3, 3);
	[128, 256, 512, 512].forEach((channels, level) => {
		for (const j of [0, 1]) add(`${vae}encoder.down.${level}.block.${j}.conv1.weight`, channels, 128, 3, 3);
	});
	add(`${vae}decoder.conv_in.weight`, 512, 4, 3, 3);
	for (const side of ['encoder', 'decoder']) add(`${vae}${side}.mid.attn_1.q.weight`, 512, 512, 1, 1);
	add(`${vae}quant_conv.weight`, 8, 8, 1, 1);
	add(`${vae}post_quant_conv.weight`, 4, 4, 1, 1);
	const clip = encoders === 'sd15' ? 'cond_stage_model.transformer.text_model.' : 'conditioner.embedders.0.transformer.text_model.';
	add(`${clip}embeddings.token_embedding.weight`, 49408, 768);
	add(`${clip}embeddings.position_embedding.weight`, 77, 768);
	for (let i = 0; i < 12; i++) {
		add(`${clip}encoder.layers.${i}.self_attn.q_proj.weight`, 768, 768);
		add(`${clip}encoder.layers.${i}.mlp.fc1.weight`, 3072, 768);
	}
	if (encoders === 'sdxl') {
		const bigG = 'conditioner.embedders.1.model.';
		add(`${bigG}token_embedding.weight`, 49408, 1280);
		add(`${bigG}positional_embedding`, 77, 1280);
		add(`${bigG}text_projection`, 1280, 1280);
		for (let i = 0; i < 32; i++) {
			add(`${bigG}transformer.resblocks.${i}.attn.in_proj_weight`, 3840, 1280);
			add(`${bigG}transformer.resblocks.${i}.mlp.c_fc.weight`, 5120, 1280);
		}
	}
	return shapes;
}

function problemOf(shapes: Shapes, metadata: Record<string, string> = {}): FormatError {
	try {
		readConfig(shapes, metadata);
	} catch (error) {
		if (error instanceof FormatError) return error;
		throw error;
	}
	throw new Error('the file was accepted');
}

const named = (...names: string[]): Shapes => new Map(names.map((name) => [name, { shape: [4, 4] }]));
const UNET = 'model.diffusion_model.';

describe('recognition', () => {
	it('reads the mini model', async () => {
		const { config } = await miniCheckpoint();
		expect(config).toMatchObject({ family: 'mini', prediction: 'epsilon', resolution: 128, title: 'Mini anime faces (SD 1.5 topology, 128 px)' });
		expect(config.unet).toEqual({ ...SD15_UNET, modelChannels: 64, channelMult: [1, 2, 2, 1], contextDim: 64 });
		expect(config.vae).toMatchObject({ channels: 64, channelMult: [1, 1, 1, 1], resBlocks: 2, latentChannels: 4, groups: 32, scale: 0.18215 });
		expect(latentFactor(config.vae)).toBe(8);
		expect(config.text).toMatchObject([{ layout: 'hf', width: 64, layers: 4, heads: 4, intermediate: 256, vocabulary: 49408, length: 77, padToken: 49407 }]);
	});

	it('reads SD 1.5, also old merges without "text_model"', () => {
		const shapes = checkpoint(SD15_UNET, 'sd15');
		const config = readConfig(shapes, {});
		expect(config).toMatchObject({ family: 'sd15', resolution: 512 });
		expect(config.unet).toEqual(SD15_UNET);
		expect(config.vae).toMatchObject({ channels: 128, channelMult: [1, 2, 4, 4], scale: 0.18215 });
		expect(config.text).toMatchObject([{ width: 768, layers: 12, heads: 12, activation: 'quick_gelu' }]);
		const old: Shapes = new Map([...shapes].map(([name, entry]) => [name.replace('.text_model.', '.'), entry]));
		expect(readConfig(old, {}).text[0]?.prefix).toBe('cond_stage_model.transformer.');
	});

	it('reads SDXL', () => {
		const config = readConfig(checkpoint(SDXL_UNET, 'sdxl'), { 'modelspec.resolution': '1024x1024' });
		expect(config).toMatchObject({ family: 'sdxl', resolution: 1024, vae: { scale: 0.13025 } });
		expect(config.unet).toEqual(SDXL_UNET);
		expect(config.text).toMatchObject([
			{ layout: 'hf', width: 768, heads: 12, padToken: 49407 },
			{ layout: 'openclip', width: 1280, layers: 32, heads: 20, intermediate: 5120, activation: 'gelu', padToken: 0 }
		]);
	});
});

describe('refusals', () => {
	const sd2 = { ...SD15_UNET, contextDim: 1024, linearProjection: true, heads: { width: 64 } };
	const inpainting = { ...SD15_UNET, inChannels: 9 };
	const refiner = { ...SDXL_UNET, modelChannels: 384, channelMult: [1, 2, 4, 4], depths: [0, 4, 4, 0], middleDepth: 4, contextDim: 1280, vectorDim: 2560 };
	it.each<[string, FormatErrorCode, Shapes]>([
		['a LoRA of kohya', 'is-lora', named('lora_unet_mid_block_attentions_0_proj_in.lora_down.weight')],
		['a LoRA of diffusers', 'is-lora', named('unet.mid_block.attentions.0.proj_in.lora_A.weight')],
		['a LoHa', 'is-lora', named('lora_unet_mid_block_resnets_0_conv1.hada_w1_a')],
		['Stable Diffusion 2', 'is-sd2', checkpoint(sd2, 'sd15')],
		['Stable Diffusion 3', 'is-sd3', named(`${UNET}joint_blocks.0.x_block.attn.qkv.weight`)],
		['Flux', 'is-flux', named('double_blocks.0.img_attn.qkv.weight')],
		['Flux in a checkpoint', 'is-flux', named(`${UNET}single_blocks.0.linear1.weight`)],
		['an inpainting model', 'is-inpainting', checkpoint(inpainting, 'sd15')],
		['the refiner', 'is-refiner', checkpoint(refiner, 'sdxl')],
		['a UNet of diffusers', 'is-diffusers', named('conv_in.weight', 'down_blocks.0.resnets.0.conv1.weight')],
		['a VAE', 'is-vae', named('encoder.conv_in.weight', 'decoder.conv_in.weight')],
		['a bare UNet', 'is-unet-only', named('input_blocks.0.0.weight')],
		['an unknown file', 'unknown-model', named('hello.weight')],
		['a UNet of another width', 'unknown-model', checkpoint({ ...SD15_UNET, contextDim: 640 }, 'sd15')]
	])('names %s', (_, code, shapes) => {
		const problem = problemOf(shapes);
		expect(problem.code).toBe(code);
		expect(problem.remedy.length).toBeGreaterThan(20);
	});

	it('knows v-prediction by its flag and by its metadata', () => {
		const shapes = checkpoint(SDXL_UNET, 'sdxl');
		expect(readConfig(shapes, {}).prediction).toBe('epsilon');
		expect(readConfig(shapes, { 'modelspec.prediction_type': 'v' }).prediction).toBe('v');
		for (const flag of ['v_pred', 'ztsnr']) expect(readConfig(new Map([...shapes, [flag, { shape: [0] }]]), {}).prediction).toBe('v');
	});

	it('names the tensor that is missing or has the wrong shape', () => {
		const without = (name: string): Shapes => {
			const shapes = checkpoint(SD15_UNET, 'sd15');
			shapes.delete(name);
			return shapes;
		};
		for (const name of [
			`${UNET}output_blocks.5.1.transformer_blocks.0.attn2.to_out.0.bias`,
			`${UNET}out.2.weight`,
			'first_stage_model.quant_conv.weight',
			'first_stage_model.encoder.conv_in.weight',
			'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight'
		]) {
			expect(problemOf(without(name))).toMatchObject({ code: 'incomplete-model', where: name });
		}
		const shapes = checkpoint(SD15_UNET, 'sd15');
		shapes.set(`${UNET}middle_block.1.proj_in.weight`, { shape: [1280, 1280] });
		expect(problemOf(shapes)).toMatchObject({ code: 'unknown-model', where: `${UNET}middle_block.1.proj_in.weight` });
	});

	it('never fails in another way, whatever tensors are there', () => {
		const [small, large] = [checkpoint(SD15_UNET, 'sd15'), checkpoint(SDXL_UNET, 'sdxl')];
		const names = [...new Set([...small.keys(), ...large.keys()])];
		const change = fc.tuple(fc.nat(names.length - 1), fc.oneof(fc.constant(null), fc.array(fc.nat(2000), { maxLength: 4 })));
		fc.assert(
			fc.property(fc.constantFrom(small, large), fc.array(change, { maxLength: 5 }), (shapes, changes) => {
				const changed: Shapes = new Map(shapes);
				for (const [n, shape] of changes) {
					const name = names[n] ?? '';
					if (shape) changed.set(name, { shape });
					else changed.delete(name);
				}
				try {
					readConfig(changed, {});
				} catch (error) {
					if (!(error instanceof FormatError)) throw error;
				}
			}),
			{ numRuns: 150, seed: 4 }
		);
	});

	it('passes on what is wrong with the file itself', async () => {
		const lora = writeSafetensors([{ name: 'lora_unet_a.lora_up.weight', dtype: 'F16', shape: [1], data: new Uint16Array(1) }]);
		await expect(openCheckpoint(bytesSource(lora))).rejects.toMatchObject({ code: 'is-lora' });
		await expect(openCheckpoint(bytesSource(lora.subarray(0, -1)))).rejects.toMatchObject({ code: 'truncated' });
	});
});
