/**
 * One pass: compiles the objective's steps, runs the loop, reports.
 *
 * Rules
 * - The host never waits for the GPU inside the loop, except where the submitter holds it back: losses come out of a ring every few steps while further steps are
 *   already queued, and skipped steps are counted the same way.
 * - Step k is made of counter-based draws, so a pass is a function of recipe, seed and device.
 * - The guard (`guard-driver.ts`) may send the loop back to an earlier step with a lower rate, or end it with the last good network, which is then saved as after stop-and-save.
 * - A stop is honoured between steps; stop-and-save returns the network as it is then; a pause leaves a snapshot.
 * - Probes, previews, files and the result see the weights the optimizer would have used (`Optimizer.evaluation`); steps and snapshots those it trains.
 * - A pass that starts from a snapshot ends with the same bits as one that was never interrupted.
 */
import type { TextConfig, UnetConfig } from '../diffusion/config';
import type { Gpu } from '../gpu/gpu';
import { createOptimizer } from '../kernels/optimizer';
import type { Program } from '../kernels/program';
import type { WeightStore } from '../kernels/weights';
import type { Factors } from '../lora/init';
import type { NetworkModule } from '../lora/modules';
import type { GuardSettings, PassSettings } from '../recipe/recipe';
import { awaitedLater } from './awaited-later';
import { TrainingError } from './events';
import type { PassName, TrainingControl, TrainingEvent } from './events';
import { GuardDriver, GuardMemory } from './guard-driver';
import { CHECK_EVERY, LossReporter } from './loss-reporter';
import { LossScaler } from './loss-scale';
import { freshNetwork, readNetwork } from './network';
import type { Network, NetworkPlan } from './network';
import type { Objective } from './objective';
import { Observer, observerGraphs } from './observer';
import type { PreviewOptions, ProbeState } from './observer';
import { capturePass, restorePass } from './pass-state';
import type { PassState } from './pass-state';
import { Rates } from './plateau';
import { openPrograms } from './programs';
import type { PassLength } from './progress';
import { SnapshotKeeper } from './snapshots';
import type { SnapshotSink } from './snapshots';

export interface PassOptions {
	readonly gpu: Gpu;
	readonly weights: WeightStore;
	readonly config: UnetConfig;
	/** The text encoders, where the trained network changes them. */
	readonly text?: readonly TextConfig[] | undefined;
	readonly pass: PassName;
	readonly settings: PassSettings;
	/** Not -1. */
	readonly seed: number;
	/** Bytes of the GPU the run may take; absent: see `fit.ts`. */
	readonly gpuMemory?: number | undefined;
	readonly objective: Objective;
	/** Networks in force beside the trained one. */
	readonly frozen: readonly Network[];
	/** What is trained; the objective's gradients belong to its factors. */
	readonly plan: NetworkPlan;
	readonly later: readonly PassLength[];
	/** Steps between probes; 0: none. */
	readonly probeEvery: number;
	readonly preview: PreviewOptions | undefined;
	/** What happens when training goes wrong. */
	readonly guard: GuardSettings;
	/** Ends the pass, as done, once the probe finds it converged. */
	readonly stopWhenConverged: boolean;
	/** Steps between intermediate files; 0: none. Called with what to save. */
	readonly saveEvery: number;
	readonly save: (modules: (NetworkModule & Factors)[], step: number) => Promise<void>;
	/** Where the pass goes on; absent: at its beginning. */
	readonly resume?: PassState | undefined;
	readonly snapshots?: SnapshotSink | undefined;
	readonly control: TrainingControl;
	readonly emit: (event: TrainingEvent) => void;
}

export interface PassResult {
	/** Still on the GPU; the caller destroys its store. */
	readonly network: Network;
	readonly steps: number;
	readonly ended: 'done' | 'stop' | 'stopAndSave' | 'pause';
	/** Steps whose gradients were not finite. */
	readonly skipped: number;
	/** Of every step. */
	readonly losses: readonly number[];
	readonly probe: ProbeState;
}

/** Runs a pass to its end or to a stop. @throws GpuError, TrainingError `training.diverged` */
export async function trainPass(options: PassOptions): Promise<PassResult> {
	const { gpu, settings, plan, pass, emit } = options;
	emit({ type: 'state', state: 'compiling', pass, fraction: 0 });
	const cleanup: (() => void)[] = [];
	let network: Network | undefined;
	try {
		network = await freshNetwork(gpu, plan, settings.optimizer, options.seed);
		const optimizer = await createOptimizer(gpu, network.store, settings.optimizer);
		cleanup.push(() => optimizer.destroy());
		const guard = await GuardMemory.create(gpu, network.store, options.guard);
		cleanup.push(() => guard?.destroy());
		const factors = [...options.frozen.map((f) => f.store), network.store];
		const observed = { ...options, source: options.objective.probe, network };
		const otherBytes = factors.reduce((sum, store) => sum + store.bytes, options.weights.bytes + optimizer.bytes + (guard?.bytes ?? 0));
		const programs = await openPrograms({
			gpu,
			weights: options.weights,
			factors,
			graphs: { steps: options.objective.shapes, others: observerGraphs(observed) },
			otherBytes,
			limit: options.gpuMemory,
			guests: options.preview && options.preview.settings.every > 0 ? options.preview.guests : undefined,
			label: pass,
			onProgress: (fraction) => emit({ type: 'state', state: 'compiling', pass, fraction }),
			warn: (problem) => emit({ type: 'warning', problem })
		});
		cleanup.push(() => programs.destroy());
		const observer = await Observer.create({ ...observed, arenas: programs.arenas, guest: programs.fit.guest });
		cleanup.push(() => observer.destroy());
		// What decodes previews is there from the first preview on.
		const planned = programs.fit.totalBytes - (programs.fit.guest?.otherBytes ?? 0);
		emit({ type: 'memory', pass, planned, allocated: otherBytes + programs.allocatedBytes + observer.bytes });
		emit({ type: 'state', state: 'training', pass });
		return await loop(options, network, programs.steps, optimizer, observer, guard);
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
	programs: readonly Program[],
	optimizer: Optimizer,
	observer: Observer,
	memory: GuardMemory | undefined
): Promise<PassResult> {
	const { settings, objective, control, weights, pass, resume } = options;
	const { iterations } = settings;
	const scaler = new LossScaler(weights.storage === 'f16');
	const rates: Rates = new Rates(settings, (count) => reporter.known(count));
	const reporter = new LossReporter({ ...options, rateFactor: (): number => guard?.factor ?? 1, rateAt: (k) => rates.past(k) }, programs, resume?.losses);
	const countSkipped = (): Promise<number> => optimizer.skipped();
	const guard: GuardDriver | undefined =
		memory && new GuardDriver({ ...options, memory, settings: options.guard, iterations, observer, scaler, reporter, skipped: countSkipped });
	const parts = { network, scaler, reporter, observer, guard, skipped: countSkipped };
	programs.forEach((program, shape) => objective.begin(program, shape));
	let k = 0;
	let skipped: Promise<number> | undefined;
	if (resume) {
		await restorePass(parts, resume);
		k = resume.step;
		if (resume.pendingSkipped !== null) skipped = Promise.resolve(resume.pendingSkipped);
	} else {
		await observer.probe(0);
		// Without any network: what all later previews are compared with. The second pass of a difference run has it from the first.
		if (options.preview && options.preview.settings.every > 0 && options.frozen.length === 0) await observer.preview(0);
		guard?.begin(0);
	}
	reporter.meter.pause(k);
	const keeper = new SnapshotKeeper(options.snapshots, control, k);
	const capture = (): Promise<PassState | undefined> => capturePass(parts, pass, k, skipped);
	let ended: PassResult['ended'] = 'done';
	while (k < iterations) {
		if (control.request) {
			ended = control.request;
			break;
		}
		keeper.offer(k, capture);
		const { shape, scalars } = objective.write(k, programs);
		await programs[shape]?.run({ ...scalars, lossScale: scaler.scale });
		reporter.ran(shape);
		const learningRate = await rates.next(k);
		k++;
		optimizer.run({ learningRate: learningRate * (guard?.factor ?? 1), lossScale: scaler.scale });
		if (k % CHECK_EVERY === 0) {
			if (skipped) scaler.update(await skipped, k);
			if (!guard && (scaler.exhausted || scaler.skipped > Math.max(50, iterations / 4))) throw diverged(options, k);
			skipped = awaitedLater(countSkipped());
		}
		await reporter.after(k);
		const found = await guard?.after(k);
		if (found && found.action !== 'go') {
			if (found.action === 'stop' && found.to === 0) throw diverged(options, k);
			k = found.to;
			keeper.rewind(k);
			rates.rewind();
			skipped = undefined;
			if (found.action === 'rollback') continue;
			ended = 'stopAndSave';
			break;
		}
		if (k === iterations) break;
		await rests(options, network, observer, reporter, optimizer, k);
		if (options.stopWhenConverged && observer.finished) {
			options.emit({ type: 'endedEarly', pass, step: k, steps: iterations });
			break;
		}
	}
	// Also what was stopped and saved can go on later, if whoever keeps the snapshot wants it.
	if ((ended === 'pause' || ended === 'stopAndSave') && k > 0) await keeper.take(k, capture);
	else await keeper.settled();
	await reporter.flush();
	optimizer.evaluation(true);
	if ((ended === 'done' || ended === 'stopAndSave') && k > 0) await observer.probe(k);
	return { network, steps: k, ended, skipped: await countSkipped(), losses: reporter.losses, probe: observer.probes };
}

/** Probe, preview and intermediate file, where one is due. */
async function rests(options: PassOptions, network: Network, observer: Observer, reporter: LossReporter, optimizer: Optimizer, k: number): Promise<void> {
	const due = (every: number): boolean => every > 0 && k % every === 0;
	if (!due(options.probeEvery) && !due(options.preview?.settings.every ?? 0) && !due(options.saveEvery)) return;
	optimizer.evaluation(true);
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
	optimizer.evaluation(false);
}

function diverged(options: PassOptions, step: number): TrainingError {
	const { pass, settings } = options;
	const values = { pass, step, rate: settings.learningRate };
	return new TrainingError({
		level: 'error',
		code: 'training.diverged',
		where: `passes.${pass}.learningRate`,
		values,
		message: `Training diverged up to step ${step}, and nothing good was left to go back to. Lower passes.${pass}.learningRate (it is ${settings.learningRate}) and try again.`
	});
}
