/** `utsushi resize`: a LoRA of smaller dimension, by kohya's rules. */
import { resizeLora } from '../lora/resize';
import { EXIT, type Context, type ExitCode } from './exit';
import type { ResizeCommand } from './labArguments';
import { openLora, place, printDone } from './labOutput';

export async function resize(command: ResizeCommand, context: Context): Promise<ExitCode> {
	const { file, close } = await openLora(command.file);
	try {
		const { bytes, report } = await resizeLora(file, command.settings, command.precision);
		const path = await place(command.out, (sink) => sink(bytes));
		printDone(context, command.json, path, bytes.byteLength, report, file.warnings);
		return EXIT.done;
	} finally {
		await close();
	}
}
