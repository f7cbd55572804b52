/**
 * What finder, guard and probe say in this engine, on the mini model: the finder's rate beside a grid of fixed rates, and runs at ten times and a tenth of the usual rate
 * with the guard on. One JSON line a run.
 *
 *   npx vite build --ssr bench/judgement.ts --outDir dist/bench
 *   node dist/bench/judgement.js [--pass copier|difference|addift] [--optimizer adamw|lion] [--only finder|guard] [--seeds 1,2,3] [--steps 60] [--fast]
 *
 * `loss` is the probe's: at fixed noise, by that without the network. Grid: the usual rate × 2^-6 … 2^3, `--steps` each. Start it in the project's folder.
 */
import { parseArgs } from 'node:util';
import { openGpu } from '../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../src/gpu/node';
import { defaultPasses, defaultRecipe } from '../src/recipe/defaults';
import { defaultOptimizer } from '../src/recipe/optimizers';
import type { Recipe } from '../src/recipe/recipe';
import { denoisingObjective } from '../src/training/denoising';
import { TrainingControl } from '../src/training/events';
import type { TrainingEvent } from '../src/training/events';
import { adviseRate } from '../src/training/finder';
import { runRamp } from '../src/training/finder-run';
import { RunKit } from '../src/training/run-kit';
import { objectiveOf, trainRecipe } from '../src/training/train';
import type { TrainOptions } from '../src/training/train';
import { Lab } from './acceptance/lab';

const { values: args } = parseArgs({
	options: {
		pass: { type: 'string', default: 'copier' },
		optimizer: { type: 'string', default: 'adamw' },
		only: { type: 'string' },
		seeds: { type: 'string', default: '1,2,3' },
		steps: { type: 'string', default: '60' },
		fast: { type: 'boolean', default: false }
	}
});
/** The rates and steps of the model's reference runs. */
const USUAL = {
	copier: { adamw: 5e-3, lion: 1e-3, steps: 300 },
	difference: { adamw: 3e-3, lion: 3e-4, steps: 150 },
	addift: { adamw: 5e-3, lion: 1e-3, steps: 60 }
} as const;
const pass = args.pass === 'difference' || args.pass === 'addift' ? args.pass : 'copier';
const optimizer = args.optimizer === 'lion' ? 'lion' : 'adamw';
const usual = USUAL[pass][optimizer];
const seeds = args.seeds.split(',').map(Number);
const trainedPass = pass === 'copier' ? 'copier' : 'difference';

const gpu = await openGpu(await dawn(args.fast ? FAST_FLAGS : undefined));
const lab = await Lab.open(gpu, 'f16');
const pair = { original: await lab.latent('front/closed.png'), target: await lab.latent('front/a.png') };

function recipeOf(rate: number, steps: number, seed: number, guard: Recipe['guard']['action']): Recipe {
	const mode = pass === 'addift' ? 'addift' : 'difference';
	const recipe: Recipe = { ...defaultRecipe('mini'), name: 'judgement', mode, passes: defaultPasses('mini', mode), storage: 'f16' };
	Object.assign(recipe.passes[trainedPass], { optimizer: defaultOptimizer(optimizer), learningRate: rate, iterations: steps, seed });
	recipe.copier.only = pass === 'copier';
	recipe.preview.every = 0;
	recipe.guard.action = guard;
	recipe.probe.every = guard === 'off' ? steps : Math.max(5, Math.round(steps / 12));
	return recipe;
}

function options(recipe: Recipe, emit: (event: TrainingEvent) => void): TrainOptions {
	return {
		gpu,
		weights: lab.weights,
		config: lab.checkpoint.config,
		recipe,
		inputs: { kind: 'pairs', buckets: [{ height: 16, width: 16, pairs: [pair] }], conditioning: { original: lab.empty, target: lab.empty } },
		control: new TrainingControl(),
		emit,
		version: 'judgement'
	};
}

/** The frozen network of pass 2. */
const copier = pass === 'difference' ? (await trainRecipe(options(copierRecipe(), () => undefined))).copier : undefined;

function copierRecipe(): Recipe {
	const recipe: Recipe = { ...defaultRecipe('mini'), name: 'copier', storage: 'f16' };
	recipe.copier.only = true;
	recipe.preview.every = 0;
	return recipe;
}

async function train(rate: number, steps: number, seed: number, guard: Recipe['guard']['action']): Promise<Record<string, unknown>> {
	const events: TrainingEvent[] = [];
	const run = options(recipeOf(rate, steps, seed, guard), (event) => void events.push(event));
	const { network, copier: made } = await trainRecipe(copier ? { ...run, copier } : run);
	const probes = events.filter((event) => event.type === 'probe');
	const last = probes.at(-1);
	const ratio = (p: (typeof probes)[number]): number => Number((p.now / p.base).toPrecision(4));
	return {
		rate,
		steps,
		seed,
		made: Boolean(network ?? made),
		loss: last ? ratio(last) : null,
		worst: probes.length > 0 ? Math.max(...probes.map(ratio)) : null,
		verdict: last?.verdict,
		guard: events.filter((event) => event.type === 'guard').map(({ action, reason, step, to, factor }) => ({ action, reason, step, to, factor }))
	};
}

const print = (kind: string, row: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify({ kind, pass, optimizer, ...row })}\n`);

if (args.only !== 'guard') {
	for (const seed of seeds) {
		const run = options(recipeOf(usual, 80, seed, 'off'), () => undefined);
		const kit = new RunKit(run, { height: 16, width: 16 });
		const plan = kit.plan(trainedPass);
		const settings = run.recipe.passes[trainedPass];
		const latent = pass === 'copier' ? pair.original : pair.target;
		const objective =
			pass === 'addift'
				? objectiveOf(run, kit)
				: denoisingObjective({
						config: run.config,
						storage: 'f16',
						settings,
						seed,
						latent,
						height: 16,
						width: 16,
						conditioning: lab.empty,
						frozen: [],
						trained: plan
					});
		const common = { gpu, weights: lab.weights, settings, seed, objective, plan, control: run.control, compiling: () => undefined, onPoints: () => undefined };
		const advice = adviseRate(await runRamp({ ...common, low: 1e-6, high: 1e-1, steps: 80 }));
		print('finder', { seed, suggested: advice?.rate, brokeAt: advice?.brokeAt, reason: advice?.reason });
	}
	for (let k = -6; k <= 3; k++) print('grid', await train(usual * 2 ** k, Number(args.steps), seeds[0] ?? 1, 'off'));
}
if (args.only !== 'finder') {
	for (const seed of seeds)
		for (const factor of [10, 0.1, 1]) print('guard', { factor, ...(await train(usual * factor, USUAL[pass].steps, seed, 'rollback')) });
}
// Dawn keeps the process alive while its instance exists.
process.exit(0);
