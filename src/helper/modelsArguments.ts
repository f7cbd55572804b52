/** The words of `utsushi models` as a command. */
import type { Given } from './labArguments';
import type { ModelsCommand } from './modelsCommand';

const ACTIONS = ['add', 'remove', 'suggest'] as const;

export function modelsCommand(values: Given, [first, ...paths]: readonly string[]): ModelsCommand {
	const [results, json] = [values.flag('results'), values.flag('json')];
	const action = first === undefined ? 'list' : ACTIONS.find((name) => name === first);
	if (action === undefined) return values.fail(`models wants nothing, or one of ${ACTIONS.join(', ')}, not “${first ?? ''}”.`);
	const needsFolder = action === 'add' || action === 'remove';
	if (needsFolder && paths.length === 0) values.fail(`models ${action} wants a folder.`);
	if (!needsFolder && paths[0] !== undefined) values.fail(`“${paths[0]}” is not expected here. See “utsushi models --help”.`);
	if (results && action !== 'add') values.fail('--results belongs to “utsushi models add DIR”.');
	return { name: 'models', action, paths, results, json };
}
