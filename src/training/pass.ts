/**
 * One pass: compiles the objective's steps, runs the loop, reports.
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
import type { Objective } from './objective';
import { Observer } from './observer';
import type { PreviewOptions } from './observer';
import { ProgressMeter } from './progress';
import type { PassLength } from './progress';
import { learningRateAt } from './schedule';

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
	readonly objective: Objective;
	/** Networks in force beside the trained one. */
	readonly frozen: readonly Network[];
	/** What is trained; the objective's gradients belong to its factors. */
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
		const programs: Program[] = [];
		const { shapes } = options.objective;
		for (const [i, { graph, gradients, loss }] of shapes.entries()) {
			const program = await compile(gpu, graph, {
				weights: options.weights,
				factors: [...options.frozen.map((f) => f.store), network.store],
				gradients,
				history: [loss],
				label: pass,
				onProgress: (done, total) => emit({ type: 'state', state: 'compiling', pass, fraction: (i + done / total) / shapes.length })
			});
			cleanup.push(() => program.destroy());
			programs.push(program);
		}
		const optimizer = await createOptimizer(gpu, network.store, settings.optimizer);
		cleanup.push(() => optimizer.destroy());
		const observer = await Observer.create({ ...options, source: options.objective.probe, network });
		cleanup.push(() => observer.destroy());
		const stores = options.weights.bytes + network.store.bytes + options.frozen.reduce((sum, f) => sum + f.store.bytes, 0) + observer.bytes;
		const bytes = (of: 'plannedBytes' | 'allocatedBytes'): number => programs.reduce((sum, { summary }) => sum + summary[of], stores);
		emit({ type: 'memory', pass, planned: bytes('plannedBytes'), allocated: bytes('allocatedBytes') });
		emit({ type: 'state', state: 'training', pass });
		return await loop(options, network, programs, optimizer, observer);
	} catch (cause) {
		network?.store.destroy();
		throw cause;
	} finally {
		for (const free of cleanup.reverse()) free();
	}
}

type Optimizer = Awaited<ReturnType<typeof createOptimizer>>;

async function loop(options: PassOptions, network: Network, programs: readonly Program[], optimizer: Optimizer, observer: Observer): Promise<PassResult> {
	const { settings, objective, control, weights } = options;
	const { iterations } = settings;
	const scaler = new LossScaler(weights.storage === 'f16');
	const reporter = new LossReporter(options, programs);
	programs.forEach((program, shape) => objective.begin(program, shape));
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
		const { shape, scalars } = objective.write(k, programs);
		await programs[shape]?.run({ ...scalars, lossScale: scaler.scale });
		reporter.ran(shape);
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
	/** Programs of the steps not yet read. */
	#ran: number[] = [];

	constructor(
		private readonly options: PassOptions,
		private readonly programs: readonly Program[]
	) {
		const { iterations, batch } = options.settings;
		this.meter = new ProgressMeter(options.pass, { iterations, batch }, options.later);
	}

	ran(shape: number): void {
		this.#ran.push(shape);
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
		const { iterations, learningRate, schedule } = settings;
		const losses = await this.#losses();
		if (losses.length === 0) return;
		const first = this.#reported + 1;
		this.#reported += losses.length;
		for (const event of this.meter.report(first, losses, (step) => learningRateAt(step - 1, learningRate, iterations, schedule))) emit(event);
	}

	/** Means over the batch, in the order of the steps. Which steps belong to it is settled before the first wait: the loop goes on meanwhile. */
	async #losses(): Promise<number[]> {
		const { batch } = this.options.settings;
		const ran = this.#ran;
		this.#ran = [];
		const values = await Promise.all(
			this.options.objective.shapes.map(async ({ loss }, i) => (await this.programs[i]?.readHistory(loss)) ?? new Float32Array(0))
		);
		const next = values.map(() => 0);
		return ran.map((shape) => {
			const start = next[shape] ?? 0;
			next[shape] = start + batch;
			return (values[shape] ?? []).slice(start, start + batch).reduce((a, b) => a + b, 0) / batch;
		});
	}
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
