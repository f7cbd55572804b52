/**
 * A recipe on disk with everything it names: model and pictures are paths relative to the recipe's own folder, or bundled ones. All of it
 * is read and checked here, before a GPU is opened; what is wrong is reported together.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { FormatError } from '../formats/error';
import { decodePng } from '../formats/png';
import type { Picture, Problem } from '../jobs/events';
import { errorProblem, warningProblem } from '../jobs/problem';
import type { RunInput } from '../jobs/inputs';
import type { FileRef, ImageRef } from '../recipe/recipe';
import { parseRecipe } from '../recipe/schema';
import { asProblem } from '../service/errors';
import { pathByName } from './byName';
import { InputError } from './inputError';
import type { Installation } from './installation';
import { readFolder } from './recipeInputs';

/** No picture that can be trained on is larger as a file; keeps a wrong path from filling the memory. */
const MAX_PICTURE_BYTES = 256 * 2 ** 20;
const MAX_RECIPE_BYTES = 2 ** 20;
const MAX_LORA_BYTES = 2 ** 31;

/** The recipe with what its mode trains on. */
export interface LoadedRecipe extends RunInput {
	modelFile: string;
	/** Where the VAE is, when not in the model's file. */
	vaeFile?: string | undefined;
	warnings: Problem[];
}

function codeOf(error: unknown): string {
	return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** A failure to open a path in words. */
export function pathProblem(error: unknown, where: string, path: string): Problem {
	const code = codeOf(error);
	if (code === 'ENOENT' || code === 'ENOTDIR') return errorProblem('path.missing', where, `There is no file ${path} (${where}). Check the path.`, { path });
	if (code === 'EISDIR') return errorProblem('path.folder', where, `${path} (${where}) is a folder, not a file.`, { path });
	if (code === 'EACCES' || code === 'EPERM') return errorProblem('path.forbidden', where, `${path} (${where}) may not be read by this user.`, { path });
	return asProblem(error, where);
}

/** The size of a plain file. Errors: `InputError`. */
export async function fileSize(path: string, where: string): Promise<number> {
	const info = await stat(path).catch((error: unknown) => {
		throw new InputError([pathProblem(error, where, path)]);
	});
	if (info.isDirectory()) throw new InputError([errorProblem('path.folder', where, `${path} (${where}) is a folder, not a file.`, { path })]);
	return info.size;
}

async function readSmall(path: string, where: string, limit: number): Promise<Uint8Array> {
	const bytes = await fileSize(path, where);
	if (bytes > limit) {
		const message = `${path} (${where}) has ${Math.round(bytes / 2 ** 20)} MB, more than the ${limit / 2 ** 20} MB that make sense here. Check that it is the right file.`;
		throw new InputError([errorProblem('path.tooLarge', where, message, { path, bytes, limit })]);
	}
	return readFile(path).catch((error: unknown) => {
		throw new InputError([pathProblem(error, where, path)]);
	});
}

async function readJson(path: string): Promise<unknown> {
	const text = new TextDecoder().decode(await readSmall(path, 'recipe', MAX_RECIPE_BYTES));
	try {
		return JSON.parse(text.replace(/^\uFEFF/, ''));
	} catch (error) {
		const detail = error instanceof Error ? error.message : String(error);
		throw new InputError([errorProblem('recipe.notJson', 'recipe', `${path} is not valid JSON: ${detail}.`, { path, detail })]);
	}
}

async function readPicture(path: string, ref: ImageRef, where: string, warnings: Problem[]): Promise<Picture> {
	const bytes = await readSmall(path, where, MAX_PICTURE_BYTES);
	if (ref.sha256 !== undefined && createHash('sha256').update(bytes).digest('hex') !== ref.sha256)
		warnings.push(warningProblem('images.changed', where, `${path} (${where}) is not the picture the recipe was made with: its SHA-256 differs.`, { path }));
	try {
		return decodePng(bytes);
	} catch (error) {
		if (!(error instanceof FormatError)) throw error;
		const found = asProblem(error, where);
		throw new InputError([{ ...found, message: `${basename(path)} (${where}): ${found.message}` }]);
	}
}

/** @throws InputError with every problem found */
export async function loadRecipe(path: string, installation: Installation, change: (value: unknown) => unknown = (value) => value): Promise<LoadedRecipe> {
	return loadRecipeValue(change(await readJson(path)), dirname(resolve(path)), installation);
}

/** The same for a recipe that was read before; `folder`: what its paths are relative to. */
export async function loadRecipeValue(value: unknown, folder: string, installation: Installation): Promise<LoadedRecipe> {
	const parsed = parseRecipe(value);
	if (!parsed.ok) throw new InputError(parsed.problems);
	const { recipe } = parsed;
	const warnings: Problem[] = [...parsed.problems];
	const problems: Problem[] = [];
	const attempt = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
		try {
			return await work();
		} catch (error) {
			if (!(error instanceof InputError)) throw error;
			problems.push(...error.problems);
			return undefined;
		}
	};
	const place = (ref: { path?: string; bundled?: string }, where: string, bundled: (name: string) => string): string => {
		if (ref.path !== undefined) return resolve(folder, ref.path);
		if (ref.bundled !== undefined) return installation.bundled(bundled(ref.bundled));
		throw new InputError([
			errorProblem(
				'recipe.noPath',
				where,
				`${where} names no file: give it a "path" (relative to the recipe)${where === 'model' ? ', or the name of a model that “utsushi models” lists' : ''}.`
			)
		]);
	};
	const picture = (ref: ImageRef, where: string): Promise<Picture | undefined> =>
		attempt(() =>
			readPicture(
				place(ref, where, (name) => `samples/${name}`),
				ref,
				where,
				warnings
			)
		);

	const modelFile = await attempt(async () => {
		const { path, bundled, name: known } = recipe.model;
		// A recipe of the app names its model only: the folders of “utsushi models” know where it lies.
		const found = path === undefined && bundled === undefined && known !== '' ? await pathByName(known, 'checkpoint', 'model') : known;
		const file = found === known ? place(recipe.model, 'model', (name) => `models/${name}.safetensors`) : found;
		await fileSize(file, 'model');
		return file;
	});
	const vaeFile = await attempt(async () => {
		const { vae } = recipe.model;
		if (!vae) return undefined;
		const file = place(vae, 'model.vae', (name) => name);
		await fileSize(file, 'model.vae');
		return file;
	});
	const lora = (ref: FileRef | null, where: string): Promise<ArrayBuffer | undefined> =>
		attempt(async () => {
			if (!ref) return undefined;
			const path = place(ref, where, (name) => name);
			const bytes = await readSmall(path, where, MAX_LORA_BYTES);
			if (ref.sha256 !== undefined && createHash('sha256').update(bytes).digest('hex') !== ref.sha256)
				warnings.push(warningProblem('file.changed', where, `${path} (${where}) is not the file the recipe was made with: its SHA-256 differs.`, { path }));
			return bytes.slice().buffer;
		});

	const { mode, dataset, copier } = recipe;
	const usesPair = mode === 'difference' || mode === 'addift';
	const input: RunInput = {
		recipe,
		original: usesPair ? await picture(recipe.images.original, 'images.original') : undefined,
		target: usesPair ? await picture(recipe.images.target, 'images.target') : undefined,
		mask: usesPair && recipe.mask ? await picture(recipe.mask, 'mask') : undefined,
		pictures:
			mode === 'lora' || mode === 'multiAddift'
				? await attempt(async () =>
						readFolder(
							place(dataset.folder ?? {}, 'dataset.folder', (name) => name),
							warnings
						)
					)
				: undefined,
		copier: mode === 'difference' && copier.use === 'file' ? await lora(copier.file, 'copier.file') : undefined,
		start: await lora(recipe.resumeFrom, 'resumeFrom')
	};
	if (problems.length > 0 || modelFile === undefined) throw new InputError([...problems, ...warnings]);
	return { ...input, modelFile, vaeFile, warnings };
}
