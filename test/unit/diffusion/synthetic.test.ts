/** The generator of full-size checkpoints against the published sizes of the models and against what our own reader expects of them. */
import { describe, expect, it } from 'vitest';
import { readConfig } from '../../../src/diffusion/checkpoint';
import { SD15_UNET, SDXL_UNET } from '../../../src/diffusion/config';
import { unetConstants } from '../../../src/diffusion/unet-layout';
import { openSafetensors } from '../../../src/formats/safetensors';
import { bytesSource } from '../../../src/formats/source';
import { checkpointPieces } from '../../../tools/synthetic/checkpoint.mjs';
import { checkpointTensors, type Tensor } from '../../../tools/synthetic/layout.mjs';

const numbers = ({ shape }: Tensor): number => shape.reduce((product, size) => product * size, 1);
const part = (tensors: Tensor[], prefix: string): [tensors: number, numbers: number] => {
	const those = tensors.filter(({ name }) => name.startsWith(prefix));
	return [those.length, those.reduce((sum, tensor) => sum + numbers(tensor), 0)];
};
const UNET = 'model.diffusion_model.';

describe('full-size layouts', () => {
	it('have as many numbers as the real models', () => {
		const [sd15, sdxl] = [checkpointTensors('sd15'), checkpointTensors('sdxl')];
		expect(part(sd15, UNET)).toEqual([686, 859_520_964]);
		expect(part(sdxl, UNET)).toEqual([1680, 2_567_463_684]);
		expect(part(sd15, 'first_stage_model.')).toEqual([248, 83_653_863]);
		expect(part(sd15, 'cond_stage_model.')).toEqual([196, 123_060_480]);
		expect(part(sdxl, 'conditioner.embedders.0.')).toEqual([196, 123_060_480]);
		expect(part(sdxl, 'conditioner.embedders.1.')).toEqual([390, 694_659_841]);
	});

	it.each([
		['sd15', SD15_UNET],
		['sdxl', SDXL_UNET]
	] as const)('are read as %s, every tensor of the UNet accounted for', (family, unet) => {
		const tensors = checkpointTensors(family);
		const config = readConfig(new Map(tensors.map(({ name, shape }) => [name, { shape }])), {});
		expect([config.family, config.unet]).toEqual([family, unet]);
		const expected = unetConstants(config.unet).map(({ name, fileShape }) => `${UNET}${name} ${fileShape.join()}`);
		const written = tensors.filter(({ name }) => name.startsWith(UNET)).map(({ name, shape }) => `${name} ${shape.join()}`);
		expect(written.sort()).toEqual(expected.sort());
	});
});

describe('values', () => {
	const tensors: Tensor[] = [
		{ name: 'w', shape: [400, 1000], spread: 1 / Math.sqrt(1000), mean: 0 },
		{ name: 'norm', shape: [7], spread: 0, mean: 1 },
		{ name: 'bias', shape: [3], spread: 0, mean: 0 },
		{ name: 'scale', shape: [], spread: 0, mean: 4.5 }
	];
	async function write(type: string, seed: number) {
		const bytes = new Uint8Array(Buffer.concat([...checkpointPieces(tensors, { type, seed })]));
		return { bytes, file: await openSafetensors(bytesSource(bytes)) };
	}

	it.each([
		['f32', 'F32'],
		['f16', 'F16'],
		['bf16', 'BF16'],
		['fp8', 'F8_E4M3']
	])('in %s spread as the fan-in asks', async (type, dtype) => {
		const { file } = await write(type, 1);
		expect(file.tensors.get('w')?.dtype).toBe(dtype);
		const w = await file.readFloat32('w');
		const mean = w.reduce((sum, x) => sum + x, 0) / w.length;
		const variance = w.reduce((sum, x) => sum + (x - mean) ** 2, 0) / w.length;
		// 400 000 values from a table of 2^18: the mean is off by at most 5 σ/√2^18, the variance by 5·√2/√2^18 of itself, and fp8 rounds each value by up to 1/16.
		expect(Math.abs(mean)).toBeLessThan((5 / 512) * (1 / Math.sqrt(1000)));
		expect(Math.abs(variance * 1000 - 1)).toBeLessThan(type === 'fp8' ? 0.02 : 0.015);
		expect(Array.from(await file.readFloat32('norm'))).toEqual(new Array(7).fill(1));
		expect(Array.from(await file.readFloat32('bias'))).toEqual([0, 0, 0]);
		expect(Array.from(await file.readFloat32('scale'))).toEqual([4.5]);
	});

	it('are the same for the same seed only', async () => {
		const [one, again, other] = [await write('f16', 1), await write('f16', 1), await write('f16', 2)];
		expect(Buffer.compare(one.bytes, again.bytes)).toBe(0);
		expect(await one.file.readFloat32('w')).not.toEqual(await other.file.readFloat32('w'));
	});
});
