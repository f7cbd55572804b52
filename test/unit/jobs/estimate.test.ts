/** The estimate follows the LoRA a run goes on from: its modules and ranks are trained, whatever the recipe says. Planned without a GPU, on a device that only counts. */
import { expect, it } from 'vitest';
import { countingGpu } from '../../../bench/full/counting';
import { openFileAsBlob } from '../../../src/formats/node';
import { estimateRun } from '../../../src/jobs/estimate';
import { openGivenLoras } from '../../../src/jobs/given-loras';
import { openModel } from '../../../src/jobs/model';
import { factorMemory } from '../../../src/kernels/optimizer-state';
import { saveLora } from '../../../src/lora/file';
import { initialFactors } from '../../../src/lora/init';
import { countFactors, selectModules } from '../../../src/lora/modules';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { factorEntries } from '../../../src/training/network';

it('counts what the given LoRA holds, and its file', async () => {
	const { gpu, live } = countingGpu();
	const model = await openModel('m', 'mini', await openFileAsBlob('public/models/mini.safetensors'));
	const chosen = selectModules(model.modules, { rank: 3, alpha: 3, convRank: 2, convAlpha: 2, blocks: ['M00', 'OUT04'] });
	const modules = chosen.map((m, i) => ({ ...m, ...initialFactors(m, i, 5) }));
	const recipe = defaultRecipe('mini', 'lora');
	const written = await saveLora(modules, { family: 'mini', precision: recipe.saving.precision, metadata: {} });
	const { given, warnings } = await openGivenLoras({ recipe, start: written.slice().buffer }, model);
	expect(warnings).toEqual([]);
	const { memory, fileBytes } = await estimateRun(gpu, model, recipe, [{ width: 64, height: 64 }], undefined, given);
	expect(live.bytes).toBe(0);
	// With the room between places that the store leaves.
	expect(memory.difference.factors).toBe(factorMemory(factorEntries({ label: 'difference', modules: chosen }), undefined).values);
	expect(memory.difference.factors).toBeGreaterThanOrEqual(4 * countFactors(chosen));
	// The recipe's text comes on top of what was written here.
	expect(fileBytes).toBeGreaterThan(written.length);
	expect(fileBytes).toBeLessThan(written.length * 1.05 + 8192);
});
