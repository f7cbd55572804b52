/** What the command line changes about a training: another model, a LoRA to train on from, short names of fields to sweep, and what `--resume` may name. */
import { stat } from 'node:fs/promises';
import { basename, dirname, join, parse, resolve, sep } from 'node:path';
import { errorProblem } from '../jobs/problem';
import { pathByName } from './byName';
import { InputError } from './inputError';
import { HIDDEN, openNights, type NightFolder } from './nightFolder';
import { fileSize, pathProblem } from './recipeFile';

export interface Choices {
	/** A path or a name. */
	model?: string;
	/** A file with another VAE. */
	vae?: string;
	/** The LoRA to start from. */
	start?: string;
}

type Json = Record<string, unknown>;

function isObject(value: unknown): value is Json {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The choices as a change of a recipe's JSON; what is no recipe stays as it is and is refused by the schema. @throws InputError */
export async function recipeChange({ model, vae, start }: Choices): Promise<(value: unknown) => unknown> {
	const modelPath = model === undefined ? undefined : resolve(await pathByName(model, 'checkpoint', '--model'));
	const startPath = start === undefined ? undefined : resolve(await pathByName(start, 'lora', '--resume'));
	if (modelPath !== undefined) await fileSize(modelPath, '--model');
	if (startPath !== undefined) await fileSize(startPath, '--resume');
	if (vae !== undefined) await fileSize(vae, '--vae');
	return (value) => {
		if (!isObject(value)) return value;
		const changed: Json = { ...value };
		if (modelPath !== undefined) {
			const before = isObject(value['model']) ? value['model'] : {};
			// The hash and the bundled name are of the other model.
			const { bundled, sha256, ...kept } = before;
			void bundled;
			void sha256;
			changed['model'] = { ...kept, name: parse(modelPath).name, path: modelPath };
		}
		if (vae !== undefined) {
			const before = isObject(changed['model']) ? changed['model'] : {};
			changed['model'] = { ...before, vae: { name: basename(vae), path: resolve(vae) } };
		}
		if (startPath !== undefined) changed['resumeFrom'] = { name: basename(startPath), path: startPath };
		return changed;
	};
}

const SHORT: Readonly<Record<string, string>> = { lr: 'learningRate', dim: 'rank', rank: 'rank', alpha: 'alpha', steps: 'iterations', batch: 'batch' };

/** `lr` → the learning rate of the pass that makes the result; everything else is a path already. */
export function sweepField(name: string): string {
	const field = Object.hasOwn(SHORT, name) ? SHORT[name] : undefined;
	return field === undefined ? name : `passes.difference.${field}`;
}

export interface Resumable {
	/** The folder of the results. */
	out: string;
	nights: NightFolder[];
}

/** What stands behind `--resume`: a folder of results, a snapshot in it, or a LoRA that was written there. @throws InputError when nothing was interrupted there */
export async function findResumable(given: string): Promise<Resumable> {
	const path = resolve(given);
	const info = await stat(path).catch((error: unknown) => {
		throw new InputError([pathProblem(error, 'resume', given)]);
	});
	const parts = path.split(sep);
	const hidden = parts.lastIndexOf(HIDDEN);
	const nothing = (out: string, more = ''): never => {
		const message = `There is nothing to go on with in ${out}: no training was interrupted there (looked for ${join(out, HIDDEN)}).${more}`;
		throw new InputError([errorProblem('path.nothingToResume', 'resume', message, { path: out })]);
	};
	if (hidden > 0) {
		const out = parts.slice(0, hidden).join(sep) || sep;
		const nights = await openNights(out, parts[hidden + 1]);
		return nights.length > 0 ? { out, nights } : nothing(out);
	}
	const out = info.isDirectory() ? given : dirname(given);
	const nights = await openNights(out);
	if (nights.length > 0) return { out, nights };
	const lora = ` To train on from a finished LoRA, give the recipe too: utsushi train RECIPE.json --resume ${given} --out DIR`;
	return nothing(out, info.isDirectory() ? '' : lora);
}

/** A path for a command line that is to be copied. */
export function quoted(path: string): string {
	return /^[\w./\\:+~@-]+$/.test(path) ? path : `"${path}"`;
}
