/** `utsushi extract`: what fine-tuning changed between two checkpoints, as a LoRA. Both files are read tensor by tensor. */
import { readConfig } from '../diffusion/checkpoint';
import { openSafetensors } from '../formats/safetensors';
import { extractLora } from '../lora/extract';
import { asProblem } from '../service/errors';
import { EXIT, type Context, type ExitCode } from './exit';
import { InputError } from './inputError';
import type { ExtractCommand } from './labArguments';
import { openFile, place, printDone, stem } from './labOutput';

/** Percent steps in which progress is said. */
const STEP = 10;

export async function extract(command: ExtractCommand, context: Context): Promise<ExitCode> {
	const sources = [await openFile(command.tuned, 'TUNED'), await openFile(command.base, 'BASE')] as const;
	try {
		const open = async (source: (typeof sources)[number], path: string): Promise<Awaited<ReturnType<typeof openSafetensors>>> =>
			openSafetensors(source).catch((error: unknown) => {
				const problem = asProblem(error, path);
				throw new InputError([{ ...problem, message: `${path}: ${problem.message}` }]);
			});
		const [tuned, base] = [await open(sources[0], command.tuned), await open(sources[1], command.base)];
		const { family } = readConfig(base.tensors, base.metadata);
		const { rank, convRank, precision } = command;
		let said = 0;
		const settings = { name: stem(command.out), rank, convRank, precision, family, tuned: stem(command.tuned), base: stem(command.base) };
		const { bytes, report } = await extractLora(tuned, base, settings, (share) => {
			if (share * 100 < said + STEP) return;
			said = Math.floor((share * 100) / STEP) * STEP;
			if (!command.json) context.streams.err(`${said} %\n`);
		});
		const path = await place(command.out, (sink) => sink(bytes));
		printDone(context, command.json, path, bytes.byteLength, report, []);
		return EXIT.done;
	} finally {
		for (const source of sources) await source.close();
	}
}
