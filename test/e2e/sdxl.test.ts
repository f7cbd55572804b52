/** SDXL on the command line, from checkpoint, VAE file and pair to a LoRA under kohya's names and a picture with it; the model is a tiny one of SDXL's shape. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodePng, encodePng, type Picture } from '../../src/formats/png';
import { openSafetensors } from '../../src/formats/safetensors';
import { writeSafetensors, type TensorData } from '../../src/formats/safetensors-writer';
import { bytesSource } from '../../src/formats/source';
import { run } from '../support/cli';
import { tinySdxl, tinySdxlBytes } from '../unit/diffusion/tiny-sdxl';

let folder: string;
const file = (name: string): string => join(folder, name);

/** 64 × 64, a disc whose size is what the LoRA should learn. */
function disc(radius: number): Picture {
	const data = new Uint8ClampedArray(4 * 64 * 64).fill(255);
	for (let p = 0; p < 64 * 64; p++) if (Math.hypot((p % 64) - 32, Math.floor(p / 64) - 32) < radius) data.set([200, 40, 40], 4 * p);
	return { width: 64, height: 64, data };
}

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-sdxl-'));
	await writeFile(file('model.safetensors'), tinySdxlBytes());
	await writeFile(file('closed.png'), encodePng(disc(8)));
	await writeFile(file('open.png'), encodePng(disc(20)));
	const { file: checkpoint } = await tinySdxl();
	const vae: TensorData[] = [];
	for (const [name, { shape }] of checkpoint.tensors) {
		if (name.startsWith('first_stage_model.'))
			vae.push({ name: name.replace('first_stage_model.', ''), dtype: 'F32', shape, data: await checkpoint.readFloat32(name) });
	}
	await writeFile(file('vae.safetensors'), writeSafetensors(vae));
	const recipe = {
		version: 1,
		name: 'disc',
		mode: 'addift',
		model: { name: 'tiny', family: 'sdxl', path: 'model.safetensors' },
		images: { original: { name: 'closed', path: 'closed.png' }, target: { name: 'open', path: 'open.png' } },
		passes: { difference: { rank: 4, alpha: 4, convRank: 2, convAlpha: 2, batch: 1, iterations: 2 } },
		preview: { prompt: '1girl', seeds: [5], strengths: [1], steps: 1, cfg: 1, every: 0 },
		probe: { every: 0 }
	};
	await writeFile(file('recipe.json'), JSON.stringify(recipe));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('SDXL', () => {
	test('trains, and writes a LoRA under the names every program reads', async () => {
		const { code, err } = await run(['train', file('recipe.json'), '--vae', file('vae.safetensors'), '--out', file('out')]);
		expect(code, err).toBe(0);
		const lora = await openSafetensors(bytesSource(new Uint8Array(await readFile(file('out/disc.safetensors')))));
		expect(lora.metadata).toMatchObject({ ss_base_model_version: 'sdxl_base_v1-0', ss_output_name: 'disc' });
		const names = [...lora.tensors.keys()];
		expect(names.filter((name) => name.endsWith('.alpha'))).toHaveLength(258);
		for (const name of [
			'lora_unet_input_blocks_7_1_transformer_blocks_1_attn2_to_k.lora_down.weight',
			'lora_unet_middle_block_1_proj_in.lora_up.weight',
			'lora_unet_output_blocks_2_2_conv.lora_down.weight',
			'lora_unet_input_blocks_4_0_skip_connection.lora_up.weight'
		])
			expect(names).toContain(name);
		expect(names.every((name) => /^lora_unet_(input_blocks|middle_block|output_blocks)_/.test(name))).toBe(true);
		const up = await lora.readFloat32('lora_unet_middle_block_1_proj_in.lora_up.weight');
		expect(up.some((value) => value !== 0) && up.every(Number.isFinite)).toBe(true);
		const strip = decodePng(new Uint8Array(await readFile(file('out/disc-strip-seed5-strength+1.00.png'))));
		expect(strip).toMatchObject({ width: 64, height: 64 });
	});

	test('draws with it', async () => {
		const out = file('picture.png');
		const words = [
			'--prompt',
			'(1girl:1.2)',
			'--size',
			'64x64',
			'--steps',
			'2',
			'--sampler',
			'euler_a',
			'--cfg',
			'1',
			'--lora',
			`${file('out/disc.safetensors')}:2`
		];
		const { code, err } = await run(['sample', '--model', file('model.safetensors'), '--vae', file('vae.safetensors'), '--out', out, ...words]);
		expect(code, err).toBe(0);
		const { data } = decodePng(new Uint8Array(await readFile(out)));
		expect(new Set(data).size).toBeGreaterThan(20);
	});

	test('says which file is no VAE before anything is spent', async () => {
		const { code, err } = await run(['sample', '--model', file('model.safetensors'), '--vae', file('out/disc.safetensors'), '--out', file('no.png')]);
		expect(code).toBe(2);
		expect(err).toContain('holds no VAE');
	});
});
