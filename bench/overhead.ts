/**
 * What looking after a run costs beside its steps: the guard's looks and copies, snapshots to disk, the probe; pass 1 of the difference method with its default settings. JSON lines, one a part,
 * each with its share of the training at the recipe's usual cadence.
 *
 *   npx vite build --ssr bench/overhead.ts --outDir dist/bench
 *   node dist/bench/overhead.js [--model FILE] [--side 128] [--rounds 6] [--rank 16] [--batch 2] [--optimizer lion] [--fast]
 *
 * One process, one compiled step. Every round makes ten steps without anything, the same ten with the guard looking, and then each part by itself between two moments at which the GPU has nothing to do
 * (so nothing is hidden behind other work: an upper bound); medians over the rounds count. On a software adapter the time is the processor time of the process (`cpu`), which other programs on the machine hardly
 * disturb: there the process computes the steps too. Elsewhere it is the clock's.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openCheckpoint } from '../src/diffusion/checkpoint';
import { latentFactor } from '../src/diffusion/config';
import { loadUnetWeights } from '../src/diffusion/weights';
import { fileSource } from '../src/formats/node';
import { openGpu } from '../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../src/gpu/node';
import { openRunMemory } from '../src/jobs/resume';
import { createOptimizer } from '../src/kernels/optimizer';
import { compile } from '../src/kernels/program';
import { WeightStore } from '../src/kernels/weights';
import { defaultRecipe } from '../src/recipe/defaults';
import { defaultOptimizer, OPTIMIZER_KINDS } from '../src/recipe/optimizers';
import { folderSlots } from '../src/storage/snapshots/node';
import { snapshotStore } from '../src/storage/snapshots/snapshots';
import { denoisingObjective } from '../src/training/denoising';
import { TrainingControl } from '../src/training/events';
import { lookEvery, median } from '../src/training/guard';
import { GuardDriver, GuardMemory } from '../src/training/guard-driver';
import { LossReporter } from '../src/training/loss-reporter';
import { LossScaler } from '../src/training/loss-scale';
import { freshNetwork } from '../src/training/network';
import { Observer } from '../src/training/observer';
import { capturePass } from '../src/training/pass-state';
import { networkPlan } from '../src/training/run-kit';
import { clockOf, spent } from './overhead/spent';
import type { Spent } from './overhead/spent';

const { values: args } = parseArgs({
	options: {
		model: { type: 'string', default: 'public/models/mini.safetensors' },
		side: { type: 'string', default: '128' },
		rounds: { type: 'string', default: '6' },
		rank: { type: 'string', default: '16' },
		batch: { type: 'string', default: '2' },
		optimizer: { type: 'string', default: 'lion' },
		fast: { type: 'boolean', default: false }
	}
});
/** Steps between two looks of the guard in a pass of usual length. */
const GROUP = lookEvery(1000);

const gpu = await openGpu(await dawn(args.fast ? FAST_FLAGS : undefined));
const checkpoint = await openCheckpoint(await fileSource(args.model));
const weights = new WeightStore(gpu, 'f16');
await loadUnetWeights(checkpoint, weights);
const { config } = checkpoint;
const side = Number(args.side) / latentFactor(config.vae);
const latent = Float32Array.from({ length: side * side * 4 }, (_, i) => Math.sin(i * 12.9898) * 1.5);
const context = Float32Array.from({ length: 77 * config.unet.contextDim }, (_, i) => Math.cos(i * 7.77));
const conditioning = { context, ...(config.unet.vectorDim > 0 ? { vector: new Float32Array(config.unet.vectorDim).fill(0.1) } : {}) };

const recipe = defaultRecipe(config.family);
const settings = recipe.passes.copier;
const kind = OPTIMIZER_KINDS.find((name) => name === args.optimizer) ?? 'lion';
const rank = Number(args.rank);
Object.assign(settings, { rank, alpha: rank, batch: Number(args.batch), iterations: 10_000, learningRate: 1e-6, optimizer: defaultOptimizer(kind) });
const plan = networkPlan(config, recipe, 'copier');
const objective = denoisingObjective({ config, storage: 'f16', settings, seed: 1, latent, height: side, width: side, conditioning, frozen: [], trained: plan });
const [step] = objective.shapes;
if (!step) throw new Error('The objective has no step.');
const network = await freshNetwork(gpu, plan, settings.optimizer, 1);
const optimizer = await createOptimizer(gpu, network.store, settings.optimizer);
const program = await compile(gpu, step.graph, { weights, factors: [network.store], gradients: step.gradients, history: [step.loss], label: 'step' });
const memory = await GuardMemory.create(gpu, network.store, recipe.guard);
if (!memory) throw new Error('The guard is off.');
objective.begin(program, 0);

const shared = { gpu, weights, config: config.unet, pass: 'copier', settings, objective, emit: () => undefined, later: [] } as const;
const control = new TrainingControl();
const observer = await Observer.create({
	...shared,
	source: objective.probe,
	frozen: [],
	network,
	probeEvery: recipe.probe.every,
	preview: undefined,
	control
});
const scaler = new LossScaler(true);
const reporter = new LossReporter({ ...shared, rateAt: () => settings.learningRate }, [program]);
const skipped = (): Promise<number> => optimizer.skipped();
const { iterations } = settings;
const guard = new GuardDriver({ ...shared, memory, settings: recipe.guard, iterations, observer, scaler, reporter, skipped });
const folder = await mkdtemp(join(tmpdir(), 'utsushi-overhead-'));
let bytes = 0;
const kept = await openRunMemory(
	{ store: snapshotStore(folderSlots(folder)), job: 'bench', resume: false },
	{ identity: 'bench', device: 'bench', version: 'bench', recipe, emit: (event) => void (event.type === 'snapshot' && (bytes = event.bytes)) }
);

let k = 0;
async function train(watched: boolean): Promise<void> {
	for (let i = 0; i < GROUP; i++) {
		const { scalars } = objective.write(k, [program]);
		await program.run({ ...scalars, lossScale: scaler.scale });
		reporter.ran(0);
		k++;
		optimizer.run({ learningRate: settings.learningRate, lossScale: scaler.scale });
		await reporter.after(k);
		if (watched && (await guard.after(k)).action !== 'go') throw new Error('The guard stepped in, so this is no ordinary run.');
	}
	await program.idle();
}

const parts = {
	bare: () => train(false),
	watched: () => train(true),
	look: () => Promise.all([memory.meter.measure(), skipped(), reporter.flush()]),
	copy: () => Promise.resolve(memory.copies[1].take()),
	snapshot: async () => {
		const pass = await capturePass({ network, scaler, reporter, observer, guard, skipped }, 'copier', k, undefined);
		if (!pass) throw new Error('Nothing was captured.');
		await kept.save({ seeds: { copier: 1, difference: 2 }, startedAt: 0, pass });
	},
	probe: () => observer.probe(k)
};
type Part = keyof typeof parts;
const costs: Record<Part, Spent[]> = { bare: [], watched: [], look: [], copy: [], snapshot: [], probe: [] };

await observer.probe(0);
guard.begin(0);
for (let round = 0; round <= Number(args.rounds); round++) {
	// The first round warms up; which of the two groups comes first changes from round to round.
	const groups: Part[] = round % 2 === 0 ? ['bare', 'watched'] : ['watched', 'bare'];
	for (const part of [...groups, 'look', 'copy', 'snapshot', 'probe'] as Part[]) {
		const taken = await spent(gpu, parts[part]);
		if (round > 0) costs[part].push(taken);
	}
}
await rm(folder, { recursive: true, force: true });

const clock = clockOf(gpu);
const typical = (part: Part, by: keyof Spent = clock): number => median(costs[part].map((taken) => taken[by]));
const stepMs = typical('bare') / GROUP;
const ratios = costs.bare.map((bare, i) => (costs.watched[i]?.[clock] ?? NaN) / bare[clock] - 1);
const percent = (share: number): number => Number((100 * share).toFixed(3));
const line = (row: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify(row)}\n`);
/** One part's own milliseconds and its share when it comes every so many steps. */
const part = (name: Part, every: number, more: Record<string, unknown> = {}): void =>
	line({
		part: name,
		ms: Number(typical(name).toFixed(2)),
		wallMs: Number(typical(name, 'wall').toFixed(2)),
		every,
		percent: percent(typical(name) / (stepMs * every)),
		...more
	});

line({
	adapter: gpu.adapter.description || gpu.adapter.device,
	family: config.family,
	side: Number(args.side),
	rank,
	batch: settings.batch,
	optimizer: kind,
	clock,
	stepMs: Number(stepMs.toFixed(1)),
	stepWallMs: Number((typical('bare', 'wall') / GROUP).toFixed(1))
});
part('look', GROUP);
// A fresh candidate at most every fifth look.
part('copy', 5 * GROUP);
line({ part: 'guard, paired groups', percent: percent(median(ratios)), all: ratios.map(percent) });
part('snapshot', recipe.saving.snapshotEvery, { megabytes: Number((bytes / 1e6).toFixed(1)) });
part('probe', recipe.probe.every);
// Dawn keeps the process alive while its instance exists.
process.exit(0);
