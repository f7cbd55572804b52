/** `utsushi sample`: one picture from a model and any number of LoRAs. */
import { readFile, writeFile } from 'node:fs/promises';
import { parse } from 'node:path';
import { encodePng } from '../formats/png';
import { writeLoraTag, writeParameters } from '../formats/webui';
import { SAMPLER_NAMES } from '../recipe/plot-labels';
import { asStorageError } from '../storage/errors';
import type { SampleCommand } from './arguments';
import { pathByName } from './byName';
import { EXIT, type Context, type ExitCode } from './exit';
import { modelSource, withTrainer } from './trainer';
import { jsonReporter, textReporter } from './output';
import { fileSize } from './recipeFile';

const RUN = 'sample';

/** The settings in the form WebUI writes and reads them. */
function parameters(command: SampleCommand, size: { width: number; height: number }, model: string): string {
	const tags = command.loras.map(({ file, strength }) => writeLoraTag(parse(file).name, strength));
	return writeParameters([command.prompt, ...tags].filter((part) => part !== '').join(' '), command.negative, [
		['Steps', command.steps],
		['Sampler', SAMPLER_NAMES[command.sampler]],
		['CFG scale', command.cfg],
		['Seed', command.seed],
		['Size', `${size.width}x${size.height}`],
		['Model', model],
		['RNG', 'NV']
	]);
}

export async function sample(command: SampleCommand, context: Context): Promise<ExitCode> {
	const modelFile =
		command.model === undefined ? context.installation.bundled('models/mini.safetensors') : await pathByName(command.model, 'checkpoint', '--model');
	const source = await modelSource(modelFile, { vae: command.vae, prediction: command.prediction });
	const loras: { bytes: ArrayBuffer; strength: number }[] = [];
	for (const { file: given, strength } of command.loras) {
		const file = await pathByName(given, 'lora', '--lora');
		await fileSize(file, '--lora');
		const bytes = await readFile(file);
		loras.push({ bytes: new Uint8Array(bytes).buffer, strength });
	}
	const reporter = command.json ? jsonReporter(context.streams) : textReporter(context.streams);
	return withTrainer(async (client) => {
		const model = await client.request({ type: 'openModel', source });
		const size = command.size ?? { width: model.resolution, height: model.resolution };
		const unsubscribe = client.subscribe((message) => {
			// The reply itself says how it ended.
			if (message.run === RUN && message.event.type !== 'ended') reporter.event(message);
		});
		const release = context.onInterrupt(() => void client.request({ type: 'cancel', run: RUN }).catch(() => undefined));
		try {
			const { prompt, negative, seed, steps, cfg, sampler } = command;
			const picture = await client.request({
				type: 'sample',
				run: RUN,
				request: { modelId: model.modelId, prompt, negative, seed, steps, cfg, sampler, ...size, loras }
			});
			await writeFile(command.out, encodePng(picture, [['parameters', parameters(command, size, model.name)]])).catch((error: unknown) => {
				throw asStorageError(error, command.out);
			});
		} finally {
			unsubscribe();
			release();
			reporter.close();
		}
		context.streams.out(command.json ? `${JSON.stringify({ type: 'done', file: command.out, ...size })}\n` : `${command.out}\n`);
		return EXIT.done;
	});
}
