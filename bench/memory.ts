/**
 * GPU memory of a training pass by size, rank and batch, without a GPU: what the estimate plans, and what a run then allocates on a device that only counts. One JSON line a case.
 *
 *   npx vite build --ssr bench/memory.ts --outDir dist/bench
 *   node dist/bench/memory.js FILE [--cases SIZE:RANK:BATCH,…] [--base f16|int8] [--limits none,7,5] [--planned]
 *
 * Limits are GiB that the run may take (`none`: nothing is computed twice). `--planned` leaves the allocation out, which takes longer than the plan. `work` is by how much the step's work grows.
 * The device has the limits of a desktop card, halves and subgroups, no subgroup matrices; kernels, and with them scratch memory, are chosen for that.
 */
import { parseArgs } from 'node:util';
import { latentFactor } from '../src/diffusion/config';
import { openFileAsBlob } from '../src/formats/node';
import { unetConstants } from '../src/diffusion/unet-layout';
import { passMemory } from '../src/jobs/pass-memory';
import { openModel } from '../src/jobs/model';
import { WeightStore } from '../src/kernels/weights';
import { defaultRecipe } from '../src/recipe/defaults';
import { defaultOptimizer } from '../src/recipe/optimizers';
import type { Recipe } from '../src/recipe/recipe';
import { TrainingControl } from '../src/training/events';
import { trainRecipe } from '../src/training/train';
import { line } from './full/bed';
import { countingGpu } from './full/counting';

const { values: args, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		cases: { type: 'string', default: '' },
		base: { type: 'string', default: 'f16' },
		limits: { type: 'string', default: 'none' },
		planned: { type: 'boolean', default: false }
	}
});
const [path] = positionals;
if (path === undefined) throw new Error('Name a checkpoint.');

const GIB = 2 ** 30;
/** More than anything takes. */
const BOUNDLESS = 1024 * GIB;

const model = await openModel('bench', 'bench', await openFileAsBlob(path));
const { config } = model.checkpoint;
const { gpu, live } = countingGpu();

function recipeOf(rank: number, batch: number): Recipe {
	const recipe = defaultRecipe(config.family, 'lora');
	recipe.base = args.base === 'int8' ? 'int8' : 'f16';
	Object.assign(recipe.passes.difference, { rank, alpha: rank, batch, iterations: 1, optimizer: defaultOptimizer('adamw') });
	recipe.preview.every = 0;
	recipe.probe.every = 0;
	recipe.saving.snapshotEvery = 0;
	return recipe;
}

/** Thrown when training would begin: everything is allocated then. */
class Allocated extends Error {}

async function allocated(recipe: Recipe, side: number, limit: number): Promise<number> {
	const weights = new WeightStore(gpu, recipe.storage, recipe.base);
	const constants = unetConstants(config.unet);
	for (const { name, shape } of constants) weights.reserve(name, shape);
	const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
	const zeros = new Uint16Array(Math.max(...constants.map(({ shape }) => elements(shape))));
	for (const { name, shape } of constants) await weights.add(name, shape, zeros.subarray(0, elements(shape)));
	const latent = new Float32Array(side * side * 4).fill(0.5);
	const conditioning = { context: new Float32Array(77 * config.unet.contextDim), vector: new Float32Array(config.unet.vectorDim) };
	let bytes = 0;
	try {
		await trainRecipe({
			gpu,
			weights,
			config,
			recipe,
			inputs: { kind: 'pictures', buckets: [{ height: side, width: side, pictures: [{ latent, conditioning }] }] },
			gpuMemory: limit,
			control: new TrainingControl(),
			version: 'bench',
			emit: (event) => {
				if (event.type !== 'state' || event.state !== 'training') return;
				bytes = live.bytes;
				throw new Allocated();
			}
		});
	} catch (error) {
		if (!(error instanceof Allocated)) throw error;
	} finally {
		weights.destroy();
	}
	return bytes;
}

const cases = args.cases === '' ? [`${config.resolution}:16:1`] : args.cases.split(',');
for (const text of cases) {
	const [size = 512, rank = 16, batch = 1] = text.split(':').map(Number);
	const side = size / latentFactor(config.vae);
	for (const name of args.limits.split(',')) {
		const limit = name === 'none' ? BOUNDLESS : Number(name) * GIB;
		const recipe = recipeOf(rank, batch);
		const started = performance.now();
		const { memory, fit } = await passMemory(gpu, model, recipe, 'difference', [{ height: side, width: side }], limit);
		const seconds = (performance.now() - started) / 1000;
		const gib = Object.fromEntries(Object.entries(memory).flatMap(([key, value]) => (key === 'again' ? [] : [[key, Number((value / GIB).toFixed(3))]])));
		const taken = args.planned ? undefined : await allocated(recipe, side, limit);
		line({
			family: config.family,
			size,
			rank,
			batch,
			base: recipe.base,
			limit: name,
			fits: fit.fits,
			gib,
			work: fit.workRatio,
			dispatches: fit.steps[0]?.dispatches,
			seconds,
			...(taken === undefined ? {} : { allocatedByPlanned: taken / memory.total })
		});
	}
}
