/** LoHa on the GPU: its kernels against the interpreter, and a few steps of training whose file changes pictures as the network in training did. */
import { describe, expect, it } from 'vitest';
import { unetModules } from '../../../src/diffusion/unet-layout';
import { differentiate } from '../../../src/graph/differentiate';
import { interpret } from '../../../src/graph/interpret';
import type { Value } from '../../../src/graph/ir';
import { loadLora } from '../../../src/lora/load';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { trainDifference } from '../../../src/training/difference';
import { TrainingControl } from '../../../src/training/events';
import type { TrainingEvent } from '../../../src/training/events';
import { Case, machines } from '../compare';
import { openTestGpu, relativeError, runGraph, randomFloats } from '../harness';
import { NANO, nanoLatents, nanoWeights } from '../nano';

describe.each(machines)('$name', ({ options }) => {
	it.each(['f32', 'f16'] as const)('LoHa on a linear layer and a convolution, %s', async (storage) => {
		const made = new Case(storage);
		const { builder, feeds } = made;
		const parameters: Value[] = [];
		const parameter = (name: string, shape: number[]): Value => {
			const value = builder.parameter(name, shape);
			feeds.set(
				value,
				randomFloats(
					shape.reduce((a, b) => a * b, 1),
					parameters.length + 50,
					0.5
				)
			);
			parameters.push(value);
			return value;
		};
		const pair = (name: string, n: number, k: number) => ({ down: parameter(`${name}.down`, [4, k]), up: parameter(`${name}.up`, [n, 4]) });
		const scale = { factor: 0.5, scalar: builder.scalar('multiplier') };
		const x = made.value([2, 4, 4, 20]);
		const adapter = (name: string, n: number, k: number) => ({ ...pair(`${name}1`, n, k), scale, second: pair(`${name}2`, n, k) });
		const hidden = builder.conv(x, made.constant([24, 180], 0.1), { adapters: [adapter('conv', 24, 180)] });
		const y = builder.linear(hidden, made.constant([4, 24], 0.2), { adapters: [adapter('linear', 4, 24)], dtype: 'f32' });
		const loss = builder.loss('mse', y, made.single([2, 4, 4, 4]), made.given([2], [1, 0.5]));
		const { graph, gradients } = differentiate(builder.finish([loss]), { loss, lossScale: { factor: 8 }, wrt: parameters });
		const expected = interpret(graph, feeds, { multiplier: 0.7 });
		const actual = await runGraph(await openTestGpu(options), graph, feeds, { multiplier: 0.7 });
		for (const value of [loss, ...gradients.values()]) {
			expect(relativeError(actual.get(value)!, expected.get(value)!), value.name).toBeLessThan(storage === 'f16' ? 4e-3 : 2e-5);
		}
	});
});

it('trains; the file, read as a plain LoRA, holds what was trained', { timeout: 300_000 }, async () => {
	const gpu = await openTestGpu();
	const weights = await nanoWeights(gpu, 'f16');
	const recipe = defaultRecipe('mini');
	for (const pass of [recipe.passes.copier, recipe.passes.difference]) {
		Object.assign(pass, {
			network: 'loha',
			rank: 3,
			alpha: 3,
			convRank: 2,
			convAlpha: 2,
			iterations: 5,
			batch: 1,
			blocks: ['OUT02', 'OUT03'],
			learningRate: 5e-4
		});
		Object.assign(pass, { schedule: { kind: 'constant', warmup: 0 }, timesteps: { min: 300, max: 320 } });
	}
	recipe.saving.precision = 'f32';
	recipe.probe.every = 5;
	recipe.guard.action = 'off';
	const events: TrainingEvent[] = [];
	const result = await trainDifference({
		gpu,
		weights,
		config: NANO,
		recipe,
		latents: nanoLatents(8),
		conditioning: { context: randomFloats(77 * NANO.unet.contextDim, 78) },
		control: new TrainingControl(),
		emit: (event) => void events.push(event),
		version: 'test'
	});
	weights.destroy();
	for (const pass of ['copier', 'difference'] as const) {
		const probes = events.filter((e) => e.type === 'probe').filter((e) => e.pass === pass);
		expect(probes[0]?.now, 'no effect before the first step').toBe(probes[0]?.base);
		expect(probes.at(-1)?.now).toBeLessThan(probes[0]!.base);
	}
	const file = events.findLast((e) => e.type === 'file');
	const bytes = new Uint8Array(file!.bytes);
	const modules = unetModules(NANO.unet);
	const trained = await loadLora(bytes, modules, { training: true });
	expect(trained.metadata).toMatchObject({ ss_network_module: 'lycoris.kohya', ss_network_dim: '3' });
	expect(trained.modules).toEqual(result.network);
	expect(trained.modules.every((m) => m.second!.up.some((x) => x !== 0))).toBe(true);
	const plain = await loadLora(bytes, modules);
	expect(plain.modules.map((m) => [m.path, m.rank])).toEqual(trained.modules.map((m) => [m.path, m.rank ** 2]));
});
