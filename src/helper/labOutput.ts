/** What `merge`, `resize` and `extract` share: opening LoRAs from disk, placing the result, and saying what was done. */
import { basename, dirname, join, parse } from 'node:path';
import { fileSource, type FileByteSource } from '../formats/node';
import type { Problem } from '../jobs/events';
import { warningProblem } from '../jobs/problem';
import type { LoraError } from '../lora/error';
import { openMergeFile, type MergeFile } from '../lora/merge-files';
import type { MergeReport } from '../lora/merge-types';
import { asProblem } from '../service/errors';
import { openFolder } from '../storage/node';
import { pathByName } from './byName';
import type { Context } from './exit';
import { InputError } from './inputError';
import { problemLine } from './output';
import { fileSize, pathProblem } from './recipeFile';

export const stem = (path: string): string => parse(path).name;

export async function openFile(path: string, where: string): Promise<FileByteSource> {
	await fileSize(path, where);
	return fileSource(path).catch((error: unknown) => {
		throw new InputError([pathProblem(error, where, path)]);
	});
}

/** A LoRA on disk (a path, or a name of “utsushi models”), open until `close`. Errors name the file. */
export async function openLora(given: string): Promise<{ file: MergeFile; close: () => Promise<void> }> {
	const path = await pathByName(given, 'lora', 'LoRA');
	const source = await openFile(path, 'LoRA');
	try {
		return { file: await openMergeFile(stem(path), source), close: () => source.close() };
	} catch (error) {
		await source.close();
		const problem = asProblem(error, path);
		throw new InputError([{ ...problem, message: `${path}: ${problem.message}` }]);
	}
}

/** A file beside what is there already, never over it, whole or not at all. @returns where it went */
export async function place(out: string, make: (sink: (bytes: Uint8Array) => Promise<void>) => Promise<void>): Promise<string> {
	const folder = await openFolder(dirname(out));
	return join(dirname(out), await folder.stream(basename(out), make));
}

const percent = (share: number): string => `${(share * 100).toFixed(share > 0.999 && share < 1 ? 3 : 1)} %`;

/** 1: 40 modules, 4: 12 modules → "1 (40), 4 (12)". */
function counts(record: Readonly<Record<string, number>>): string {
	return Object.entries(record)
		.map(([key, n]) => `${key} (${n})`)
		.join(', ');
}

function reportLines(report: MergeReport): string[] {
	const text = report.textEncoderModules > 0 ? `, ${report.textEncoderModules} of them of text encoders` : '';
	return [
		`${report.modules} modules${text}; dimensions (modules): ${counts(report.ranks)}`,
		...(report.kept === null ? [] : [`keeps ${percent(report.kept)} of the change (Σσ²), which measures ${report.norm.toPrecision(4)}`]),
		...report.blocks.map(({ block, modules, norm, energy, rank }) => {
			const share = energy[rank - 1];
			return `  ${block.padEnd(5)} ${String(modules).padStart(4)} modules  norm ${norm.toPrecision(4)}${share === undefined ? '' : `  keeps ${percent(share)}`}`;
		}),
		`${report.seconds.toFixed(1)} s on the CPU`
	];
}

export function printDone(context: Context, json: boolean, path: string, bytes: number, report: MergeReport, warnings: readonly LoraError[]): void {
	const problems: Problem[] = warnings.map(({ code, where, message, values }) => warningProblem(code, where, message, { ...values }));
	if (json) {
		context.streams.out(`${JSON.stringify({ type: 'done', path, bytes, ...report, problems })}\n`);
		return;
	}
	for (const problem of problems) context.streams.err(`${problemLine(problem)}\n`);
	context.streams.out(`${[`${path} (${bytes.toLocaleString('en')} bytes)`, ...reportLines(report)].join('\n')}\n`);
}
