/** A plot on disk with everything it names: the model, the LoRAs (paths relative to the plot's own folder), seeds that were drawn before. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { openFileAsBlob } from '../formats/node';
import { fingerprint, sha256 } from '../formats/fingerprint';
import { predictionOfFiles } from '../formats/lora-prediction';
import type { Problem } from '../jobs/events';
import { errorProblem } from '../jobs/problem';
import { fixSeeds, hasOpenSeeds, type Plot } from '../recipe/plot';
import { drawnBy } from '../recipe/plot-cells';
import { parsePlot } from '../recipe/plot-schema';
import { asStorageError } from '../storage/errors';
import { pathByName } from './byName';
import { InputError } from './inputError';
import type { Installation } from './installation';
import { fileSize, pathProblem } from './recipeFile';

const MAX_PLOT_BYTES = 2 ** 20;
const SEEDS = 'seeds.json';

export interface LoadedPlot {
	/** With hashes and without open seeds. */
	plot: Plot;
	modelFile: string;
	vaeFile: string | undefined;
	/** Said by the plot, or by one of its LoRAs. */
	prediction: 'v' | undefined;
	/** Tells this model from others in the keys of cells. */
	model: string;
	loras: { name: string; sha256: string; blob: Blob }[];
	warnings: Problem[];
}

async function readPlot(path: string): Promise<unknown> {
	if ((await fileSize(path, 'plot')) > MAX_PLOT_BYTES)
		throw new InputError([errorProblem('path.tooLarge', 'plot', `${path} is too large to be a plot.`, { path })]);
	const text = await readFile(path, 'utf8').catch((error: unknown) => {
		throw new InputError([pathProblem(error, 'plot', path)]);
	});
	try {
		return JSON.parse(text.replace(/^\uFEFF/, ''));
	} catch (error) {
		const detail = error instanceof Error ? error.message : String(error);
		throw new InputError([errorProblem('plot.notJson', 'plot', `${path} is not valid JSON: ${detail}.`, { path, detail })]);
	}
}

function drawSeed(): number {
	return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}

/** Seeds of -1 are drawn once for a definition and written beside the cells, so that a plot taken up again is the same plot. */
async function withSeeds(plot: Plot, cells: string): Promise<Plot> {
	if (!hasOpenSeeds(plot)) return plot;
	const definition = await sha256(new TextEncoder().encode(JSON.stringify(plot)).buffer);
	const path = join(cells, SEEDS);
	const kept = await readFile(path, 'utf8').then(
		(text) => JSON.parse(text) as Record<string, unknown>,
		(): Record<string, unknown> => ({})
	);
	const known = parsePlot(kept[definition] ?? null);
	if (known.ok) return known.plot;
	const fixed = fixSeeds(plot, drawSeed);
	await writeFile(path, JSON.stringify({ ...kept, [definition]: fixed }, null, '\t'));
	return fixed;
}

/** @param cells folder in which cells are kept; made when missing @throws InputError with every problem found, StorageError */
export async function loadPlot(path: string, installation: Installation, cells: string): Promise<LoadedPlot> {
	const parsed = parsePlot(await readPlot(path));
	if (!parsed.ok) throw new InputError(parsed.problems);
	const folder = dirname(resolve(path));
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
	const { model } = parsed.plot;
	const modelFile = await attempt(async () => {
		const named = model.path === undefined && model.bundled === undefined ? await pathByName(model.name, 'checkpoint', 'model') : model.name;
		if (model.path === undefined && model.bundled === undefined && named === model.name)
			throw new InputError([
				errorProblem(
					'plot.noPath',
					'model',
					'model names no file: give it a "path" (relative to the plot), or the name of a model that “utsushi models” lists.',
					{
						name: model.name
					}
				)
			]);
		const bundled = model.bundled === undefined ? named : installation.bundled(`models/${model.bundled}.safetensors`);
		const file = model.path === undefined ? bundled : resolve(folder, model.path);
		await fileSize(file, 'model');
		return file;
	});
	const vaeFile = await attempt(async () => {
		if (!model.vae) return undefined;
		const file = resolve(folder, model.vae.path ?? model.vae.name);
		await fileSize(file, 'model.vae');
		return file;
	});
	const loras: LoadedPlot['loras'] = [];
	const plot: Plot = { ...parsed.plot, loras: [] };
	for (const [i, lora] of parsed.plot.loras.entries()) {
		await attempt(async () => {
			const where = `loras.${i}`;
			const named = lora.path === undefined ? await pathByName(lora.name, 'lora', where) : lora.name;
			if (lora.path === undefined && named === lora.name)
				throw new InputError([
					errorProblem(
						'plot.noPath',
						where,
						`${where} (${lora.name}) names no file: give it a "path" (relative to the plot), or the name of a LoRA that “utsushi models” lists.`,
						{ name: lora.name }
					)
				]);
			const file = lora.path === undefined ? named : resolve(folder, lora.path);
			await fileSize(file, where);
			const blob = await openFileAsBlob(file);
			const hash = await sha256(await blob.arrayBuffer());
			loras.push({ name: basename(file), sha256: hash, blob });
			plot.loras.push({ ...lora, sha256: hash });
		});
	}
	if (problems.length > 0 || modelFile === undefined) throw new InputError(problems);
	try {
		await mkdir(cells, { recursive: true });
		const identity = async (file: string): Promise<string> => fingerprint(await openFileAsBlob(file));
		const prediction = model.prediction ?? (await predictionOfFiles(loras.map(({ blob }) => blob)));
		const drawn = drawnBy(await identity(modelFile), { vae: vaeFile === undefined ? undefined : await identity(vaeFile), prediction });
		return { plot: await withSeeds(plot, cells), modelFile, vaeFile, prediction, model: drawn, loras, warnings: parsed.problems };
	} catch (error) {
		throw asStorageError(error, cells);
	}
}
