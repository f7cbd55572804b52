/**
 * One training step of a full-size UNet as the trainer makes it: time, rates and memory.
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
import { buildStep } from '../../src/training/step';
import type { Bed } from './bed';
import { numbers, product, profiled } from './case';
import type { Case, Profile } from './case';
import { keepPace } from './clock';
import type { Recording } from './clock';

export interface StepResult {
	readonly msStep: number;
	readonly msBest: number;
	/** Of the recording thread, for one step, optimizer included; waiting for the GPU is not in it. */
	readonly msRecording: number;
	/** The same as a share of the step. */
	readonly recordingShare: number;
	/** What `msRecording` is made of. */
	readonly recording: Recording;
	readonly stepsMeasured: number;
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

export async function measureStep({ gpu, live, recording, family, unet, weights }: Bed, given: Case): Promise<StepResult> {
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
		const pace = await keepPace(gpu.device.queue, recording, run, given.steps);
		const { encoding, submitting, writing } = pace.recording;
		const msRecording = encoding + submitting + writing;
		const updates = performance.now();
		for (let i = 0; i < 5; i++) updating.run({ learningRate: 0, lossScale: scalars.lossScale });
		await idle();
		const msOptimizer = (performance.now() - updates) / 5;
		const losses = await running.readHistory(step.loss);
		const { summary } = running;
		const arenas = summary.arenas.reduce((a, b) => a + b, 0);
		const lora = network.store.elements * 4;
		const parts = {
			weights: weights.bytes,
			activations: arenas,
			lora,
			optimizer: network.store.bytes - lora + updating.bytes,
			staging: summary.plannedBytes - arenas
		};
		return {
			msStep: pace.ms,
			msBest: pace.best,
			msRecording,
			recordingShare: msRecording / pace.ms,
			recording: pace.recording,
			stepsMeasured: pace.steps,
			msOptimizer,
			tflop: summary.flops / 1e12,
			tflops: summary.flops / pace.ms / 1e9,
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
