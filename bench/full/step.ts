/**
 * One training step of a full-size UNet as the trainer makes it, and one forward pass as previews make it: time, rates and memory.
 * A denoising step: fresh noise, a timestep, prediction against noise, backward, AdamW; on random latents and contexts.
 */
import { unetModules } from '../../src/diffusion/unet-layout';
import { recompute } from '../../src/graph/recompute';
import { createOptimizer } from '../../src/kernels/optimizer';
import { compile } from '../../src/kernels/program';
import type { Program } from '../../src/kernels/program';
import { selectModules } from '../../src/lora/modules';
import { UNET_BLOCKS, defaultPasses } from '../../src/recipe/defaults';
import type { ModelFamily, PassSettings } from '../../src/recipe/recipe';
import { defaultOptimizer } from '../../src/recipe/optimizers';
import { freshNetwork } from '../../src/training/network';
import type { Network } from '../../src/training/network';
import { drawStep } from '../../src/training/noising';
import { buildForward } from '../../src/training/sample';
import { buildStep } from '../../src/training/step';
import type { Bed } from './bed';
import { rows } from './table';
import type { Row } from './table';

export interface Case {
	/** Side of the picture in pixels. */
	readonly size: number;
	readonly rank: number;
	/** Rank of 3×3 convolutions; 0: transformers only. */
	readonly convRank: number;
	readonly batch: number;
	/** For intermediates; absent: nothing is recomputed. */
	readonly budgetBytes: number | undefined;
	readonly steps: number;
	readonly profile: boolean;
}

interface Profile {
	readonly total: number;
	readonly families: Row[];
	/** The slowest shapes: kernel and arrays. */
	readonly shapes: Row[];
}

export interface StepResult {
	readonly msStep: number;
	readonly msBest: number;
	/** CPU time to record and submit one step into an empty queue. */
	readonly msRecording: number;
	readonly msOptimizer: number;
	readonly tflop: number;
	readonly tflops: number;
	readonly dispatches: number;
	readonly pipelines: number;
	readonly secondsGraph: number;
	readonly secondsRecompute: number;
	readonly secondsCompile: number;
	readonly bytes: {
		readonly weights: number;
		readonly activations: number;
		readonly lora: number;
		readonly optimizer: number;
		readonly staging: number;
		readonly planned: number;
		readonly allocated: number;
		readonly peak: number;
	};
	/** First and last; with random weights they only show that nothing broke. */
	readonly losses: readonly number[];
	readonly skipped: number;
	readonly profile?: Profile;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
/** Numbers of about unit size. */
const numbers = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898 + Math.sin(i * 0.37) * 78.233) * 1.4);

const SHAPES_SHOWN = 48;

async function profiled(program: Program, scalars: Readonly<Record<string, number>>): Promise<Profile> {
	const timings = await program.profile(scalars);
	return {
		total: timings.reduce((sum, { ms }) => sum + ms, 0),
		families: rows(timings, ({ family, shader }) => `${family} ${shader}`),
		shapes: rows(timings, ({ shader, shape }) => `${shader} ${shape}`).slice(0, SHAPES_SHOWN)
	};
}

function settingsOf(family: ModelFamily, { rank, convRank, batch }: Case): PassSettings {
	return {
		...defaultPasses(family, 'lora').difference,
		optimizer: defaultOptimizer('adamw'),
		blocks: [...UNET_BLOCKS],
		rank,
		alpha: rank,
		convRank,
		convAlpha: convRank,
		batch,
		learningRate: 1e-4
	};
}

export async function measureStep({ gpu, live, family, unet, weights }: Bed, given: Case): Promise<StepResult> {
	const settings = settingsOf(family, given);
	const plan = { label: 'bench', modules: selectModules(unetModules(unet), settings) };
	const [height, width] = [given.size / 8, given.size / 8];
	const before = performance.now();
	const step = buildStep(unet, { height, width, storage: weights.storage }, settings, { frozen: [], trained: plan });
	const built = performance.now();
	const graph = given.budgetBytes === undefined ? step.graph : recompute(step.graph, { budgetBytes: given.budgetBytes, external: step.gradients.values() });
	const chosen = performance.now();
	let network: Network | undefined;
	let program: Program | undefined;
	let optimizer: Awaited<ReturnType<typeof createOptimizer>> | undefined;
	live.resetPeak();
	try {
		network = await freshNetwork(gpu, plan, settings.optimizer, 11);
		const compiling = performance.now();
		program = await compile(gpu, graph, {
			weights,
			factors: [network.store],
			gradients: step.gradients,
			history: [step.loss],
			label: 'step'
		});
		const compiled = performance.now();
		optimizer = await createOptimizer(gpu, network.store, settings.optimizer);
		const { inputs } = step;
		program.write(inputs.latent, numbers(product(inputs.latent.shape)));
		program.write(inputs.context, numbers(product(inputs.context.shape)));
		if (inputs.vector) program.write(inputs.vector, numbers(product(inputs.vector.shape)));
		const allocated = live.bytes;
		let k = 0;
		const [running, updating] = [program, optimizer];
		const scalars = { lossScale: 128 };
		const run = async (): Promise<void> => {
			const draw = drawStep(11, k++, settings);
			running.write(inputs.t, draw.t);
			running.write(inputs.coef, draw.coef);
			running.write(inputs.weight, draw.weight);
			running.write(inputs.counter, draw.counter);
			await running.run(scalars);
			updating.run({ learningRate: settings.learningRate, lossScale: scalars.lossScale });
		};
		const idle = async (): Promise<void> => {
			await running.idle();
			await gpu.device.queue.onSubmittedWorkDone();
		};
		for (let i = 0; i < 2; i++) await run();
		await idle();
		const recording: number[] = [];
		const alone: number[] = [];
		for (let i = 0; i < 3; i++) {
			const start = performance.now();
			await run();
			recording.push(performance.now() - start);
			await idle();
			alone.push(performance.now() - start);
		}
		// Pairs of steps with the queue kept full inside.
		const times: number[] = [];
		for (let i = 0; i < given.steps; i += 2) {
			const start = performance.now();
			await run();
			await run();
			await idle();
			times.push((performance.now() - start) / 2);
		}
		const updates = performance.now();
		for (let i = 0; i < 5; i++) updating.run({ learningRate: 0, lossScale: scalars.lossScale });
		await idle();
		const msOptimizer = (performance.now() - updates) / 5;
		const losses = await running.readHistory(step.loss);
		const { summary } = running;
		const arenas = summary.arenas.reduce((a, b) => a + b, 0);
		const lora = network.store.elements * 4;
		const msStep = median(times.length > 0 ? times : alone);
		const parts = {
			weights: weights.bytes,
			activations: arenas,
			lora,
			optimizer: network.store.bytes - lora + updating.bytes,
			staging: summary.plannedBytes - arenas
		};
		return {
			msStep,
			msBest: Math.min(...times, ...alone),
			msRecording: median(recording),
			msOptimizer,
			tflop: summary.flops / 1e12,
			tflops: summary.flops / msStep / 1e9,
			dispatches: summary.dispatches,
			pipelines: summary.pipelines,
			secondsGraph: (built - before) / 1000,
			secondsRecompute: (chosen - built) / 1000,
			secondsCompile: (compiled - compiling) / 1000,
			bytes: { ...parts, planned: Object.values(parts).reduce((a, b) => a + b, 0), allocated, peak: live.peakBytes },
			losses: [losses[0] ?? NaN, losses.at(-1) ?? NaN],
			skipped: await updating.skipped(),
			...(given.profile ? { profile: await profiled(running, scalars) } : {})
		};
	} finally {
		optimizer?.destroy();
		program?.destroy();
		network?.store.destroy();
	}
}

export interface ForwardResult {
	readonly batch: number;
	readonly msForward: number;
	readonly tflop: number;
	readonly tflops: number;
	readonly dispatches: number;
	readonly bytes: number;
	readonly secondsCompile: number;
	/** Whether every number of the prediction is finite. */
	readonly finite: boolean;
	readonly profile?: Profile;
}

/** The bare UNet, as it samples. */
export async function measureForward({ gpu, unet, weights }: Bed, given: Case): Promise<ForwardResult> {
	const { batch, size } = given;
	const before = performance.now();
	const { graph, inputs, prediction } = buildForward(unet, { height: size / 8, width: size / 8, storage: weights.storage }, batch, []);
	const program = await compile(gpu, graph, { weights, factors: [], label: 'forward' });
	const secondsCompile = (performance.now() - before) / 1000;
	try {
		program.write(inputs.latent, numbers(product(inputs.latent.shape)));
		program.write(inputs.context, numbers(product(inputs.context.shape)));
		if (inputs.vector) program.write(inputs.vector, numbers(product(inputs.vector.shape)));
		program.write(inputs.t, new Float32Array(batch).fill(500));
		const times: number[] = [];
		for (let i = 0; i < Math.max(3, given.steps); i++) {
			const start = performance.now();
			await program.run();
			await program.idle();
			times.push(performance.now() - start);
		}
		const { flops, dispatches, allocatedBytes } = program.summary;
		const msForward = Math.min(...times);
		return {
			batch,
			msForward,
			tflop: flops / 1e12,
			tflops: flops / msForward / 1e9,
			dispatches,
			bytes: allocatedBytes,
			secondsCompile,
			finite: (await program.read(prediction)).every(Number.isFinite),
			...(given.profile ? { profile: await profiled(program, {}) } : {})
		};
	} finally {
		program.destroy();
	}
}
