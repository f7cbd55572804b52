/** What a model file is, from its header alone: no weight is read, so a folder of a hundred checkpoints is listed in a moment. */
import { readConfig } from '../diffusion/checkpoint';
import { fileSource } from '../formats/node';
import { openSafetensors, type SafetensorsFile } from '../formats/safetensors';
import type { Problem } from '../jobs/events';
import { readLora } from '../lora/read';
import type { ModelFamily } from '../recipe/recipe';
import { asProblem } from '../service/errors';

export interface ModelHeader {
	kind: 'checkpoint' | 'lora' | 'other';
	family: ModelFamily | 'unknown';
	/** The name its maker gave it; '' without one. */
	title: string;
	/** Largest rank of a LoRA; 0 for anything else. */
	rank: number;
	/** Why it cannot be used here; null when it can. */
	problem: Problem | null;
}

const LORA = /lora|hada|lokr|oft_/;

/** Alphas are the only numbers that are read to know a LoRA's modules; a list does without. */
function withoutNumbers(file: SafetensorsFile): SafetensorsFile {
	return { ...file, readFloat32: () => Promise.resolve(new Float32Array(1)) };
}

async function loraHeader(file: SafetensorsFile, name: string): Promise<ModelHeader> {
	const title = file.metadata['modelspec.title'] ?? file.metadata['ss_output_name'] ?? '';
	try {
		const { modules, looksLike } = await readLora(withoutNumbers(file));
		return { kind: 'lora', family: looksLike.family ?? 'unknown', title, rank: modules.reduce((max, { rank }) => Math.max(max, rank), 0), problem: null };
	} catch (error) {
		return { kind: 'lora', family: 'unknown', title, rank: 0, problem: asProblem(error, name) };
	}
}

/** Never throws: what cannot be read is a header with its problem. `name`: for messages. */
export async function readModelHeader(path: string, name: string): Promise<ModelHeader> {
	const other: ModelHeader = { kind: 'other', family: 'unknown', title: '', rank: 0, problem: null };
	try {
		const source = await fileSource(path);
		try {
			const file = await openSafetensors(source);
			for (const tensor of file.tensors.keys()) if (LORA.test(tensor)) return await loraHeader(file, name);
			try {
				const { family, title } = readConfig(file.tensors, file.metadata);
				return { ...other, kind: 'checkpoint', family, title };
			} catch (error) {
				const problem = asProblem(error, name);
				// A checkpoint of another kind still is one, and its owner wants to know why it is not offered.
				const foreign = !['file.is-vae', 'file.unknown-model'].includes(problem.code);
				return { ...other, kind: foreign ? 'checkpoint' : 'other', problem };
			}
		} finally {
			await source.close();
		}
	} catch (error) {
		return { ...other, problem: asProblem(error, name) };
	}
}
