/** Files on the command line: a path, or the name of a model in the configured folders. A path that exists always wins. */
import { stat } from 'node:fs/promises';
import { errorProblem } from '../jobs/problem';
import { InputError } from './inputError';
import { entriesNamed, Models, type ModelEntry } from './models';

/** How many candidates a question lists. */
const SHOWN = 8;

async function exists(path: string): Promise<boolean> {
	return stat(path).then(
		() => true,
		() => false
	);
}

/**
 * The path of what was given. A name nobody knows comes back as it is, so that the message about a missing file names it.
 * @throws InputError when the name means several models
 */
export async function pathByName(given: string, kind: ModelEntry['kind'], where: string, models = new Models()): Promise<string> {
	// What looks like a path is one: a missing file must not turn into another model.
	if (given === '' || (await exists(given)) || /^[.~]|^[a-z]:|^[\\/]/i.test(given)) return given;
	const { entries } = await models.list();
	const [first, ...more] = entriesNamed(entries, given, kind);
	if (!first) return given;
	if (more.length === 0) return models.pathOf(first.id);
	const names = [first, ...more].map(({ name, folder }) => `${folder}/${name}`);
	const rest = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : '';
	const message = `“${given}” (${where}) could be ${names.length} of your files: ${names.slice(0, SHOWN).join(', ')}${rest}. Give more of the name, or a path.`;
	throw new InputError([errorProblem('model.ambiguous', where, message, { name: given, count: names.length })]);
}
