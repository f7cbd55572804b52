/** `utsushi train`: a recipe in, files in a folder out. Everything that can be wrong with the input is found before the GPU is opened. */
import { encodePng } from '../formats/png';
import type { Picture, Problem, RunEvent } from '../jobs/events';
import { parseRecipe } from '../recipe/schema';
import type { EventMessage, TrainerClient } from '../service/protocol';
import { openFolder, type Folder } from '../storage/node';
import { EXIT, type Context, type ExitCode } from './exit';
import { modelSource, withTrainer } from './trainer';
import { jsonReporter, textReporter, type Reporter } from './output';
import { loadRecipe, type LoadedRecipe } from './recipeFile';

const RUN = 'train';

function signed(strength: number): string {
	return `${strength < 0 ? '-' : '+'}${Math.abs(strength).toFixed(2)}`;
}

/** Writes what an event carries; the name it got, or undefined for events without content. */
async function keep(event: RunEvent, folder: Folder, name: string): Promise<string | undefined> {
	const png = (label: string, picture: Picture): Promise<string> => folder.write(`${name}-${label}.png`, encodePng(picture));
	switch (event.type) {
		case 'file':
			return folder.write(event.name, new Uint8Array(event.bytes));
		case 'preview':
			return png(`preview-${event.pass}-step${String(event.step).padStart(6, '0')}-seed${event.seed}`, event.picture);
		case 'stripCell':
			return png(`strip-seed${event.seed}-strength${signed(event.strength)}`, event.picture);
		default:
			return undefined;
	}
}

/** Warnings that the trainer cannot find again in the recipe it is given; it reports the others itself. */
function onlyHere({ recipe, warnings }: LoadedRecipe): Problem[] {
	const known = new Set(parseRecipe(recipe).problems.map(({ code, where }) => `${code} ${where}`));
	return warnings.filter(({ code, where }) => !known.has(`${code} ${where}`));
}

interface Ended {
	outcome: 'done' | 'stopped' | 'failed';
	/** A file could not be written. */
	unsaved: boolean;
}

/** Follows the run to its end; events are handled one after the other, in order. */
function follow(client: TrainerClient, folder: Folder, name: string, reporter: Reporter): Promise<Ended> {
	return new Promise((resolve, reject) => {
		let queue = Promise.resolve();
		let unsaved = false;
		const handle = async (message: EventMessage): Promise<void> => {
			let saved: string | undefined;
			try {
				saved = await keep(message.event, folder, name);
			} catch (error) {
				// The run goes on: one picture that found no room is no reason to lose the rest. The exit code tells.
				unsaved = true;
				reporter.problem({ level: 'error', code: 'storage.failed', where: name, values: {}, message: error instanceof Error ? error.message : String(error) });
			}
			reporter.event(message, saved);
			if (message.event.type === 'ended') {
				unsubscribe();
				resolve({ outcome: message.event.outcome, unsaved });
			}
		};
		const unsubscribe = client.subscribe((message) => {
			if (message.run !== RUN) return;
			queue = queue.then(() => handle(message)).catch(reject);
		});
	});
}

async function run(client: TrainerClient, loaded: LoadedRecipe, folder: Folder, reporter: Reporter, context: Context): Promise<ExitCode> {
	const { recipe, original, target } = loaded;
	const { modelId } = await client.request({ type: 'openModel', source: await modelSource(loaded.modelFile) });
	const ended = follow(client, folder, recipe.name, reporter);
	let interrupted = false;
	const stop = (): void => void client.request({ type: 'stop', run: RUN, save: true }).catch(() => undefined);
	// A second Ctrl-C never gets here: it ends the process.
	const release = context.onInterrupt(() => {
		interrupted = true;
		context.streams.err('\nStopping after this step and saving; Ctrl-C again leaves at once.\n');
		stop();
	});
	try {
		await client.request({ type: 'train', run: RUN, request: { recipe, modelId, original, target } });
		if (interrupted) stop(); // it came before there was a run to stop
		const { outcome, unsaved } = await ended;
		return outcome === 'failed' || unsaved ? EXIT.failed : EXIT.done;
	} finally {
		release();
	}
}

export async function train(command: { recipe: string; out: string; json: boolean }, context: Context): Promise<ExitCode> {
	const reporter = command.json ? jsonReporter(context.streams) : textReporter(context.streams);
	const loaded = await loadRecipe(command.recipe, context.installation);
	for (const warning of onlyHere(loaded)) reporter.problem(warning);
	const folder = await openFolder(command.out);
	try {
		return await withTrainer((client) => run(client, loaded, folder, reporter, context));
	} finally {
		reporter.close();
	}
}
