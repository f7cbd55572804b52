/**
 * Steps a second of every training mode relative to the difference method with Lion: the mini model, rank 4 on 192 modules, one picture a step. One JSON line.
 *
 *   npx vite build --ssr bench/modes.ts --outDir dist/bench
 *   node dist/bench/modes.js [--storage f16|f32] [--rounds 5] [--fast]
 *
 * All modes are measured in turns, group by group, so that what else the machine does meets all of them; the best group of each counts. `work` is what the step's
 * dispatches compute, in the same relation. Start it in the project's folder.
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
import { defaultOptimizer } from '../src/recipe/optimizers';
import type { Recipe } from '../src/recipe/recipe';
import { addiftObjective } from '../src/training/addift';
import { denoisingObjective } from '../src/training/denoising';
import { lecoObjective } from '../src/training/leco';
import { freshNetwork } from '../src/training/network';
import type { Objective } from '../src/training/objective';
import { picturesObjective } from '../src/training/pictures';
import { networkPlan } from '../src/training/run-kit';

const { values: args } = parseArgs({
	options: { storage: { type: 'string', default: 'f16' }, rounds: { type: 'string', default: '5' }, fast: { type: 'boolean', default: false } }
});
/** Steps of a group, with the queue kept full inside. */
const GROUP = 2;
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

const optimizer = await createOptimizer(gpu, network.store, settings.optimizer);
const made: { name: string; objective: Objective; program: Program; best: number }[] = [];
for (const [name, objective] of Object.entries(objectives)) {
	const [step] = objective.shapes;
	if (!step) continue;
	const program = await compile(gpu, step.graph, { weights, factors: [copier.store, network.store], gradients: step.gradients, label: name });
	objective.begin(program, 0);
	made.push({ name, objective, program, best: Infinity });
}
let k = 0;
for (let round = 0; round <= Number(args.rounds); round++) {
	for (const mode of made) {
		const before = performance.now();
		for (let i = 0; i < GROUP; i++) {
			const { scalars } = mode.objective.write(k++, [mode.program]);
			await mode.program.run({ ...scalars, lossScale: 1024 });
			optimizer.run({ learningRate: 1e-5, lossScale: 1024 });
		}
		await mode.program.idle();
		await gpu.device.queue.onSubmittedWorkDone();
		// The first round warms up.
		if (round > 0) mode.best = Math.min(mode.best, (performance.now() - before) / GROUP);
	}
}
const [reference] = made;
const modes = made.map(({ name, program, best }) => ({
	mode: name,
	stepMs: Math.round(best),
	speed: Number(((reference?.best ?? 0) / best).toFixed(2)),
	work: Number((program.summary.flops / (reference?.program.summary.flops ?? 1)).toFixed(2)),
	dispatches: program.summary.dispatches
}));
process.stdout.write(`${JSON.stringify({ adapter: gpu.adapter.description || gpu.adapter.device, storage, modes })}\n`);
// Dawn keeps the process alive while its instance exists.
process.exit(0);
