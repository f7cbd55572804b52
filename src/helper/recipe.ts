/**
 * `utsushi recipe`: checks recipes, turns TrainTrain's presets into recipes and back, makes links. Needs no GPU.
 * What cannot be carried over is said on the error stream, by name; the document alone goes to the output, so that it can be piped.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import type { Problem } from '../jobs/events';
import { errorProblem, warningProblem } from '../jobs/problem';
import { compactRecipe, encodeRecipeLink } from '../recipe/link';
import type { ModelFamily, Recipe } from '../recipe/recipe';
import { parseRecipe } from '../recipe/schema';
import { exportTrainTrain, importTrainTrain, isTrainTrainPreset, printTrainTrain } from '../recipe/traintrain/preset';
import { EXIT, type Context, type ExitCode } from './exit';
import { InputError } from './inputError';
import { problemLine } from './output';
import type { RecipeCommand } from './recipe-actions';
import { fileSize, loadRecipeValue, pathProblem } from './recipeFile';

const MAX_BYTES = 2 ** 20;
/** Where `utsushi serve` has the app. */
const APP = 'http://127.0.0.1:5757/';

async function readDocument(path: string): Promise<unknown> {
	const size = await fileSize(path, 'FILE');
	if (size > MAX_BYTES)
		throw new InputError([
			errorProblem('path.tooLarge', 'FILE', `${path} has ${size} bytes, more than any recipe or preset.`, { path, bytes: size, limit: MAX_BYTES })
		]);
	const text = new TextDecoder().decode(await readFile(path));
	try {
		return JSON.parse(text.replace(/^\uFEFF/, ''));
	} catch (error) {
		const detail = error instanceof Error ? error.message : String(error);
		throw new InputError([errorProblem('recipe.notJson', 'FILE', `${path} is not valid JSON: ${detail}.`, { path, detail })]);
	}
}

/** A recipe from a recipe file or a preset, with what is to be said about it. */
function recipeOf(document: unknown, family: ModelFamily | undefined): { recipe: Recipe; problems: Problem[] } {
	const parsed = isTrainTrainPreset(document) ? importTrainTrain(document, family) : parseRecipe(document);
	if (!parsed.ok) throw new InputError(parsed.problems);
	return { recipe: parsed.recipe, problems: parsed.problems };
}

/** Existing files are never replaced. */
async function deliver(text: string, command: RecipeCommand, context: Context): Promise<void> {
	const { out } = command;
	if (out === undefined) return context.streams.out(text);
	await writeFile(out, text, { flag: 'wx' }).catch((error: unknown) => {
		if (error instanceof Error && 'code' in error && error.code === 'EEXIST')
			throw new InputError([errorProblem('path.exists', '--out', `${out} is there already and was not replaced. Choose another name.`, { path: out })]);
		throw new InputError([pathProblem(error, '--out', out)]);
	});
	context.streams.err(`${out}\n`);
}

function lostWarnings(lost: readonly string[]): Problem[] {
	return lost.map((field) =>
		warningProblem('traintrain.lost', field, `${field} has no setting in TrainTrain: the exported preset does not carry it.`, { field })
	);
}

export async function recipe(command: RecipeCommand, context: Context): Promise<ExitCode> {
	const document = await readDocument(command.file);
	const say = (problems: readonly Problem[]): void => problems.forEach((problem) => context.streams.err(`${problemLine(problem)}\n`));
	if (command.action === 'check') return check(command, document, context);
	const { recipe: parsed, problems } = recipeOf(document, command.family);
	switch (command.action) {
		case 'import': {
			if (!isTrainTrainPreset(document))
				throw new InputError([
					errorProblem('traintrain.notPreset', 'FILE', `${command.file} is no preset of TrainTrain. A recipe needs no import.`, { path: command.file })
				]);
			say(problems);
			// Only what differs from the defaults, in tabs: meant to be read and edited.
			await deliver(`${JSON.stringify({ ...compactRecipe(parsed), model: parsed.model }, null, '\t')}\n`, command, context);
			return EXIT.done;
		}
		case 'export': {
			const { json, lost } = exportTrainTrain(parsed);
			say([...problems.filter(({ level }) => level === 'error'), ...lostWarnings(lost)]);
			await deliver(`${printTrainTrain(json)}\n`, command, context);
			return EXIT.done;
		}
		case 'link':
			say(problems);
			await deliver(`${APP}${encodeRecipeLink(parsed)}\n`, command, context);
			return EXIT.done;
	}
}

/** A recipe is checked with every file it names; a preset names none. */
async function check(command: RecipeCommand, document: unknown, context: Context): Promise<ExitCode> {
	const name = basename(command.file);
	let problems: readonly Problem[];
	try {
		problems = isTrainTrainPreset(document)
			? recipeOf(document, command.family).problems
			: (await loadRecipeValue(document, dirname(resolve(command.file)), context.installation)).warnings;
	} catch (error) {
		if (!(error instanceof InputError)) throw error;
		({ problems } = error);
	}
	const bad = problems.filter(({ level }) => level === 'error').length;
	if (command.json) context.streams.out(`${JSON.stringify({ file: command.file, ok: bad === 0, problems }, null, '\t')}\n`);
	else {
		for (const problem of problems) context.streams.out(`${problemLine(problem)}\n`);
		context.streams.out(bad === 0 ? `${name}: fine\n` : `${name}: ${bad} to fix\n`);
	}
	return bad === 0 ? EXIT.done : EXIT.badInput;
}
