/**
 * Steps a second of every training mode and of every optimizer relative to the difference method with Lion (its second pass): the mini model, rank 4 on 192 modules, one picture a step. JSON lines.
 *
 *   npx vite build --ssr bench/modes.ts --outDir dist/bench
 *   node dist/bench/modes.js [--storage f16|f32] [--rounds 5] [--fast]
 *
 * All modes are measured in turns, group by group, so that what else the machine does meets all of them; the least of each counts, as other work only ever adds, on a software adapter of the processor time (`overhead/spent.ts`); `medianMs` is beside it. `work` is what
 * the step's dispatches compute, in the same relation. An optimizer's step is timed by itself, its gradients given, and put in the place of Lion's in the step of pass 2: nothing of it runs beside the
 * step. Start it in the project's folder.
 */
import { parseArgs } from 'node:util';
import { openCheckpoint } from '../src/diffusion/checkpoint';
import { loadUnetWeights } from '../src/diffusion/weights';
import { fileSource } from '../src/formats/node';
import { openGpu } from '../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../src/gpu/node';
import { createOptimizer } from '../src/kernels/optimizer';
import { compile } from '../src/kernels/program';
import type { Program } from '../src/kernels/program';
import { WeightStore } from '../src/kernels/weights';
import { defaultPasses, defaultRecipe } from '../src/recipe/defaults';
import { factorMemory } from '../src/kernels/optimizer-state';
import { FactorStore } from '../src/kernels/factors';
import { defaultOptimizer, OPTIMIZER_KINDS } from '../src/recipe/optimizers';
import type { OptimizerSettings } from '../src/recipe/optimizers';
import type { Recipe } from '../src/recipe/recipe';
import { addiftObjective } from '../src/training/addift';
import { denoisingObjective } from '../src/training/denoising';
import { lecoObjective } from '../src/training/leco';
import { median } from '../src/training/guard';
import { factorEntries, freshNetwork } from '../src/training/network';
import type { Objective } from '../src/training/objective';
import { picturesObjective } from '../src/training/pictures';
import { networkPlan } from '../src/training/run-kit';
import { clockOf, spent } from './overhead/spent';

const { values: args } = parseArgs({
	options: { storage: { type: 'string', default: 'f16' }, rounds: { type: 'string', default: '5' }, fast: { type: 'boolean', default: false } }
});
/** Steps of a group, with the queue kept full inside. */
const GROUP = 2;
/** Steps of an optimizer in one take. */
const RUNS = 8;
const storage = args.storage === 'f32' ? 'f32' : 'f16';

const gpu = await openGpu(await dawn(args.fast ? FAST_FLAGS : undefined));
const checkpoint = await openCheckpoint(await fileSource('public/models/mini.safetensors'));
const weights = new WeightStore(gpu, storage);
await loadUnetWeights(checkpoint, weights);
const { config } = checkpoint;

const recipe: Recipe = { ...defaultRecipe('mini'), passes: defaultPasses('mini', 'difference') };
Object.assign(recipe.passes.difference, { rank: 4, alpha: 4, batch: 1, optimizer: defaultOptimizer('lion') });
const settings = recipe.passes.difference;
const size = { height: 16, width: 16 };
const latent = Float32Array.from({ length: 1024 }, (_, i) => Math.sin(i * 12.9898) * 1.5);
const text = { context: Float32Array.from({ length: 77 * config.unet.contextDim }, (_, i) => Math.cos(i * 7.77)) };
const texts = { original: text, target: text };
const trained = networkPlan(config, recipe, 'difference');
const frozen = { label: 'copier', modules: networkPlan(config, recipe, 'copier').modules };
const network = await freshNetwork(gpu, trained, settings.optimizer, 1);
const copier = await freshNetwork(gpu, frozen, settings.optimizer, 2);

const common = { storage, settings, seed: 1, trained } as const;
const addift = recipe.addift;
const pairs = (count: number) => [{ ...size, pairs: Array.from({ length: count }, () => ({ original: latent, target: latent.map((x) => -x) })) }];
const objectives: Record<string, Objective> = {
	'difference, pass 2': denoisingObjective({ ...common, ...size, config, latent, conditioning: text, frozen: [frozen] }),
	'difference, pass 1': denoisingObjective({ ...common, ...size, config, latent, conditioning: text, frozen: [] }),
	addift: addiftObjective({ ...common, config: config.unet, addift, buckets: pairs(1), conditioning: texts }),
	multiAddift: addiftObjective({ ...common, config: config.unet, addift, buckets: pairs(3), conditioning: texts }),
	leco: lecoObjective({ ...common, ...size, config: config.unet, conditioning: texts }),
	lora: picturesObjective({ ...common, config, buckets: [{ ...size, pictures: [{ latent, conditioning: text }] }] })
};

const clock = clockOf(gpu);
const rounds = Number(args.rounds);
const optimizer = await createOptimizer(gpu, network.store, settings.optimizer);
const made: { name: string; objective: Objective; program: Program; ms: number[] }[] = [];
for (const [name, objective] of Object.entries(objectives)) {
	const [step] = objective.shapes;
	if (!step) continue;
	const program = await compile(gpu, step.graph, { weights, factors: [copier.store, network.store], gradients: step.gradients, label: name });
	objective.begin(program, 0);
	made.push({ name, objective, program, ms: [] });
}
let k = 0;
for (let round = 0; round <= rounds; round++) {
	for (const mode of made) {
		const taken = await spent(gpu, async () => {
			for (let i = 0; i < GROUP; i++) {
				const { scalars } = mode.objective.write(k++, [mode.program]);
				await mode.program.run({ ...scalars, lossScale: 1024 });
				optimizer.run({ learningRate: 1e-5, lossScale: 1024 });
			}
			await mode.program.idle();
		});
		// The first round warms up.
		if (round > 0) mode.ms.push(taken[clock] / GROUP);
	}
}
const [reference] = made;
const stepMs = Math.min(...(reference?.ms ?? []));
const modes = made.map(({ name, program, ms }) => ({
	mode: name,
	stepMs: Math.round(Math.min(...ms)),
	medianMs: Math.round(median(ms)),
	speed: Number((stepMs / Math.min(...ms)).toFixed(2)),
	work: Number((program.summary.flops / (reference?.program.summary.flops ?? 1)).toFixed(2)),
	dispatches: program.summary.dispatches
}));
const adapter = gpu.adapter.description || gpu.adapter.device;
process.stdout.write(`${JSON.stringify({ adapter, storage, clock, modes })}\n`);
for (const { program } of made) program.destroy();

/** Milliseconds of a step of the optimizer over the factors of pass 2: so many runs a take, as many takes as there are rounds. */
const entries = factorEntries(trained);
async function optimizerMs(kind: OptimizerSettings): Promise<number> {
	const store = await new FactorStore(gpu, entries, { trainable: true, optimizer: kind }).ready();
	// Every number moves and none is special; values do not matter for the time.
	const numbers = Float32Array.from({ length: store.elements }, (_, i) => ((i * 7919) % 1009) / 504.5 - 1);
	for (const buffer of store.buffers.slice(0, 2)) gpu.device.queue.writeBuffer(buffer, 0, numbers);
	const one = await createOptimizer(gpu, store, kind);
	const takes: number[] = [];
	for (let take = 0; take <= rounds; take++) {
		const taken = await spent(gpu, () => {
			for (let i = 0; i < RUNS; i++) one.run({ learningRate: 1e-4, lossScale: 1 });
			return Promise.resolve();
		});
		if (take > 0) takes.push(taken[clock] / RUNS);
	}
	one.destroy();
	store.destroy();
	return Math.min(...takes);
}

const eight = (['lion', 'adamw'] as const).map((kind) => ({ name: `${kind}, 8 bit`, kind: { ...defaultOptimizer(kind), stateBits: 8 as const } }));
const costs: { name: string; ms: number; bytes: number }[] = [];
for (const { name, kind } of [...OPTIMIZER_KINDS.map((one) => ({ name: one, kind: defaultOptimizer(one) })), ...eight]) {
	const { values, training } = factorMemory(entries, kind);
	costs.push({ name, ms: await optimizerMs(kind), bytes: (4 * (training - values)) / values });
}
const lion = costs.find(({ name }) => name === 'lion')?.ms ?? NaN;
const optimizers = costs.map(({ name, ms, bytes }) => ({
	optimizer: name,
	ms: Number(ms.toFixed(2)),
	toLion: Number((ms / lion).toFixed(2)),
	speed: Number((stepMs / (stepMs - lion + ms)).toFixed(3)),
	bytes: Number(bytes.toFixed(2))
}));
process.stdout.write(`${JSON.stringify({ adapter, clock, optimizers })}\n`);
// Dawn keeps the process alive while its instance exists.
process.exit(0);
