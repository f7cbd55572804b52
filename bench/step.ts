/**
 * One training step of the bundled model: pass 1 with its default settings (rank 16 on 192 modules, AdamW, batch 2), on random latents.
 * It is the step that `peers/mini_step.py` measures in PyTorch.
 */
import type { OpenModel } from '../src/jobs/model';
import type { Gpu } from '../src/gpu/gpu';
import { createOptimizer } from '../src/kernels/optimizer';
import { compile, type Program } from '../src/kernels/program';
import type { Timing } from '../src/kernels/profile';
import { defaultRecipe } from '../src/recipe/defaults';
import { networkPlan } from '../src/training/run-kit';
import { freshNetwork } from '../src/training/network';
import { drawStep } from '../src/training/noising';
import { buildStep, TOKENS, type TrainingStep } from '../src/training/step';

export interface StepReport {
	rank: number;
	batch: number;
	optimizer: string;
	storage: 'f32' | 'f16';
	/** Milliseconds from step to step with the queue kept full, median. */
	stepMs: number;
	stepsMeasured: number;
	/** CPU milliseconds to record and submit one step into an empty queue, median; `encodeShare` of the step. */
	encodeMs: number;
	encodeShare: number;
	/** The optimizer's share of `stepMs`, measured by itself; not among `families`. */
	optimizerMs: number;
	dispatches: number;
	pipelines: number;
	/** Building, differentiating and fusing the graph; then lowering, memory plan, pipelines and buffers. */
	graphMs: number;
	compileMs: number;
	plannedBytes: number;
	allocatedBytes: number;
	weightBytes: number;
	flops: number;
	/** Each dispatch timed by itself; compare shares, as nothing overlaps. */
	families: { family: string; dispatches: number; ms: number; share: number; gflops: number }[];
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

/** Seconds spent on the timing of whole steps. */
const BUDGET_MS = 12_000;
const MAX_STEPS = 60;
const OPTIMIZER_RUNS = 20;

function byFamily(timings: readonly Timing[]): StepReport['families'] {
	const total = timings.reduce((sum, { ms }) => sum + ms, 0);
	const families = new Map<string, { dispatches: number; ms: number; flops: number }>();
	for (const { family, ms, flops } of timings) {
		const entry = families.get(family) ?? { dispatches: 0, ms: 0, flops: 0 };
		families.set(family, { dispatches: entry.dispatches + 1, ms: entry.ms + ms, flops: entry.flops + flops });
	}
	return [...families]
		.map(([family, { dispatches, ms, flops }]) => ({ family, dispatches, ms, share: ms / total, gflops: ms > 0 ? flops / ms / 1e6 : 0 }))
		.sort((a, b) => b.ms - a.ms);
}

function writeInputs({ inputs }: TrainingStep, program: Program, batch: number): void {
	const random = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => Math.sin(i * 12.9898) * 1.5);
	program.write(inputs.latent, random(inputs.latent.shape.reduce((a, b) => a * b, 1)));
	program.write(inputs.context, random(batch * TOKENS * (inputs.context.shape[2] ?? 0)));
}

function writeStep({ inputs }: TrainingStep, program: Program, k: number): void {
	const draw = drawStep(11, k, defaultRecipe('mini').passes.copier);
	program.write(inputs.t, draw.t);
	program.write(inputs.coef, draw.coef);
	program.write(inputs.weight, draw.weight);
	program.write(inputs.counter, draw.counter);
}

export async function measureStep(gpu: Gpu, model: OpenModel, storage: 'f32' | 'f16', onProgress: (label: string) => void): Promise<StepReport> {
	const { config } = model.checkpoint;
	const recipe = defaultRecipe('mini');
	const settings = recipe.passes.copier;
	onProgress('mini step: weights');
	const weights = await model.weights(gpu, storage);
	const plan = networkPlan(config, recipe, 'copier');
	const network = await freshNetwork(gpu, plan, settings.optimizer, 11);
	const side = config.resolution / 8;

	onProgress('mini step: building');
	const started = performance.now();
	const step = buildStep(config.unet, { height: side, width: side, storage }, settings, { frozen: [], trained: plan });
	const built = performance.now();
	const program = await compile(gpu, step.graph, { weights, factors: [network.store], gradients: step.gradients, history: [step.loss], label: 'bench' });
	const compiled = performance.now();
	const optimizer = await createOptimizer(gpu, network.store, settings.optimizer);
	let k = 0;
	const run = async (): Promise<void> => {
		writeStep(step, program, k++);
		await program.run({ lossScale: 1024 });
		optimizer.run({ learningRate: 1e-4, lossScale: 1024 });
	};
	const idle = async (): Promise<void> => {
		await program.idle();
		await gpu.device.queue.onSubmittedWorkDone();
	};
	try {
		writeInputs(step, program, settings.batch);
		for (let i = 0; i < 3; i++) await run();
		await idle();
		onProgress('mini step: timing');
		const encode: number[] = [];
		for (let i = 0; i < 5; i++) {
			const before = performance.now();
			await run();
			encode.push(performance.now() - before);
			await idle();
		}
		const stepTimes: number[] = [];
		const begin = performance.now();
		// Groups of steps with the queue kept full inside; the median group tells the time of a step.
		const group = 5;
		while (stepTimes.length * group < MAX_STEPS && performance.now() - begin < BUDGET_MS) {
			const before = performance.now();
			for (let i = 0; i < group; i++) await run();
			await idle();
			stepTimes.push((performance.now() - before) / group);
		}
		const optimizerStart = performance.now();
		for (let i = 0; i < OPTIMIZER_RUNS; i++) optimizer.run({ learningRate: 1e-4, lossScale: 1024 });
		await idle();
		const optimizerMs = (performance.now() - optimizerStart) / OPTIMIZER_RUNS;
		onProgress('mini step: by family');
		const families = byFamily(await program.profile({ lossScale: 1024 }));
		const stepMs = median(stepTimes);
		const encodeMs = median(encode);
		const { dispatches, pipelines, plannedBytes, allocatedBytes, flops } = program.summary;
		return {
			rank: settings.rank,
			batch: settings.batch,
			optimizer: settings.optimizer.kind,
			storage,
			stepMs,
			stepsMeasured: stepTimes.length * group,
			encodeMs,
			encodeShare: encodeMs / stepMs,
			optimizerMs,
			dispatches,
			pipelines,
			graphMs: built - started,
			compileMs: compiled - built,
			plannedBytes,
			allocatedBytes,
			weightBytes: weights.bytes,
			flops,
			families
		};
	} finally {
		optimizer.destroy();
		program.destroy();
		network.store.destroy();
	}
}
