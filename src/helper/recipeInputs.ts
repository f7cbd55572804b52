/**
 * The inputs a recipe's mode needs, read from disk: a folder of pictures with their captions, a mask, LoRA files. Paths are relative to the recipe's own folder.
 * The command line decodes PNG; other pictures in a folder are named and left out, so that nobody trains on less than they think without being told.
 */
import { readFile, readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { FormatError } from '../formats/error';
import { decodePng } from '../formats/png';
import { errorProblem, warningProblem } from '../jobs/problem';
import type { Problem } from '../jobs/events';
import { PICTURE_ENDINGS, type FolderPicture } from '../training/dataset';
import { asProblem } from '../service/errors';
import { InputError } from './inputError';
import { pathProblem } from './recipeFile';

const WHERE = 'dataset.folder';
/** A folder chosen by mistake (a home directory, say) should not fill the memory. */
const MAX_PICTURES = 20_000;

function endingOf(name: string): string {
	return name.slice(name.lastIndexOf('.') + 1).toLowerCase();
}

/** Files below a folder in the order of their names; hidden ones are left out. */
async function filesBelow(folder: string): Promise<string[]> {
	const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch((error: unknown) => {
		const { code } = Object(error) as { code?: unknown };
		if (code === 'ENOTDIR') throw new InputError([errorProblem('path.notFolder', WHERE, `${folder} (${WHERE}) is a file, not a folder.`, { path: folder })]);
		throw new InputError([pathProblem(error, WHERE, folder)]);
	});
	return entries
		.filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
		.map((entry) => join(entry.parentPath, entry.name))
		.sort((a, b) => (a < b ? -1 : 1));
}

/** The text beside a picture: `.txt`, else `.caption`. */
async function captionBeside(path: string, files: ReadonlySet<string>): Promise<string | undefined> {
	const stem = path.slice(0, path.lastIndexOf('.'));
	const companion = [`${stem}.txt`, `${stem}.caption`].find((name) => files.has(name));
	return companion === undefined ? undefined : new TextDecoder().decode(await readFile(companion)).replace(/^\uFEFF/, '');
}

/** All pictures of a folder with their captions. Errors: `InputError` */
export async function readFolder(folder: string, warnings: Problem[]): Promise<FolderPicture[]> {
	const files = await filesBelow(folder);
	const known = new Set(files);
	const candidates = files.filter((path) => PICTURE_ENDINGS.includes(endingOf(path)));
	if (candidates.length > MAX_PICTURES) {
		const message = `${folder} (${WHERE}) holds ${candidates.length} pictures, more than the ${MAX_PICTURES} that make sense here. Check that it is the right folder.`;
		throw new InputError([errorProblem('dataset.tooMany', WHERE, message, { path: folder, count: candidates.length, limit: MAX_PICTURES })]);
	}
	const pictures: FolderPicture[] = [];
	const problems: Problem[] = [];
	for (const path of candidates) {
		const name = relative(folder, path).split(sep).join('/');
		if (endingOf(path) !== 'png') {
			const message = `${name} is left out: the command line reads PNG pictures only. Save it as PNG to train on it.`;
			warnings.push(warningProblem('dataset.notPng', WHERE, message, { name }));
			continue;
		}
		try {
			pictures.push({ name, picture: decodePng(await readFile(path)), text: await captionBeside(path, known) });
		} catch (error) {
			if (!(error instanceof FormatError)) throw error;
			const found = asProblem(error, WHERE);
			problems.push({ ...found, message: `${name} (${WHERE}): ${found.message}` });
		}
	}
	if (problems.length > 0) throw new InputError(problems);
	return pictures;
}
