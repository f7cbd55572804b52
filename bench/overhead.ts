/**
 * What looking after a run costs, in steps a second: the guard, snapshots to disk at the usual cadence, the probe; and what training the text encoder (block BASE) adds. Mode LoRA, one picture a
 * step. JSON lines, one a variant.
 *
 *   npx vite build --ssr bench/overhead.ts --outDir dist/bench
 *   node dist/bench/overhead.js [--model FILE] [--side 128] [--steps 200] [--rounds 3] [--rank 16] [--optimizer lion] [--only a,b] [--fast]
 *
 * Variants run in turns, round by round, so that what else the machine does meets all of them; the best round of each counts, timed from a quarter of its steps to the last.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadTextWeights } from '../src/diffusion/clip-graph';
import { openCheckpoint } from '../src/diffusion/checkpoint';
import { latentFactor } from '../src/diffusion/config';
import { embedCaptions } from '../src/diffusion/text-input';
import { loadUnetWeights } from '../src/diffusion/weights';
import { fileSource } from '../src/formats/node';
import { openGpu } from '../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../src/gpu/node';
import { openRunMemory } from '../src/jobs/resume';
import { WeightStore } from '../src/kernels/weights';
import { defaultRecipe, UNET_BLOCKS } from '../src/recipe/defaults';
import { defaultOptimizer } from '../src/recipe/optimizers';
import type { Recipe } from '../src/recipe/recipe';
import { folderSlots } from '../src/storage/snapshots/node';
import { snapshotStore } from '../src/storage/snapshots/snapshots';
import { TrainingControl } from '../src/training/events';
import { trainRecipe } from '../src/training/train';

const { values: args } = parseArgs({
	options: {
		model: { type: 'string', default: 'public/models/mini.safetensors' },
		side: { type: 'string', default: '128' },
		steps: { type: 'string', default: '200' },
		rounds: { type: 'string', default: '3' },
		rank: { type: 'string', default: '16' },
		optimizer: { type: 'string', default: 'lion' },
		only: { type: 'string', default: '' },
		fast: { type: 'boolean', default: false }
	}
});
const steps = Number(args.steps);

interface Variant {
	readonly name: string;
	readonly guard: Recipe['guard']['action'];
	/** Steps between; 0: none. */
	readonly snapshots: number;
	readonly probe: number;
	readonly text?: boolean;
}
const VARIANTS: readonly Variant[] = [
	{ name: 'bare', guard: 'off', snapshots: 0, probe: 0 },
	{ name: 'guard', guard: 'rollback', snapshots: 0, probe: 0 },
	{ name: 'snapshots every 100', guard: 'off', snapshots: 100, probe: 0 },
	{ name: 'probe every 50', guard: 'off', snapshots: 0, probe: 50 },
	{ name: 'all', guard: 'rollback', snapshots: 100, probe: 50 },
	{ name: 'text encoder', guard: 'off', snapshots: 0, probe: 0, text: true }
];

const gpu = await openGpu(await dawn(args.fast ? FAST_FLAGS : undefined));
const checkpoint = await openCheckpoint(await fileSource(args.model));
const weights = new WeightStore(gpu, 'f16');
await loadUnetWeights(checkpoint, weights);
const { config } = checkpoint;
const side = Number(args.side) / latentFactor(config.vae);
const latent = Float32Array.from({ length: side * side * 4 }, (_, i) => Math.sin(i * 12.9898) * 1.5);
const context = Float32Array.from({ length: 77 * config.unet.contextDim }, (_, i) => Math.cos(i * 7.77));
const [text] = await embedCaptions(checkpoint, ['1girl, solo, looking at viewer, upper body, simple background']);
const conditioning = { context, text, ...(config.unet.vectorDim > 0 ? { vector: new Float32Array(config.unet.vectorDim).fill(0.1) } : {}) };
const folder = await mkdtemp(join(tmpdir(), 'utsushi-overhead-'));

function recipeOf({ guard, snapshots, probe, text: words }: Variant): Recipe {
	const recipe = defaultRecipe(config.family, 'lora');
	const blocks = words ? [...UNET_BLOCKS, 'BASE' as const] : [...UNET_BLOCKS];
	const optimizer = defaultOptimizer(args.optimizer);
	Object.assign(recipe.passes.difference, {
		rank: Number(args.rank),
		alpha: Number(args.rank),
		iterations: steps,
		batch: 1,
		learningRate: 1e-5,
		seed: 1,
		optimizer,
		blocks
	});
	recipe.guard.action = guard;
	recipe.probe.every = probe;
	recipe.preview.every = 0;
	recipe.saving.snapshotEvery = snapshots;
	return recipe;
}

interface Measured {
	readonly stepsPerSecond: number;
	readonly bytes: number;
}

async function measure(variant: Variant, round: number): Promise<Measured> {
	const recipe = recipeOf(variant);
	if (variant.text) await loadTextWeights(checkpoint, weights);
	let begun = { step: 0, at: 0 };
	let rate = 0;
	let bytes = 0;
	const job = `${VARIANTS.indexOf(variant)}-${round}`;
	const store = snapshotStore(folderSlots(folder));
	const memory =
		variant.snapshots > 0
			? await openRunMemory({ store, job, resume: false }, { identity: job, device: 'bench', version: 'bench', recipe, emit: () => undefined })
			: undefined;
	await trainRecipe({
		gpu,
		weights,
		config,
		recipe,
		inputs: { kind: 'pictures', buckets: [{ height: side, width: side, pictures: [{ latent, conditioning }] }] },
		control: new TrainingControl(),
		version: 'bench',
		memory,
		emit(event) {
			if (event.type === 'memory') bytes = event.allocated;
			if (event.type !== 'progress') return;
			const at = performance.now();
			if (begun.at === 0 && event.step >= steps / 4) begun = { step: event.step, at };
			else if (event.step > begun.step && begun.at > 0 && at > begun.at) rate = (event.step - begun.step) / ((at - begun.at) / 1000);
		}
	});
	return { stepsPerSecond: rate, bytes };
}

const best = new Map<string, Measured>();
const chosen = VARIANTS.filter(({ name }) => args.only === '' || args.only.split(',').includes(name));
try {
	for (let round = 0; round < Number(args.rounds); round++) {
		for (const variant of chosen) {
			const found = await measure(variant, round);
			if (found.stepsPerSecond > (best.get(variant.name)?.stepsPerSecond ?? 0)) best.set(variant.name, found);
		}
	}
} finally {
	await rm(folder, { recursive: true, force: true });
}
const bare = best.get('bare')?.stepsPerSecond;
for (const [variant, { stepsPerSecond, bytes }] of best) {
	const cost = bare === undefined ? null : Number((100 * (bare / stepsPerSecond - 1)).toFixed(2));
	const row = { variant, adapter: gpu.adapter.description || gpu.adapter.device, family: config.family, side: Number(args.side), rank: Number(args.rank) };
	process.stdout.write(
		`${JSON.stringify({ ...row, optimizer: args.optimizer, stepsPerSecond: Number(stepsPerSecond.toFixed(3)), costPercent: cost, megabytes: Math.round(bytes / 1e6) })}\n`
	);
}
// Dawn keeps the process alive while its instance exists.
process.exit(0);
