/** A tiny model of SDXL's shape: prediction and all LoRA gradients of one training step against diffusers (float64), in both storages. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Checkpoint } from '../../../src/diffusion/checkpoint';
import { unetModules } from '../../../src/diffusion/unet-layout';
import { loadUnetWeights } from '../../../src/diffusion/weights';
import { crc32 } from '../../../src/formats/crc32';
import type { SafetensorsFile } from '../../../src/formats/safetensors';
import { FactorStore } from '../../../src/kernels/factors';
import { compile } from '../../../src/kernels/program';
import { WeightStore } from '../../../src/kernels/weights';
import { downColumns, selectModules } from '../../../src/lora/modules';
import { UniformStream } from '../../../src/lora/random';
import { UNET_BLOCKS } from '../../../src/recipe/defaults';
import { downName, factorEntries, upName } from '../../../src/training/network';
import { atTimesteps } from '../../../src/training/noising';
import { buildStep } from '../../../src/training/step';
import { sdxlVectors, tinySdxl } from '../../unit/diffusion/tiny-sdxl';
import { openTestGpu } from '../harness';
import { relativeError } from './fixture';

let checkpoint: Checkpoint;
let expected: SafetensorsFile;
beforeAll(async () => {
	[checkpoint, expected] = [await tinySdxl(), await sdxlVectors()];
});

describe('one training step of a tiny SDXL', { timeout: 600_000 }, () => {
	it.each([
		['f32', 1e-4],
		['f16', 2e-2]
	] as const)('stored as %s: within %d of diffusers', async (storage, tolerance) => {
		const gpu = await openTestGpu();
		const { unet } = checkpoint.config;
		const modules = selectModules(unetModules(unet), { rank: 2, alpha: 1, convRank: 1, convAlpha: 1, blocks: UNET_BLOCKS });
		expect(modules).toHaveLength(258);
		const weights = new WeightStore(gpu, storage);
		await loadUnetWeights(checkpoint, weights);
		const plan = { label: 'difference', modules };
		const store = await new FactorStore(gpu, factorEntries(plan), { trainable: true }).ready();
		for (const m of modules) {
			// As `tools/fixtures/ldm.py` draws them.
			const columns = downColumns(m);
			const draw = (which: number, count: number, bound: number): Float32Array =>
				Float32Array.from(new UniformStream(33, [crc32(new TextEncoder().encode(m.path)), which]).take(0, count), (u) => (2 * u - 1) * bound);
			await store.write(downName('difference', m.path), draw(1, m.rank * columns, 1 / Math.sqrt(columns)));
			await store.write(upName('difference', m.path), draw(2, m.outFeatures * m.rank, 0.05));
		}
		const step = buildStep(unet, { height: 8, width: 12, storage }, { batch: 2, loss: 'mse' }, { frozen: [], trained: plan });
		const { graph, gradients, inputs, loss } = step;
		const program = await compile(gpu, graph, { weights, factors: [store], gradients, history: [loss], label: 'sdxl' });
		program.write(inputs.latent, await expected.readFloat32('latent'));
		program.write(inputs.context, await expected.readFloat32('context'));
		if (inputs.vector) program.write(inputs.vector, await expected.readFloat32('vector'));
		const { t, coef } = atTimesteps([801, 37], 0);
		program.write(inputs.t, t);
		program.write(inputs.coef, coef);
		program.write(inputs.weight, Float32Array.of(1, 0.3));
		program.write(inputs.counter, Uint32Array.of(6, 0, 1111, 0));
		const lossScale = storage === 'f16' ? 2 ** 12 : 1;
		await program.run({ lossScale });
		expect(relativeError(await program.readHistory(loss), await expected.readFloat32('loss'))).toBeLessThan(tolerance);

		const read = await store.readGradients();
		const [ours, theirs]: [number[], number[]] = [[], []];
		let worst = { name: '', error: 0 };
		let nothing = 0;
		for (const m of modules)
			for (const [name, key] of [
				[downName('difference', m.path), `${m.path}.down`],
				[upName('difference', m.path), `${m.path}.up`]
			] as const) {
				const mine = Array.from(read.get(name) ?? [], (x) => x / lossScale);
				const wanted = await expected.readFloat32(key);
				// Where a group of the norm is one channel, the time embedding changes nothing, and its gradient is rounding noise.
				const silent = Math.hypot(...wanted) < 1e-9;
				if (silent) nothing++;
				const error = silent ? Math.hypot(...mine) : relativeError(mine, wanted);
				if (error > worst.error) worst = { name: key, error };
				ours.push(...mine);
				theirs.push(...wanted);
			}
		console.log(`sdxl ${storage}: together ${relativeError(ours, theirs).toExponential(2)}, worst ${worst.error.toExponential(2)} (${worst.name})`);
		expect(ours).toHaveLength(theirs.length);
		expect(relativeError(ours, theirs)).toBeLessThan(tolerance);
		// One factor alone may be the small difference of large sums.
		expect(worst.error, worst.name).toBeLessThan(storage === 'f32' ? tolerance : 0.15);
		expect(nothing).toBe(2 * modules.filter(({ path, outFeatures }) => path.endsWith('.emb_layers.1') && outFeatures === 32).length);
		program.destroy();
		store.destroy();
		weights.destroy();
	});
});
