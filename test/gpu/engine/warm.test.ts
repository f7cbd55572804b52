/** What is compiled ahead of a program is what the program then asks for: nothing is compiled twice, nothing for nothing. */
import { expect, test } from 'vitest';
import { pipelinesOf } from '../../../src/gpu/pipelines';
import { machineOf } from '../../../src/kernels/plan-program';
import { compilePlan } from '../../../src/kernels/program';
import { asStored } from '../../../src/kernels/stored';
import { warmPlans } from '../../../src/kernels/warm';
import { fitPass } from '../../../src/training/fit';
import { freshNetwork } from '../../../src/training/network';
import { networkPlan } from '../../../src/training/run-kit';
import { buildStep } from '../../../src/training/step';
import { stepKind } from '../../../src/training/train';
import { nullGpu } from '../harness';
import { NANO, nanoRecipe, nanoWeights } from '../nano';

test('a step whose kernels were compiled ahead compiles no other ones', async () => {
	const gpu = await nullGpu({ software: false });
	const weights = await nanoWeights(gpu, 'f16');
	const recipe = nanoRecipe(1, 'f16');
	const trained = networkPlan(NANO, recipe, 'copier');
	const settings = recipe.passes.copier;
	const step = buildStep(NANO.unet, { height: 8, width: 8, storage: 'f16' }, settings, { frozen: [], trained }, stepKind(NANO, recipe, 'copier'));
	const fit = await fitPass(
		{ steps: [step], others: [] },
		{ machine: machineOf(gpu), stored: (graph) => asStored(graph, weights), otherBytes: 0, limit: undefined }
	);
	const network = await freshNetwork(gpu, trained, settings.optimizer, 1);
	const plan = fit.steps[0];
	if (!plan) throw new Error('There is no plan.');
	const made = await warmPlans(gpu, [plan]);
	const known = pipelinesOf(gpu).size;
	const program = await compilePlan(gpu, plan, { weights, factors: [network.store] });
	expect(made).toBeGreaterThan(0);
	expect(program.summary.pipelines).toBe(made);
	expect(pipelinesOf(gpu).size).toBe(known);
	program.destroy();
	network.store.destroy();
	weights.destroy();
	gpu.close();
});
