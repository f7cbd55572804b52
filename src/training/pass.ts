/**
 * One pass: builds the step, runs the loop, reports.
 *
 * Rules
 * - The host never waits for the GPU inside the loop, except where the submitter holds it back: losses come out of a ring every few steps while further steps are
 *   already queued, and skipped steps are counted the same way.
 * - Step k is made of counter-based draws, so a pass is a function of recipe, seed and device.
 * - A stop is honoured between steps; stop-and-save returns the network as it is then.
 */
import type { UnetConfig } from '../diffusion/config';
import type { Gpu } from '../gpu/gpu';
import { createOptimizer } from '../kernels/optimizer';
import { compile } from '../kernels/program';
import type { Program } from '../kernels/program';
import type { WeightStore } from '../kernels/weights';
import type { Factors } from '../lora/init';
import type { NetworkModule } from '../lora/modules';
import type { PassSettings } from '../recipe/recipe';
import { TrainingError } from './events';
import type { PassName, TrainingControl, TrainingEvent } from './events';
import { LossScaler } from './loss-scale';
import { freshNetwork, readNetwork } from './network';
import type { Network, NetworkPlan } from './network';
import { drawStep } from './noising';
import type { StepDraw } from './noising';
import { Observer } from './observer';
import type { PreviewOptions } from './observer';
import { ProgressMeter } from './progress';
import type { PassLength } from './progress';
import type { Conditioning } from './sample';
import { learningRateAt } from './schedule';
import { buildStep, TOKENS } from './step';
import type { TrainingStep } from './step';

const CHECK_EVERY = 10;
/** Slow adapters report more often than every CHECK_EVERY steps. */
const REPORT_MS = 250;

export interface PassOptions {
	readonly gpu: Gpu;
	readonly weights: WeightStore;
	readonly config: UnetConfig;
	readonly pass: PassName;
	readonly settings: PassSettings;
	/** Not -1. */
	readonly seed: number;
	/** `[h, w, 4]`, scaled. */
	readonly latent: Float32Array;
	readonly height: number;
	readonly width: number;
	readonly conditioning: Conditioning;
	readonly frozen: readonly Network[];
	readonly plan: NetworkPlan;
	readonly later: readonly PassLength[];
	/** Steps between probes; 0: none. */
	readonly probeEvery: number;
	readonly preview: PreviewOptions | undefined;
	/** Steps between intermediate files; 0: none. Called with what to save. */
	readonly saveEvery: number;
	readonly save: (modules: (NetworkModule & Factors)[], step: number) => Promise<void>;
	readonly control: TrainingControl;
	readonly emit: (event: TrainingEvent) => void;
}

export interface PassResult {
	/** Still on the GPU; the caller destroys its store. */
	readonly network: Network;
	readonly steps: number;
	readonly ended: 'done' | 'stop' | 'stopAndSave';
	/** Steps whose gradients were not finite. */
	readonly skipped: number;
}

/** Runs a pass to its end or to a stop. @throws GpuError, TrainingError `training.diverged` */
export async function trainPass(options: PassOptions): Promise<PassResult> {
	const { gpu, settings, plan, pass, emit } = options;
	emit({ type: 'state', state: 'compiling', pass, fraction: 0 });
	const cleanup: (() => void)[] = [];
	let network: Network | undefined;
	try {
		network = await freshNetwork(gpu, plan, settings.optimizer.kind, options.seed);
		const step = buildStep(options.config, { height: options.height, width: options.width, storage: options.weights.storage }, settings, {
			frozen: options.frozen,
			trained: plan
		});
		const program = await compile(gpu, step.graph, {
			weights: options.weights,
			factors: [...options.frozen.map((f) => f.store), network.store],
			gradients: step.gradients,
			history: [step.loss],
			label: pass,
			onProgress: (done, total) => emit({ type: 'state', state: 'compiling', pass, fraction: done / total })
		});
		cleanup.push(() => program.destroy());
		const optimizer = await createOptimizer(gpu, network.store, settings.optimizer);
		cleanup.push(() => optimizer.destroy());
		const observer = await Observer.create({ ...options, network });
		cleanup.push(() => observer.destroy());
		const stores = options.weights.bytes + network.store.bytes + options.frozen.reduce((sum, f) => sum + f.store.bytes, 0) + observer.bytes;
		emit({ type: 'memory', pass, planned: program.summary.plannedBytes + stores, allocated: program.summary.allocatedBytes + stores });
		emit({ type: 'state', state: 'training', pass });
		return await loop(options, network, step, program, optimizer, observer);
	} catch (cause) {
		network?.store.destroy();
		throw cause;
	} finally {
		for (const free of cleanup.reverse()) free();
	}
}

type Optimizer = Awaited<ReturnType<typeof createOptimizer>>;

async function loop(
	options: PassOptions,
	network: Network,
	step: TrainingStep,
	program: Program,
	optimizer: Optimizer,
	observer: Observer
): Promise<PassResult> {
	const { settings, seed, control, weights } = options;
	const { iterations } = settings;
	const scaler = new LossScaler(weights.storage === 'f16');
	const reporter = new LossReporter(options, step, program);
	writeConstants(options, step, program);
	await observer.probe(0);
	reporter.meter.pause(0);
	let skipped: Promise<number> | undefined;
	let ended: PassResult['ended'] = 'done';
	let k = 0;
	while (k < iterations) {
		if (control.request) {
			ended = control.request;
			break;
		}
		writeDraw(step, program, drawStep(seed, k, settings));
		await program.run({ lossScale: scaler.scale });
		const learningRate = learningRateAt(k, settings.learningRate, iterations, settings.schedule);
		k++;
		optimizer.run({ learningRate, step: k, lossScale: scaler.scale });
		if (k % CHECK_EVERY === 0) {
			if (skipped) scaler.update(await skipped, k);
			if (scaler.exhausted || scaler.skipped > Math.max(50, iterations / 4)) throw diverged(options, k);
			skipped = optimizer.skipped();
		}
		await reporter.after(k);
		if (k === iterations) break;
		await rests(options, network, observer, reporter, k);
	}
	await reporter.flush(k);
	if (ended !== 'stop' && k > 0) await observer.probe(k);
	return { network, steps: k, ended, skipped: await optimizer.skipped() };
}

/** Probe, preview and intermediate file, where one is due. */
async function rests(options: PassOptions, network: Network, observer: Observer, reporter: LossReporter, k: number): Promise<void> {
	const due = (every: number): boolean => every > 0 && k % every === 0;
	if (due(options.probeEvery)) {
		await observer.probe(k);
		reporter.meter.pause(k);
	}
	if (options.preview && due(options.preview.settings.every)) {
		await observer.preview(k);
		reporter.meter.pause(k);
	}
	if (due(options.saveEvery) && !options.control.request) {
		options.emit({ type: 'state', state: 'saving', pass: options.pass });
		await options.save(await readNetwork(network), k);
		options.emit({ type: 'state', state: 'training', pass: options.pass });
		reporter.meter.pause(k);
	}
}

/** Reads the ring of losses without holding the loop up: the reading of one stretch is awaited when the next one is due. */
class LossReporter {
	readonly meter: ProgressMeter;
	#reported = 0;
	#reading: Promise<void> = Promise.resolve();
	#last = performance.now();

	constructor(
		private readonly options: PassOptions,
		private readonly step: TrainingStep,
		private readonly program: Program
	) {
		const { iterations, batch } = options.settings;
		this.meter = new ProgressMeter(options.pass, { iterations, batch }, options.later);
	}

	async after(k: number): Promise<void> {
		if (k % CHECK_EVERY !== 0 && performance.now() - this.#last < REPORT_MS) return;
		await this.#reading;
		this.#last = performance.now();
		this.#reading = this.#read();
	}

	async flush(k: number): Promise<void> {
		await this.#reading;
		if (this.#reported < k) await this.#read();
	}

	async #read(): Promise<void> {
		const { settings, emit } = this.options;
		const { batch, iterations, learningRate, schedule } = settings;
		const values = await this.program.readHistory(this.step.loss);
		const losses = Array.from({ length: values.length / batch }, (_, i) => values.subarray(i * batch, (i + 1) * batch).reduce((a, b) => a + b, 0) / batch);
		if (losses.length === 0) return;
		const first = this.#reported + 1;
		this.#reported += losses.length;
		for (const event of this.meter.report(first, losses, (step) => learningRateAt(step - 1, learningRate, iterations, schedule))) emit(event);
	}
}

function repeated(data: Float32Array, times: number): Float32Array {
	const out = new Float32Array(data.length * times);
	for (let i = 0; i < times; i++) out.set(data, i * data.length);
	return out;
}

function writeConstants(options: PassOptions, step: TrainingStep, program: Program): void {
	const { batch } = options.settings;
	const { context, vector } = options.conditioning;
	if (context.length !== TOKENS * options.config.contextDim)
		throw new RangeError(`The context has ${context.length} numbers instead of ${TOKENS * options.config.contextDim}.`);
	program.write(step.inputs.latent, options.latent);
	program.write(step.inputs.context, repeated(context, batch));
	if (step.inputs.vector) program.write(step.inputs.vector, repeated(vector ?? new Float32Array(options.config.vectorDim), batch));
}

function writeDraw({ inputs }: TrainingStep, program: Program, draw: StepDraw): void {
	program.write(inputs.t, draw.t);
	program.write(inputs.coef, draw.coef);
	program.write(inputs.weight, draw.weight);
	program.write(inputs.counter, draw.counter);
}

function diverged(options: PassOptions, step: number): TrainingError {
	const { pass, settings } = options;
	const values = { pass, step, rate: settings.learningRate };
	return new TrainingError({
		level: 'error',
		code: 'training.diverged',
		where: `passes.${pass}.learningRate`,
		values,
		message: `Training diverged: gradients have been infinite over many steps up to step ${step}. Lower passes.${pass}.learningRate (it is ${settings.learningRate}) and try again.`
	});
}
