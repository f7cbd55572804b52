/** `utsushi models`: what lies in the configured folders, and which folders these are. */
import type { Problem } from '../jobs/events';
import { warningProblem } from '../jobs/problem';
import { configFolder } from './configFolder';
import { EXIT, type Context, type ExitCode } from './exit';
import { addFolders, loadFolders, removeFolder, type FolderList } from './folders';
import { knownFolders } from './knownFolders';
import { Models, type ModelEntry } from './models';
import { problemLine } from './output';

export interface ModelsCommand {
	name: 'models';
	action: 'list' | 'add' | 'remove' | 'suggest';
	paths: string[];
	/** Of `add`: LoRAs are saved there. */
	results: boolean;
	json: boolean;
}

const FAMILY = { mini: 'mini', sd15: 'SD 1.5', sdxl: 'SDXL', unknown: '?' } as const;

function size(bytes: number): string {
	return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.max(1, Math.round(bytes / 1e6))} MB`;
}

function table(entries: readonly ModelEntry[]): string[] {
	const rows = entries.map(({ family, bytes, rank, folder, name, problem }) => [
		FAMILY[family],
		size(bytes),
		rank > 0 ? `rank ${rank}` : '',
		`${folder}/${name}${problem ? `  (${problem.message})` : ''}`
	]);
	const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
	return rows.map((row) => `  ${row.map((cell, column) => (column < 3 ? cell.padEnd(widths[column] ?? 0) : cell)).join('  ')}`.trimEnd());
}

function folderLines({ folders, results }: FolderList): string[] {
	return folders.map((path) => `  ${path}${path === results ? '  (results are saved here)' : ''}`);
}

const NO_FOLDERS = 'No folders yet. “utsushi models suggest” looks for those of WebUI, Forge, ComfyUI and StabilityMatrix; “utsushi models add DIR” adds any.';

async function list(command: ModelsCommand, { streams }: Context): Promise<ExitCode> {
	const folders = await loadFolders();
	const { entries, problems } = await new Models(configFolder(), true).list();
	if (command.json) {
		streams.out(`${JSON.stringify({ folders: folders.folders, results: folders.results, models: entries, problems }, null, '\t')}\n`);
		return EXIT.done;
	}
	if (folders.folders.length === 0) streams.out(`${NO_FOLDERS}\n`);
	else {
		const lines: string[] = [];
		for (const [kind, title] of [
			['checkpoint', 'Checkpoints'],
			['lora', 'LoRAs']
		] as const) {
			const ofKind = entries.filter((entry) => entry.kind === kind);
			if (ofKind.length > 0) lines.push(`${title} (${ofKind.length})`, ...table(ofKind), '');
		}
		streams.out([...lines, 'Folders', ...folderLines(folders), ''].join('\n'));
	}
	for (const problem of problems) streams.err(`${problemLine(problem)}\n`);
	return EXIT.done;
}

async function suggest(command: ModelsCommand, { streams }: Context): Promise<ExitCode> {
	const { folders } = await loadFolders();
	const found = (await knownFolders()).filter(({ path }) => !folders.includes(path));
	if (command.json) streams.out(`${JSON.stringify({ suggestions: found }, null, '\t')}\n`);
	else if (found.length === 0)
		streams.out(
			'Found no further folders of WebUI, Forge, ComfyUI, StabilityMatrix, SwarmUI or Fooocus in the usual places. Add yours: utsushi models add DIR\n'
		);
	else {
		const quoted = (path: string): string => (/[^\w./\\:+~-]/.test(path) ? `"${path}"` : path);
		const add = `utsushi models add ${found.map(({ path }) => quoted(path)).join(' ')}`;
		streams.out(
			[
				'Found',
				...found.map(({ path, program, kind }) => `  ${kind === 'loras' ? 'LoRAs      ' : 'Checkpoints'}  ${program}  ${path}`),
				'',
				'To use all of them:',
				`  ${add}`,
				''
			].join('\n')
		);
	}
	return EXIT.done;
}

function changed(command: ModelsCommand, folders: FolderList, problems: readonly Problem[], { streams }: Context): ExitCode {
	if (command.json) streams.out(`${JSON.stringify({ folders: folders.folders, results: folders.results, problems }, null, '\t')}\n`);
	else {
		streams.out([folders.folders.length === 0 ? NO_FOLDERS : 'Folders', ...folderLines(folders), ''].join('\n'));
		for (const problem of problems) streams.err(`${problemLine(problem)}\n`);
	}
	return EXIT.done;
}

export async function models(command: ModelsCommand, context: Context): Promise<ExitCode> {
	switch (command.action) {
		case 'list':
			return list(command, context);
		case 'suggest':
			return suggest(command, context);
		case 'add': {
			const folders = await addFolders(command.paths, { results: command.results });
			const { problems } = await new Models(configFolder(), true).list();
			const noResults =
				folders.results === null
					? [
							warningProblem(
								'folder.noResults',
								'models',
								'LoRAs trained for a browser stay with their run until it fetches them. To save them in a folder too: utsushi models add DIR --results'
							)
						]
					: [];
			return changed(command, folders, [...problems.filter(({ code }) => code !== 'folder.empty' || !command.results), ...noResults], context);
		}
		case 'remove': {
			let folders = await loadFolders(configFolder());
			for (const path of command.paths) folders = await removeFolder(path);
			return changed(command, folders, [], context);
		}
	}
}
