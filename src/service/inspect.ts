/** What a file is, without running anything: a checkpoint, a LoRA or something else, and what is wrong with it. */
import { readConfig } from '../diffusion/checkpoint';
import { FormatError } from '../formats/error';
import { openSafetensors, type SafetensorsFile } from '../formats/safetensors';
import type { ByteSource } from '../formats/source';
import { warningProblem } from '../jobs/problem';
import { reportLora } from '../lora/report';
import { asProblem } from './errors';
import type { FileReport } from './protocol';

function basics(name: string, file: SafetensorsFile): FileReport {
	const dtypes: Record<string, number> = {};
	for (const { dtype } of file.tensors.values()) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1;
	return {
		kind: 'other',
		name,
		bytes: file.source.size,
		tensors: file.tensors.size,
		dtypes,
		family: 'unknown',
		metadata: { ...file.metadata },
		lora: null,
		problems: []
	};
}

function looksLikeLora(file: SafetensorsFile): boolean {
	for (const name of file.tensors.keys()) if (/lora|hada|lokr|oft_/.test(name)) return true;
	return false;
}

/** Errors: `FormatError` when the file is no readable safetensors file at all; everything else is a finding in the report. */
export async function inspectFile(name: string, source: ByteSource): Promise<FileReport> {
	const file = await openSafetensors(source);
	const report = basics(name, file);
	if (looksLikeLora(file)) {
		report.kind = 'lora';
		try {
			const { modules, ranks, alphas, blocks, looksLike, unknownTensors } = await reportLora(file);
			report.lora = { modules, ranks, alphas, blocks };
			report.family = looksLike.family ?? 'unknown';
			if (looksLike.family === null)
				report.problems.push(
					warningProblem('lora.foreign', name, `This LoRA was made for ${looksLike.title}, which Utsushi does not train.`, { looksLike: looksLike.title })
				);
			if (unknownTensors > 0)
				report.problems.push(
					warningProblem('lora.unknownTensors', name, `${unknownTensors} tensors have names of no known style and are not used.`, { tensors: unknownTensors })
				);
		} catch (error) {
			report.problems.push(asProblem(error, name));
		}
		return report;
	}
	try {
		report.family = readConfig(file.tensors, file.metadata).family;
		report.kind = 'checkpoint';
	} catch (error) {
		if (!(error instanceof FormatError)) throw error;
		// A checkpoint of another kind still is one; a file without a network of ours is something else.
		if (error.code !== 'is-vae' && error.code !== 'unknown-model') report.kind = 'checkpoint';
		report.problems.push(asProblem(error, name));
	}
	return report;
}
