/**
 * Trains recipes one after the other in one process and writes their LoRAs: for sweeps, where starting and loading would take longer than training.
 *
 *   npx vite build --ssr bench/recipes.ts --outDir dist/bench
 *   node dist/bench/recipes.js [--out DIR] [--steps N] [--seed N] [--fast] [--plain] [--until SECONDS] RECIPE.json… | VOWEL…
 *
 * Every mode, read as `utsushi train` reads them (paths are relative to the recipe), but with the bundled mini model. --steps: iterations of every pass instead of the recipe's, for a
 * trial; --seed: another seed likewise. A VOWEL (a, i, u, e, o) is the recipe of the built-in preset for that mouth. --plain: no subgroups and no subgroup matrices. --until: begins no further run after so many seconds. One JSON line a run; a run that fails is a line with `error`.
 * Start it in the project's folder.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { openCheckpoint } from '../src/diffusion/checkpoint';
import { loadUnetWeights } from '../src/diffusion/weights';
import { fileSource } from '../src/formats/node';
import { openGpu } from '../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../src/gpu/node';
import { installationAt } from '../src/helper/installation';
import { loadRecipe, loadRecipeValue } from '../src/helper/recipeFile';
import { conditionerOf } from '../src/jobs/conditioner';
import { checkInputs, encodeInputs } from '../src/jobs/inputs';
import { WeightStore } from '../src/kernels/weights';
import { defaultRecipe } from '../src/recipe/defaults';
import { applyPreset } from '../src/recipe/presets';
import { mouthPair, mouthPreset, VOWELS } from '../src/recipe/presets-mouths';
import type { Vowel } from '../src/recipe/presets-mouths';
import type { Recipe } from '../src/recipe/recipe';
import { TrainingControl } from '../src/training/events';
import type { TrainingEvent } from '../src/training/events';
import { trainRecipe } from '../src/training/train';

const { values: args, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		out: { type: 'string', default: '.' },
		steps: { type: 'string' },
		seed: { type: 'string' },
		fast: { type: 'boolean', default: false },
		plain: { type: 'boolean', default: false },
		until: { type: 'string', default: '1e9' }
	}
});

const installation = installationAt(process.cwd());
const gpu = await openGpu(await dawn(args.fast ? FAST_FLAGS : undefined), args.plain ? { subgroups: false } : {});
const checkpoint = await openCheckpoint(await fileSource(installation.bundled('models/mini.safetensors')));
const conditioner = conditionerOf(checkpoint);
/** Weights in halves and in floats, each loaded when the first recipe asks for it. */
const stores = new Map<string, WeightStore>();

async function weightsOf(storage: 'f16' | 'f32'): Promise<WeightStore> {
	const known = stores.get(storage);
	if (known) return known;
	const store = new WeightStore(gpu, storage);
	await loadUnetWeights(checkpoint, store);
	stores.set(storage, store);
	return store;
}

/** The preset's run for a vowel, without previews. */
function mouthRecipe(vowel: Vowel): Recipe {
	const preset = mouthPreset(vowel);
	const recipe = applyPreset({ ...defaultRecipe('mini'), name: `mouth-${vowel}`, images: mouthPair(vowel) }, preset);
	return { ...recipe, preview: { ...recipe.preview, every: 0, seeds: [1], strengths: [0], steps: 1 }, probe: { every: 0 } };
}

async function train(file: string): Promise<Record<string, unknown>> {
	const vowel = VOWELS.find((one) => one === file);
	const input = vowel ? await loadRecipeValue(mouthRecipe(vowel), '.', installation) : await loadRecipe(file, installation);
	const { recipe } = input;
	if (recipe.model.bundled !== 'mini') throw new Error('Only recipes for the bundled mini model are trained here.');
	for (const pass of Object.values(recipe.passes)) {
		if (args.steps !== undefined) pass.iterations = Number(args.steps);
		if (args.seed !== undefined) pass.seed = Number(args.seed);
	}
	const errors = checkInputs(input, checkpoint.config).filter(({ level }) => level === 'error');
	if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join(' '));
	let last: TrainingEvent | undefined;
	let began = performance.now();
	const emit = (event: TrainingEvent): void => {
		if (event.type === 'state' && event.state === 'training') began = performance.now();
		if (event.type === 'progress') last = event;
		if (event.type === 'file' && event.role === 'result') writeFileSync(join(args.out, `${basename(file, '.json')}.safetensors`), new Uint8Array(event.bytes));
	};
	const inputs = await encodeInputs(input, checkpoint.config, conditioner, () => undefined);
	const weights = await weightsOf(recipe.storage);
	await trainRecipe({ gpu, weights, config: checkpoint.config, recipe, inputs, control: new TrainingControl(), emit, version: installation.version });
	return { name: recipe.name, loss: last?.type === 'progress' ? last.lossAverage : null, training: Math.round(performance.now() - began) / 1000 };
}

mkdirSync(args.out, { recursive: true });
for (const file of positionals) {
	const began = performance.now();
	if (began > 1000 * Number(args.until)) break;
	const row = await train(file).catch((error: unknown) => ({ error: String(error) }));
	process.stdout.write(`${JSON.stringify({ file: basename(file), ...row, seconds: Math.round(performance.now() - began) / 1000 })}\n`);
}
await conditioner.close();
// Dawn keeps the process alive while its instance exists.
process.exit(0);
