/** `utsushi merge`: several LoRAs into one, or into a checkpoint. Everything is read and checked before the result gets a name. */
import { openSafetensors } from '../formats/safetensors';
import { planBake } from '../lora/bake';
import { MergeSession } from '../lora/merge';
import { writeMerge } from '../lora/merge-write';
import type { MergeFile } from '../lora/merge-files';
import type { MergeSettings } from '../recipe/merge';
import { asProblem } from '../service/errors';
import { warningProblem } from '../jobs/problem';
import { pathByName } from './byName';
import { EXIT, type Context, type ExitCode } from './exit';
import { InputError } from './inputError';
import type { MergeCommand } from './labArguments';
import { openFile, openLora, place, printDone, stem } from './labOutput';
import { problemLine } from './output';

export async function merge(command: MergeCommand, context: Context): Promise<ExitCode> {
	const opened: Awaited<ReturnType<typeof openLora>>[] = [];
	try {
		for (const { name } of command.parts) opened.push(await openLora(name));
		const files = opened.map(({ file }) => file);
		const parts = command.parts.map((part) => ({ ...part, name: stem(part.name) }));
		return command.into === undefined ? await intoLora(command, files, parts, context) : await intoCheckpoint(command, command.into, files, parts, context);
	} finally {
		for (const { close } of opened) await close();
	}
}

async function intoLora(command: MergeCommand, files: readonly MergeFile[], parts: MergeSettings['parts'], context: Context): Promise<ExitCode> {
	const { method, dimension, convDimension, precision, clamp, out } = command;
	const settings: MergeSettings = { name: stem(out), method, dimension, convDimension, precision, parts, clamp };
	const merged = await new MergeSession(files).merge(settings);
	const bytes = await writeMerge(merged.modules, merged.family, settings, files, new Date());
	const path = await place(out, (sink) => sink(bytes));
	printDone(context, command.json, path, bytes.byteLength, merged.report, merged.warnings);
	return EXIT.done;
}

async function intoCheckpoint(
	{ out, json }: MergeCommand,
	into: string,
	files: readonly MergeFile[],
	parts: MergeSettings['parts'],
	context: Context
): Promise<ExitCode> {
	const source = await openFile(await pathByName(into, 'checkpoint', '--into'), '--into');
	try {
		const checkpoint = await openSafetensors(source).catch((error: unknown) => {
			const problem = asProblem(error, into);
			throw new InputError([{ ...problem, message: `${into}: ${problem.message}` }]);
		});
		const plan = planBake(checkpoint, files, parts);
		const path = await place(out, (sink) => plan.write(sink));
		const problems = plan.warnings.map(({ code, where, message, values }) => warningProblem(code, where, message, { ...values }));
		if (json) context.streams.out(`${JSON.stringify({ type: 'done', path, bytes: plan.bytes, modules: plan.modules, problems })}\n`);
		else {
			for (const problem of problems) context.streams.err(`${problemLine(problem)}\n`);
			context.streams.out(`${path} (${plan.bytes.toLocaleString('en')} bytes)\n${plan.modules} modules of the checkpoint changed\n`);
		}
		return EXIT.done;
	} finally {
		await source.close();
	}
}
