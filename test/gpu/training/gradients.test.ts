/** All LoRA gradients of the mini UNet against PyTorch (float64), by the interpreter and on the GPU in both storages. */
import { beforeAll, describe, expect, it } from 'vitest';
import { unetConstants } from '../../../src/diffusion/unet-layout';
import { loadUnetWeights, toChannelsLast } from '../../../src/diffusion/weights';
import { interpret } from '../../../src/graph/interpret';
import { FactorStore } from '../../../src/kernels/factors';
import { compile } from '../../../src/kernels/program';
import { WeightStore } from '../../../src/kernels/weights';
import { downName, factorEntries, frozenNetwork, upName } from '../../../src/training/network';
import { buildStep } from '../../../src/training/step';
import { openTestGpu } from '../harness';
import { gradientFixture, relativeError } from './fixture';
import type { GradientFixture } from './fixture';

let fixture: GradientFixture;
beforeAll(async () => {
	fixture = await gradientFixture();
});

function step(storage: 'f32' | 'f16') {
	const { checkpoint, copier, trained } = fixture;
	const networks = { frozen: [{ label: 'copier', modules: copier }], trained: { label: 'difference', modules: trained } };
	return buildStep(checkpoint.config.unet, { height: 16, width: 16, storage }, { batch: 2, loss: 'mse' }, networks);
}

/** Over all gradients together, and the worst single factor. */
function errors(gradients: ReadonlyMap<string, Float32Array | Float64Array>) {
	const all = [...fixture.gradients];
	const join = (of: (name: string) => ArrayLike<number>) => Float64Array.from(all.flatMap(([name]) => Array.from(of(name))));
	const single = all.map(([name, expected]) => ({ name, error: relativeError(gradients.get(name) ?? [], expected) }));
	single.sort((a, b) => b.error - a.error);
	return {
		together: relativeError(
			join((name) => gradients.get(name) ?? []),
			join((name) => fixture.gradients.get(name) ?? [])
		),
		worst: single[0]!,
		within: (limit: number) => single.filter(({ error }) => error <= limit).length / single.length
	};
}

const twice = (data: Float32Array) => Float32Array.from([...data, ...data]);

describe('gradients of one training step', { timeout: 900_000 }, () => {
	it('interpreter', () => {
		const { graph, gradients, loss } = step('f32');
		const { checkpoint, copier, trained, draw } = fixture;
		expect(checkpoint.config.family).toBe('mini');
		return (async () => {
			const feeds = new Map<string, ArrayLike<number>>();
			for (const { name, fileShape, shape } of unetConstants(checkpoint.config.unet)) {
				const data = await checkpoint.file.readFloat32(`model.diffusion_model.${name}`);
				feeds.set(name, fileShape.length === 4 && shape[1] !== fileShape[1] ? toChannelsLast(data, fileShape) : data);
			}
			for (const [label, modules] of [['copier', copier] as const, ['difference', trained] as const]) {
				for (const m of modules) feeds.set(downName(label, m.path), m.down).set(upName(label, m.path), m.up);
			}
			for (const [name, data] of Object.entries({ ...draw, latent: fixture.latent, context: twice(fixture.context) })) feeds.set(name, data);
			const values = interpret(graph, feeds, { lossScale: 8 });
			expect(relativeError(values.get(loss) ?? [], fixture.loss)).toBeLessThan(1e-6);
			const ours = new Map([...gradients].map(([p, g]) => [p.name.replace('difference:', ''), (values.get(g) ?? new Float64Array()).map((x) => x / 8)]));
			expect(errors(ours).worst.error).toBeLessThan(1e-5);
		})();
	});

	it.each([
		['f32', {}, 1e-4],
		['f16', {}, 2e-2],
		['f16', { f16: false }, 2e-2]
	] as const)('stored as %s, device %j: within %d', async (storage, device, tolerance) => {
		const gpu = await openTestGpu(device);
		const { checkpoint, copier, trained, draw } = fixture;
		const weights = new WeightStore(gpu, storage);
		await loadUnetWeights(checkpoint, weights);
		const frozen = await frozenNetwork(gpu, 'copier', copier);
		const store = await new FactorStore(gpu, factorEntries({ label: 'difference', modules: trained }), { trainable: true }).ready();
		for (const m of trained) {
			await store.write(downName('difference', m.path), m.down);
			await store.write(upName('difference', m.path), m.up);
		}
		const { graph, gradients, inputs, loss } = step(storage);
		const program = await compile(gpu, graph, { weights, factors: [frozen.store, store], gradients, history: [loss], label: 'gradients' });
		program.write(inputs.latent, fixture.latent);
		program.write(inputs.context, twice(fixture.context));
		program.write(inputs.counter, draw.counter);
		program.write(inputs.coef, draw.coef);
		program.write(inputs.t, draw.t);
		program.write(inputs.weight, draw.weight);
		const lossScale = storage === 'f16' ? 2 ** 14 : 1;
		await program.run({ lossScale });
		const losses = await program.readHistory(loss);
		expect(relativeError(losses, fixture.loss)).toBeLessThan(tolerance);
		const read = await store.readGradients();
		const ours = new Map([...read].map(([name, data]) => [name.replace('difference:', ''), data.map((x) => x / lossScale)]));
		const { together, worst, within } = errors(ours);
		console.log(
			`gradients ${storage} ${JSON.stringify(device)}: together ${together.toExponential(2)}, worst ${worst.error.toExponential(2)} (${worst.name}), within ${(100 * within(tolerance)).toFixed(1)} %`
		);
		expect(together).toBeLessThan(tolerance);
		// The keys of the cross attention see 76 nearly equal tokens of an empty prompt: their gradient is a small difference of large sums, so halves lose digits there.
		expect(within(tolerance)).toBeGreaterThan(storage === 'f32' ? 0.9999 : 0.97);
		expect(worst.error, worst.name).toBeLessThan(storage === 'f32' ? tolerance : 0.15);

		// The same inputs give the same bits again.
		await program.run({ lossScale });
		const again = await store.readGradients();
		for (const [name, data] of read) expect(again.get(name)).toEqual(data);
		program.destroy();
		store.destroy();
		frozen.store.destroy();
		weights.destroy();
	});
});
