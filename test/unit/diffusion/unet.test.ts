import { describe, expect, it } from 'vitest';
import { SD15_UNET, SDXL_UNET, headsOf, type UnetConfig } from '../../../src/diffusion/config';
import { channelsFirst, channelsLast } from '../../../src/diffusion/noise';
import { buildUnet, unetModules, unetParameters, type UnetModule } from '../../../src/diffusion/unet';
import { unetConstants } from '../../../src/diffusion/unet-layout';
import { loadUnetWeights, toChannelsLast } from '../../../src/diffusion/weights';
import { GraphBuilder } from '../../../src/graph/builder';
import { interpret } from '../../../src/graph/interpret';
import { goldenVectors, miniCheckpoint, relativeError } from './golden';

function count(modules: UnetModule[], block?: string): { linear: number; conv: number } {
	const chosen = modules.filter((module) => block === undefined || module.block === block);
	const linear = chosen.filter(({ part }) => part === 'transformer').length;
	return { linear, conv: chosen.length - linear };
}

describe('modules', () => {
	it('has as many as kohya and TrainTrain find', () => {
		expect(count(unetModules(SD15_UNET))).toEqual({ linear: 192, conv: 86 });
		expect(count(unetModules(SDXL_UNET))).toEqual({ linear: 722, conv: 66 });
		expect(unetParameters(SD15_UNET)).toBe(859_520_964);
		expect(unetParameters(SDXL_UNET)).toBe(2_567_463_684);
		expect(unetConstants(SD15_UNET)).toHaveLength(686);
		expect(unetConstants(SDXL_UNET)).toHaveLength(1680);
	});

	it('puts them in the right blocks', () => {
		const table: [UnetConfig, Record<string, [number, number]>][] = [
			[
				SD15_UNET,
				{
					IN00: [0, 0],
					IN01: [12, 3],
					IN03: [0, 1],
					IN04: [12, 4],
					IN09: [0, 1],
					IN11: [0, 3],
					M00: [12, 6],
					OUT00: [0, 4],
					OUT02: [0, 5],
					OUT05: [12, 5],
					OUT11: [12, 4]
				}
			],
			[
				SDXL_UNET,
				{ IN01: [0, 3], IN04: [22, 4], IN07: [102, 4], M00: [102, 6], OUT00: [102, 4], OUT02: [102, 5], OUT05: [22, 5], OUT08: [0, 4], OUT09: [0, 0] }
			]
		];
		for (const [config, blocks] of table) {
			for (const [block, [linear, conv]] of Object.entries(blocks)) expect([block, count(unetModules(config), block)]).toEqual([block, { linear, conv }]);
		}
	});

	it('has the paths, shapes and kinds of the checkpoints', () => {
		const find = (config: UnetConfig, path: string) => unetModules(config).find((module) => module.path === path);
		expect(find(SD15_UNET, 'input_blocks.1.1.proj_in')).toMatchObject({ kind: 'conv1', inFeatures: 320, outFeatures: 320 });
		expect(find(SD15_UNET, 'input_blocks.1.1.transformer_blocks.0.attn2.to_k')).toMatchObject({ kind: 'linear', inFeatures: 768, outFeatures: 320 });
		expect(find(SD15_UNET, 'output_blocks.2.1.conv')).toMatchObject({ kind: 'conv3', inFeatures: 1280, part: 'resample', block: 'OUT02' });
		expect(find(SDXL_UNET, 'output_blocks.2.2.conv')).toMatchObject({ kind: 'conv3', inFeatures: 1280, stride: 1 });
		expect(find(SDXL_UNET, 'input_blocks.3.0.op')).toMatchObject({ kind: 'conv3', inFeatures: 320, stride: 2, block: 'IN03' });
		expect(find(SDXL_UNET, 'middle_block.1.proj_in')).toMatchObject({ kind: 'linear', inFeatures: 1280 });
		expect(find(SDXL_UNET, 'output_blocks.3.0.skip_connection')).toMatchObject({ kind: 'conv1', inFeatures: 1920, outFeatures: 640 });
		expect(find(SDXL_UNET, 'input_blocks.7.1.transformer_blocks.9.ff.net.0.proj')).toMatchObject({ inFeatures: 1280, outFeatures: 10240 });
		expect(new Set(unetModules(SDXL_UNET).map(({ path }) => path)).size).toBe(788);
		expect([headsOf(SD15_UNET, 640), headsOf(SDXL_UNET, 640), headsOf(SDXL_UNET, 1280)]).toEqual([8, 10, 20]);
	});
});

describe('graph', () => {
	function graphOf(config: UnetConfig, batch: number, side: number) {
		const builder = new GraphBuilder({ storage: 'f32' });
		const asked = new Map<string, number>();
		const latent = builder.input('latent', [batch, side, side, 4]);
		const t = builder.input('t', [batch]);
		const context = builder.input('context', [batch, 77, config.contextDim]);
		const vector = config.vectorDim ? builder.input('vector', [batch, config.vectorDim]) : undefined;
		const adapters = (path: string) => (asked.set(path, (asked.get(path) ?? 0) + 1), []);
		const eps = buildUnet(builder, config, { latent, t, context, vector, adapters });
		return { builder, asked, eps, latent, t, context };
	}

	it.each([
		['SD 1.5', SD15_UNET],
		['SDXL', SDXL_UNET]
	])('of %s uses every tensor and asks for the adapters of every module once', (_, config) => {
		const { builder, asked, eps } = graphOf(config, 1, 16);
		const graph = builder.finish([eps]);
		expect(eps).toMatchObject({ shape: [1, 16, 16, 4], dtype: 'f32' });
		const constants = graph.values.filter(({ kind }) => kind === 'constant').map(({ name }) => name);
		expect(constants.sort()).toEqual(
			unetConstants(config)
				.map(({ name }) => name)
				.sort()
		);
		const modules = unetModules(config).map(({ path }) => path);
		expect(modules.filter((path) => asked.get(path) !== 1)).toEqual([]);
		const others = [...asked.keys()].filter((path) => !modules.includes(path)).sort();
		expect(others.every((path) => /^(time_embed|label_emb|input_blocks\.0\.0$)/.test(path))).toBe(true);
	});

	it('refuses inputs that do not belong to the configuration', () => {
		const builder = new GraphBuilder({ storage: 'f32' });
		const latent = builder.input('latent', [1, 12, 16, 4]);
		const inputs = { latent, t: builder.input('t', [1]), context: builder.input('context', [1, 77, 768]) };
		expect(() => buildUnet(builder, SD15_UNET, inputs)).toThrow('multiples of 8');
		expect(() => buildUnet(builder, SDXL_UNET, inputs)).toThrow('vector');
		expect(() => buildUnet(builder, SD15_UNET, { ...inputs, vector: builder.input('vector', [1, 8]) })).toThrow('no vector');
	});

	it('predicts the noise that PyTorch predicts', { timeout: 240_000 }, async () => {
		const [checkpoint, golden] = [await miniCheckpoint(), await goldenVectors()];
		const { builder, eps } = graphOf(checkpoint.config.unet, 1, 16);
		const feeds = new Map<string, ArrayLike<number>>();
		const progress: number[] = [];
		const sink = { storage: 'f32' as const, add: (name: string, _: readonly number[], data: ArrayLike<number>) => void feeds.set(name, data) };
		await loadUnetWeights(checkpoint, sink, (fraction) => void progress.push(fraction));
		expect(progress.at(-1)).toBe(1);
		const shape = { height: 16, width: 16, channels: 4 };
		const sample = await golden.readFloat32('unet.sample');
		feeds.set('latent', channelsLast(sample.subarray(1024), shape));
		feeds.set('t', (await golden.readFloat32('unet.timestep')).subarray(1));
		feeds.set('context', (await golden.readFloat32('unet.context')).subarray(77 * 64));
		const result = interpret(builder.finish([eps]), feeds).get(eps);
		const expected = (await golden.readFloat32('unet.eps')).subarray(1024);
		expect(relativeError(channelsFirst(Float32Array.from(result ?? []), shape), expected)).toBeLessThan(1e-5);
	});
});

describe('weights', () => {
	it('turns convolutions channels-last', () => {
		// [2, 3, 1, 2]: value = 100·o + 10·i + x
		const weight = Float32Array.from({ length: 12 }, (_, n) => 100 * Math.floor(n / 6) + 10 * (Math.floor(n / 2) % 3) + (n % 2));
		expect(Array.from(toChannelsLast(weight, [2, 3, 1, 2]))).toEqual([0, 10, 20, 1, 11, 21, 100, 110, 120, 101, 111, 121]);
	});
});
