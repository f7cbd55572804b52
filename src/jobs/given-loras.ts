/** The LoRA files a run begins with: the copier's, and the one that training goes on from. Their modules and ranks are the run's, whatever its recipe says, so the estimate opens them too. */
import { loadLora } from '../lora/load';
import type { LoraError } from '../lora/error';
import type { TargetModule } from '../lora/modules';
import type { TrainedModules } from '../training/run-state';
import type { RunInput } from './inputs';
import type { OpenModel } from './model';
import { trainableModules } from './text-encoder';

export interface GivenLoras {
	readonly copier?: TrainedModules;
	readonly start?: TrainedModules;
}

/** @returns with what the files hold that the model lacks @throws LoraError, FormatError */
export async function openGivenLoras(
	{ recipe, copier, start }: Pick<RunInput, 'recipe' | 'copier' | 'start'>,
	model: OpenModel
): Promise<{ given: GivenLoras; warnings: LoraError[] }> {
	const told: LoraError[] = [];
	const open = async (bytes: ArrayBuffer, places: readonly TargetModule[] = model.modules): Promise<TrainedModules> => {
		const { modules, warnings } = await loadLora(new Uint8Array(bytes), places, { training: true });
		told.push(...warnings);
		return [...modules];
	};
	const given = { ...(copier ? { copier: await open(copier) } : {}), ...(start ? { start: await open(start, trainableModules(model, recipe)) } : {}) };
	return { given, warnings: told };
}
