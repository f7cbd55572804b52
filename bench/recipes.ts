/**
 * Trains recipes of the mini model one after the other in one process and writes their LoRAs: for sweeps, where starting and loading would take longer than training.
 *
 *   npx vite build --ssr bench/recipes.ts --outDir dist/bench
 *   node dist/bench/recipes.js --out DIR [--fast] [--plain] [--until SECONDS] RECIPE.json…
 *
 * Modes difference, addift and leco; pictures are bundled ones or have a path relative to their recipe. --plain: no subgroups and no subgroup matrices. One JSON line a run; a run that fails is a line with
 * `error`. Start it in the project's folder.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { openTextEncoder } from '../src/diffusion/text';
import { decodePng } from '../src/formats/png';
import { openGpu } from '../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../src/gpu/node';
import type { ImageRef, Recipe } from '../src/recipe/recipe';
import { parseRecipe } from '../src/recipe/schema';
import { TrainingControl } from '../src/training/events';
import type { TrainingEvent } from '../src/training/events';
import type { Conditioning } from '../src/training/sample';
import { trainRecipe } from '../src/training/train';
import type { TrainingInputs } from '../src/training/train';
import { Lab } from './acceptance/lab';

const { values: args, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		out: { type: 'string', default: '.' },
		fast: { type: 'boolean', default: false },
		plain: { type: 'boolean', default: false },
		until: { type: 'string', default: '1e9' }
	}
});

const gpu = await openGpu(await dawn(args.fast ? FAST_FLAGS : undefined), args.plain ? { subgroups: false } : {});
const lab = await Lab.open(gpu, 'f16');
const encoder = openTextEncoder(lab.checkpoint);
const texts = new Map<string, Conditioning>();
const latents = new Map<string, Float32Array>();

async function text(prompt: string): Promise<Conditioning> {
	const known = texts.get(prompt) ?? { context: await encoder.encode([prompt]) };
	texts.set(prompt, known);
	return known;
}

async function latent(ref: ImageRef, folder: string): Promise<Float32Array> {
	const path = ref.bundled === undefined ? join(folder, ref.path ?? ref.name) : `public/samples/${ref.bundled}`;
	const known = latents.get(path) ?? (await lab.vae.latent(decodePng(new Uint8Array(readFileSync(path)))));
	latents.set(path, known);
	return known;
}

async function inputsOf({ mode, images, prompts, leco }: Recipe, folder: string): Promise<TrainingInputs> {
	if (mode === 'leco') return { kind: 'words', height: 16, width: 16, conditioning: { original: await text(leco.original), target: await text(leco.target) } };
	const pair = { original: await latent(images.original, folder), target: await latent(images.target, folder) };
	const conditioning = { original: await text(prompts.original), target: await text(prompts.target) };
	return { kind: 'pairs', buckets: [{ height: 16, width: 16, pairs: [pair] }], conditioning };
}

async function train(file: string): Promise<Record<string, unknown>> {
	const parsed = parseRecipe(JSON.parse(readFileSync(file, 'utf8')));
	if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join(' '));
	const { recipe } = parsed;
	let last: TrainingEvent | undefined;
	const emit = (event: TrainingEvent): void => {
		if (event.type === 'progress') last = event;
		if (event.type === 'file' && event.role === 'result') writeFileSync(join(args.out, `${basename(file, '.json')}.safetensors`), new Uint8Array(event.bytes));
	};
	const inputs = await inputsOf(recipe, dirname(file));
	const { config } = lab.checkpoint;
	await trainRecipe({ gpu, weights: lab.weights, config, recipe, inputs, control: new TrainingControl(), emit, version: 'recipes' });
	return { name: recipe.name, loss: last?.type === 'progress' ? last.lossAverage : null };
}

mkdirSync(args.out, { recursive: true });
for (const file of positionals) {
	const began = performance.now();
	if (began > 1000 * Number(args.until)) break;
	const row = await train(file).catch((error: unknown) => ({ error: String(error) }));
	process.stdout.write(`${JSON.stringify({ file: basename(file), ...row, seconds: Math.round(performance.now() - began) / 1000 })}\n`);
}
await encoder.close();
// Dawn keeps the process alive while its instance exists.
process.exit(0);
