/** `utsushi inspect`: what a file is. Reads headers and LoRA factors only; needs no GPU. */
import { basename } from 'node:path';
import { openFileAsBlob } from '../formats/node';
import { blobSource } from '../formats/source';
import { inspectFile } from '../service/inspect';
import type { FileReport } from '../service/protocol';
import { EXIT, type Context, type ExitCode } from './exit';
import { problemLine } from './output';
import { fileSize } from './recipeFile';

const KIND = { checkpoint: 'checkpoint', lora: 'LoRA', other: 'neither a checkpoint nor a LoRA' } as const;
const FAMILY = { mini: 'mini model', sd15: 'Stable Diffusion 1.5', sdxl: 'SDXL', unknown: 'unknown architecture' } as const;
/** Longer metadata values are cut; --json has them whole. */
const SHOWN = 100;

function counts(record: Record<string, number>): string {
	return Object.entries(record)
		.map(([key, n]) => `${key} (${n})`)
		.join(', ');
}

function metadataLine([key, value]: [string, string]): string {
	const flat = value.replace(/\s+/g, ' ');
	return `  ${key}: ${flat.length > SHOWN ? `${flat.slice(0, SHOWN)}…` : flat}`;
}

export function reportText(report: FileReport): string {
	const lines = [
		`${report.name}: ${KIND[report.kind]}, ${FAMILY[report.family]}`,
		`${report.bytes.toLocaleString('en')} bytes, ${report.tensors} tensors: ${counts(report.dtypes)}`
	];
	if (report.lora) {
		lines.push(`${report.lora.modules} modules`, `ranks (modules): ${counts(report.lora.ranks)}`, `alphas (modules): ${counts(report.lora.alphas)}`);
		lines.push(`blocks (modules): ${counts(report.lora.blocks)}`);
	}
	const metadata = Object.entries(report.metadata).sort(([a], [b]) => (a < b ? -1 : 1));
	if (metadata.length > 0) lines.push('metadata:', ...metadata.map(metadataLine));
	lines.push(...report.problems.map(problemLine));
	return `${lines.join('\n')}\n`;
}

export async function inspect(command: { file: string; json: boolean }, context: Context): Promise<ExitCode> {
	await fileSize(command.file, 'FILE');
	const report = await inspectFile(basename(command.file), blobSource(await openFileAsBlob(command.file)));
	context.streams.out(command.json ? `${JSON.stringify(report, null, '\t')}\n` : reportText(report));
	return report.problems.some(({ level }) => level === 'error') ? EXIT.badInput : EXIT.done;
}
