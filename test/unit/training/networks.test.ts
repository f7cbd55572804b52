import { describe, expect, it } from 'vitest';
import { UNET_BLOCKS } from '../../../src/recipe/defaults';
import { selectModules } from '../../../src/lora/modules';
import { factorEntries } from '../../../src/training/network';
import { buildForward } from '../../../src/training/sample';
import { buildStep } from '../../../src/training/step';
import { MINI_UNET, miniModules, sdxlModules } from '../lora/models';
import { SDXL_UNET } from '../../../src/diffusion/config';

const plan = (label: string, rank: number, convRank = 0) => ({
	label,
	modules: selectModules(miniModules, { rank, alpha: rank, convRank, convAlpha: convRank, blocks: UNET_BLOCKS })
});
const shape = { height: 16, width: 16, storage: 'f16' as const };

describe('the step as a graph', () => {
	it('has a gradient in f32 for every factor of the trained network and for none of the copier', () => {
		const trained = plan('difference', 4, 4);
		const step = buildStep(MINI_UNET, shape, { batch: 2, loss: 'mse' }, { frozen: [plan('copier', 16)], trained });
		const names = [...step.gradients.keys()].map((value) => value.name).sort();
		expect(names).toEqual(
			factorEntries(trained)
				.map((entry) => entry.name)
				.sort()
		);
		for (const [parameter, gradient] of step.gradients) expect([gradient.dtype, gradient.shape]).toEqual(['f32', parameter.shape]);
		expect(step.graph.scalars.map((s) => s.name)).toEqual(['lossScale']);
		expect(step.graph.outputs).toContain(step.loss);
	});

	it('stores ranks rounded up to four and scales by the true rank', () => {
		const odd = plan('odd', 6);
		expect(factorEntries(odd)[0]).toMatchObject({ shape: [6, 64], storedShape: [8, 64] });
		expect(factorEntries(odd)[1]).toMatchObject({ shape: [64, 6], storedShape: [64, 8] });
	});

	it('draws with one strength per network', () => {
		const { graph } = buildForward(MINI_UNET, shape, 2, [plan('a', 4), plan('b', 8)]);
		expect(graph.scalars.map((s) => s.name)).toEqual(['strength0', 'strength1']);
	});

	it('builds for SDXL too, with its vector', () => {
		const modules = selectModules(sdxlModules, { rank: 4, alpha: 4, convRank: 0, convAlpha: 0, blocks: UNET_BLOCKS });
		const step = buildStep(SDXL_UNET, { ...shape, height: 32, width: 32 }, { batch: 1, loss: 'mse' }, { frozen: [], trained: { label: 'copier', modules } });
		expect(step.gradients.size).toBe(2 * 722);
		expect(step.inputs.vector?.shape).toEqual([1, 2816]);
	});
});
