/**
 * What finder, guard and probe say in this engine, on the mini model: the finder's rate beside a grid of fixed rates, and runs at ten times and a tenth of the usual rate
 * with the guard on. One JSON line a run; a run of sixty steps takes one to two minutes on a software adapter with two cores.
 *
 *   npx vite build --ssr bench/judgement.ts --outDir dist/bench
 *   node dist/bench/judgement.js [--pass copier|difference|addift] [--optimizer adamw|lion] [--parts finder,grid,guard] [--seeds 1,2] [--steps 60] [--batch 1]
 *                                [--powers -4,-3,-2,-1,0,1,2] [--factors 10,1,0.1] [--ramp 80] [--copier-steps 100] [--fast]
 *
 * `loss` is the probe's: at fixed noise, by that without the network. Grid: the usual rate × 2^power, `--steps` each, the first of the seeds, no guard. `curve`: step and
 * loss of every probe. Start it in the project's folder.
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
import { adviseRate, smoothRatios } from '../src/training/finder';
import { runRamp } from '../src/training/finder-run';
import { RunKit } from '../src/training/run-kit';
import { objectiveOf, trainRecipe } from '../src/training/train';
import type { TrainOptions } from '../src/training/train';
import { Lab } from './acceptance/lab';

const { values: args } = parseArgs({
	options: {
		pass: { type: 'string', default: 'copier' },
		optimizer: { type: 'string', default: 'adamw' },
		parts: { type: 'string', default: 'finder,grid,guard' },
		seeds: { type: 'string', default: '1,2' },
		steps: { type: 'string', default: '60' },
		batch: { type: 'string', default: '1' },
		powers: { type: 'string', default: '-4,-3,-2,-1,0,1,2' },
		factors: { type: 'string', default: '10,1,0.1' },
		ramp: { type: 'string', default: '80' },
		'copier-steps': { type: 'string', default: '100' },
		fast: { type: 'boolean', default: false }
	}
});
/** The rates of the model's reference runs. */
const USUAL = {
	copier: { adamw: 5e-3, lion: 1e-3 },
	difference: { adamw: 3e-3, lion: 3e-4 },
	addift: { adamw: 5e-3, lion: 1e-3 }
} as const;
/** Probes of a run in part `guard`. */
const PROBES = 12;
const numbers = (list: string): number[] => list.split(',').map(Number);
const pass = args.pass === 'difference' || args.pass === 'addift' ? args.pass : 'copier';
const optimizer = args.optimizer === 'lion' ? 'lion' : 'adamw';
const usual = USUAL[pass][optimizer];
const seeds = numbers(args.seeds);
const steps = Number(args.steps);
const trainedPass = pass === 'copier' ? 'copier' : 'difference';

const began = performance.now();
const short = (value: number): number => Number(value.toPrecision(4));
const gpu = await openGpu(await dawn(args.fast ? FAST_FLAGS : undefined));
const lab = await Lab.open(gpu, 'f16');
const pair = { original: await lab.latent('front/closed.png'), target: await lab.latent('front/a.png') };

function recipeOf(rate: number, iterations: number, seed: number, guard: Recipe['guard']['action']): Recipe {
	const mode = pass === 'addift' ? 'addift' : 'difference';
	const recipe: Recipe = { ...defaultRecipe('mini'), name: 'judgement', mode, passes: defaultPasses('mini', mode), storage: 'f16' };
	const settings = { optimizer: defaultOptimizer(optimizer), learningRate: rate, iterations, seed, batch: Number(args.batch) };
	Object.assign(recipe.passes[trainedPass], settings);
	recipe.copier.only = pass === 'copier';
	recipe.preview.every = 0;
	recipe.guard.action = guard;
	recipe.probe.every = guard === 'off' ? iterations : Math.max(1, Math.round(iterations / PROBES));
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

function print(kind: string, row: Record<string, unknown>): void {
	process.stdout.write(`${JSON.stringify({ kind, pass, optimizer, ...row, seconds: Math.round((performance.now() - began) / 1000) })}\n`);
}

/** The frozen network of pass 2; the finder does without, as in the app. */
const copier = pass === 'difference' ? (await trainRecipe(options(copierRecipe(), () => undefined))).copier : undefined;

function copierRecipe(): Recipe {
	const recipe: Recipe = { ...defaultRecipe('mini'), name: 'copier', storage: 'f16' };
	Object.assign(recipe.passes.copier, { iterations: Number(args['copier-steps']), batch: Number(args.batch) });
	recipe.copier.only = true;
	recipe.preview.every = 0;
	recipe.probe.every = 0;
	return recipe;
}

async function train(rate: number, seed: number, guard: Recipe['guard']['action']): Promise<Record<string, unknown>> {
	const events: TrainingEvent[] = [];
	const run = options(recipeOf(rate, steps, seed, guard), (event) => void events.push(event));
	// A pass that the guard stops for good throws; what it said is in its events.
	const ended = await trainRecipe(copier ? { ...run, copier } : run).then(
		() => 'done',
		(error: unknown) => (error instanceof Error ? error.message : String(error))
	);
	const probes = events.filter((event) => event.type === 'probe');
	const curve = probes.filter(({ step }) => step > 0).map(({ step, now, base }) => [step, short(now / base)] as const);
	return {
		rate: short(rate),
		steps,
		seed,
		ended,
		base: short(probes[0]?.base ?? NaN),
		loss: curve.at(-1)?.[1] ?? null,
		...(guard === 'off' ? {} : { verdicts: probes.slice(1).map(({ verdict }) => verdict), curve }),
		guard: events.filter((event) => event.type === 'guard').map(({ action, reason, step, to, factor }) => ({ action, reason, step, to, factor }))
	};
}

async function find(seed: number): Promise<Record<string, unknown>> {
	const run = options(recipeOf(usual, steps, seed, 'off'), () => undefined);
	const kit = new RunKit(run, { height: 16, width: 16 });
	const plan = kit.plan(trainedPass);
	const settings = run.recipe.passes[trainedPass];
	const noise = { config: run.config, storage: 'f16', settings, seed, height: 16, width: 16, conditioning: lab.empty, frozen: [], trained: plan } as const;
	const objective = pass === 'addift' ? objectiveOf(run, kit) : denoisingObjective({ ...noise, latent: pass === 'copier' ? pair.original : pair.target });
	const common = { gpu, weights: lab.weights, settings, seed, objective, plan, control: run.control, compiling: () => undefined, onPoints: () => undefined };
	const points = await runRamp({ ...common, low: 1e-6, high: 1e-1, steps: Number(args.ramp) });
	const advice = adviseRate(points);
	const curve = smoothRatios(points).filter((_, i) => i % 4 === 3);
	return {
		seed,
		suggested: advice?.rate,
		brokeAt: advice?.brokeAt,
		lowest: advice && { rate: short(advice.lowest.rate), value: short(advice.lowest.value) },
		reason: advice?.reason,
		curve: curve.map(({ rate, value }) => [short(rate), short(value)])
	};
}

const parts = args.parts.split(',');
if (parts.includes('finder')) for (const seed of seeds) print('finder', await find(seed));
if (parts.includes('grid')) for (const power of numbers(args.powers)) print('grid', { power, ...(await train(usual * 2 ** power, seeds[0] ?? 1, 'off')) });
if (parts.includes('guard')) {
	for (const seed of seeds) for (const factor of numbers(args.factors)) print('guard', { factor, ...(await train(usual * factor, seed, 'rollback')) });
}
// Dawn keeps the process alive while its instance exists.
process.exit(0);
