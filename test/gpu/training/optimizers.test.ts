/** Twenty steps of AdamW and Lion against torch.optim.AdamW (float64) and lion_pytorch, with given gradients, a cosine rate and a loss scale. */
import { describe, expect, it } from 'vitest';
import { fileSource } from '../../../src/formats/node';
import { openSafetensors } from '../../../src/formats/safetensors';
import { FactorStore } from '../../../src/kernels/factors';
import { createOptimizer } from '../../../src/kernels/optimizer';
import type { OptimizerSettings } from '../../../src/recipe/recipe';
import { learningRateAt } from '../../../src/training/schedule';
import { openTestGpu } from '../harness';

const SHAPES: Record<string, number[]> = { a: [4, 10], b: [7, 4], c: [5, 3] };
const CASES: [string, OptimizerSettings][] = [
	['adamw', { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 }],
	['lion', { kind: 'lion', beta1: 0.9, beta2: 0.99, weightDecay: 0 }],
	['lion-decay', { kind: 'lion', beta1: 0.95, beta2: 0.98, weightDecay: 0.1 }]
];

describe('optimizer trajectories', () => {
	it.each(CASES)('%s', async (name, settings) => {
		const gpu = await openTestGpu();
		const file = await openSafetensors(await fileSource('test/fixtures/training/optimizers.safetensors'));
		const rates = await file.readFloat32('rates');
		const entries = Object.entries(SHAPES).map(([key, shape]) => ({ name: key, shape }));
		const store = await new FactorStore(gpu, entries, { trainable: true, optimizer: settings.kind }).ready();
		const optimizer = await createOptimizer(gpu, store, settings);
		const tensors = new Map<string, { gradients: Float32Array; expected: Float32Array }>();
		for (const { name: key } of entries) {
			await store.write(key, await file.readFloat32(`start.${key}`));
			tensors.set(key, { gradients: await file.readFloat32(`gradients.${key}`), expected: await file.readFloat32(`${name}.${key}`) });
		}
		let worst = 0;
		for (let k = 0; k < 20; k++) {
			const learningRate = learningRateAt(k, 2e-3, 20, { kind: 'cosine', warmup: 0 });
			expect(learningRate).toBeCloseTo(rates[k] ?? NaN, 9);
			// Powers of two as the trainer uses them, changing on the way.
			const lossScale = 2 ** (k % 5);
			for (const [key, { gradients }] of tensors) {
				const place = store.gradient(key);
				const size = (SHAPES[key] ?? []).reduce((a, b) => a * b, 1);
				if (!place) throw new Error(`There is no gradient of ${key}.`);
				gpu.device.queue.writeBuffer(
					place.buffer,
					place.offset,
					gradients.slice(k * size, (k + 1) * size).map((g) => g * lossScale)
				);
			}
			optimizer.run({ learningRate, step: k + 1, lossScale });
			const now = await store.readAll();
			for (const [key, { expected }] of tensors) {
				const ours = now.get(key) ?? new Float32Array(0);
				ours.forEach((x, i) => (worst = Math.max(worst, Math.abs(x - (expected[k * ours.length + i] ?? NaN)))));
			}
		}
		expect(worst).toBeLessThan(1e-5);
		expect(await optimizer.skipped()).toBe(0);
		optimizer.destroy();
		store.destroy();
	});
});
