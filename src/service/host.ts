/**
 * Answers every request of the protocol, wherever it runs (a browser worker, Node): one GPU, one open model, one piece of work at a time.
 * A lost device ends the work with a clear problem and is opened afresh by the next request; files already handed out stay made.
 */
import { FormatError } from '../formats/error';
import { blobSource } from '../formats/source';
import { GpuError, type Gpu } from '../gpu/gpu';
import type { Conditioner } from '../jobs/conditioner';
import { estimateRun } from '../jobs/estimate';
import { openGivenLoras } from '../jobs/given-loras';
import { openConditionerOn } from '../jobs/gpu-conditioner';
import { openModel, type OpenModel } from '../jobs/model';
import { errorProblem, ProblemError } from '../jobs/problem';
import { trainingSizes } from '../jobs/inputs';
import { checkRun, runRecipe } from '../jobs/runner';
import { checkSample, drawSample } from '../jobs/sampling';
import { Cancelled } from '../jobs/stop';
import type { PassName, Problem } from '../jobs/events';
import { warmPlans } from '../kernels/warm';
import { LoraError } from '../lora/error';
import { parseRecipe } from '../recipe/schema';
import type { PassFit } from '../training/fit';
import { asProblem, ServiceError } from './errors';
import { inspectFile } from './inspect';
import { adapterSummary, modelInfo } from './describe';
import { keepRun, type Keep } from './keeping';
import type { Lab, MergeRequest } from './lab';
import type { Platform } from './platform';
import type { PlotRequest, Plots } from './plot';
import { PROTOCOL_VERSION, type ModelInfo, type ModelSource, type ReplyOf, type Request, type RunId, type SampleRequest, type TrainRequest } from './protocol';
import { Runs, type ActiveRun } from './runs';
import { openSource } from './source';
import type { TrainerHost } from './wire';

class Host implements TrainerHost {
	readonly #runs = new Runs();
	#gpu: Promise<Gpu> | undefined;
	#model: OpenModel | undefined;
	#models = 0;
	/** Another start of a helper must not take an id of this one for its own. */
	readonly #name = crypto.randomUUID().slice(0, 8);
	#plots: Plots | undefined;
	#lab: Lab | undefined;

	constructor(private readonly platform: Platform) {}

	async handle<R extends Request>(request: R): Promise<ReplyOf[R['type']]> {
		// `#answer` gives each type its own reply; the compiler cannot follow a switch into a generic.
		return (await this.#answer(request)) as ReplyOf[R['type']];
	}

	subscribe(...[listener]: Parameters<TrainerHost['subscribe']>): () => void {
		return this.#runs.subscribe(listener);
	}

	async close(): Promise<void> {
		this.#runs.active?.control.stop(false);
		await this.#releasePlots();
		this.#model?.release();
		this.#model = undefined;
		const gpu = this.#gpu;
		this.#gpu = undefined;
		await gpu?.then((opened) => opened.close()).catch(() => undefined);
	}

	#answer(request: Request): Promise<ReplyOf[keyof ReplyOf]> {
		switch (request.type) {
			case 'hello':
				return this.#hello(request.version);
			case 'openModel':
				return this.#openModel(request.source, request.run);
			case 'closeModel':
				return this.#closeModel(request.modelId);
			case 'estimate':
				return this.#estimate(request.request);
			case 'train':
				return this.#train(request.run, request.request, request.keep);
			case 'sample':
				return this.#sample(request.run, request.request);
			case 'findRate':
				return this.#findRate(request.run, request.request, request.pass);
			case 'plot':
				return this.#plot(request.run, request.request);
			case 'merge':
				return this.#merge(request.run, request.request);
			case 'compareLoras':
				return this.#openLab().then((lab) => lab.compare(request.files));
			case 'stop':
				return this.#stop(request.run, request.save, request.pause);
			case 'snapshot':
				if (this.#runs.active?.run === request.run) this.#runs.active.control.snapshot();
				return Promise.resolve(null);
			case 'cancel':
				this.#lab?.cancel(request.run);
				return this.#stop(request.run, false);
			case 'tuning':
				return this.#tuning(request.measure);
			case 'inspect':
				return inspectFile(request.name, blobSource(request.blob));
			default:
				return import('./extras').then(({ answerExtra }) => answerExtra(request, this.platform));
		}
	}

	async #hello(version: number): Promise<ReplyOf['hello']> {
		if (version !== PROTOCOL_VERSION) {
			const message = `The page speaks version ${version} of the protocol, this trainer version ${PROTOCOL_VERSION}. Reload the page so that both are the same.`;
			return { version: PROTOCOL_VERSION, adapter: null, problem: errorProblem('protocol.version', 'trainer', message, { version, own: PROTOCOL_VERSION }) };
		}
		try {
			return { version: PROTOCOL_VERSION, adapter: adapterSummary(await this.#openGpu()), problem: null };
		} catch (error) {
			return { version: PROTOCOL_VERSION, adapter: null, problem: asProblem(error, 'gpu') };
		}
	}

	/** The device, opened at first need and again after it was lost. */
	#openGpu(): Promise<Gpu> {
		if (this.#gpu) return this.#gpu;
		const opening = this.platform.openGpu().then((gpu) => this.#tuned(gpu));
		this.#gpu = opening;
		const forget = (): void => {
			if (this.#gpu !== opening) return;
			this.#gpu = undefined;
			this.#model?.release();
		};
		opening.then((gpu) => gpu.lost).then(forget, forget);
		return opening;
	}

	/** With what was measured on it before. */
	async #tuned(gpu: Gpu): Promise<Gpu> {
		const home = await this.platform.openTuning?.().catch(() => undefined);
		if (home) await import('./tuning').then(({ bringTuning }) => bringTuning(gpu, home));
		return gpu;
	}

	async #tuning(measure: boolean): Promise<ReplyOf['tuning']> {
		const gpu = await this.#openGpu();
		const { currentTuning, measureHere } = await import('./tuning');
		if (!measure) return currentTuning(gpu);
		this.#runs.refuseIfBusy();
		return measureHere(gpu, await this.platform.openTuning?.().catch(() => undefined));
	}

	async #openModel(source: ModelSource, run: RunId | undefined): Promise<ModelInfo> {
		this.#runs.refuseIfBusy();
		const turn = ++this.#models;
		const report = (detail: string, fraction: number): void => {
			if (run !== undefined) this.#runs.emit(run, { type: 'state', state: 'preparing', detail, fraction });
		};
		const { name, blob, vae, prediction } = await openSource(source, this.platform, (fraction) => report('download', fraction));
		report('open', 0);
		const model = await openModel(`model-${turn}-${this.#name}`, name, blob, vae?.blob, prediction).catch((error: unknown) => {
			const problem = asProblem(error, name);
			throw new ServiceError(problem.code === 'internal' ? errorProblem('model.unreadable', name, `“${name}” cannot be read: ${problem.message}`) : problem);
		});
		report('open', 1);
		this.#runs.refuseIfBusy();
		await this.#releasePlots();
		// Another was asked for meanwhile: that one is wanted, whichever is read first.
		if (turn !== this.#models) return modelInfo(model);
		this.#model?.release();
		this.#model = model;
		return modelInfo(model);
	}

	#closeModel(modelId: string): Promise<null> {
		if (this.#model?.id !== modelId) return Promise.resolve(null);
		this.#runs.refuseIfBusy();
		void this.#releasePlots();
		this.#model.release();
		this.#model = undefined;
		return Promise.resolve(null);
	}

	#modelOf(modelId: string): OpenModel {
		if (this.#model?.id === modelId) return this.#model;
		throw new ServiceError(errorProblem('model.closed', 'model', 'This model is not open any more. Open it again.', { modelId }));
	}

	/** The findings on a request; the recipe is checked again here, whoever sent it. */
	#check(request: TrainRequest): { problems: Problem[]; model: OpenModel; request: TrainRequest } {
		const model = this.#modelOf(request.modelId);
		const parsed = parseRecipe(request.recipe);
		if (!parsed.ok) return { problems: parsed.problems, model, request };
		return { problems: [...parsed.problems, ...checkRun({ ...request, recipe: parsed.recipe }, model)], model, request: { ...request, recipe: parsed.recipe } };
	}

	/** With errors in the request there is nothing to plan; then the problems are the answer and all numbers are 0. */
	async #estimate(given: TrainRequest): Promise<ReplyOf['estimate']> {
		const { problems, model, request } = this.#check(given);
		const none = { weights: 0, activations: 0, factors: 0, optimizer: 0, staging: 0, total: 0 };
		const nothing = { memory: { copier: none, difference: none }, dispatches: 0, fileBytes: 0 };
		if (problems.some(({ level }) => level === 'error')) return { problems, ...nothing };
		const gpu = await this.#openGpu();
		try {
			const { given: loras } = await openGivenLoras(request, model);
			const found = await estimateRun(gpu, model, request.recipe, trainingSizes(request), request.gpuMemory, loras);
			return { ...found, problems: [...problems, ...found.problems] };
		} catch (error) {
			// What is wrong with a LoRA is known before the run, too.
			if (!(error instanceof ProblemError || error instanceof LoraError || error instanceof FormatError)) throw error;
			return { problems: [...problems, asProblem(error, 'start')], ...nothing };
		}
	}

	/** Refuses what this GPU cannot run, or what needs more than it may take; else the plans of its passes. */
	async #planWithin(gpu: Gpu, model: OpenModel, request: TrainRequest): Promise<PassFit[]> {
		const { given } = await openGivenLoras(request, model);
		const fits: PassFit[] = [];
		const { problems } = await estimateRun(gpu, model, request.recipe, trainingSizes(request), request.gpuMemory, given, (fit) => fits.push(fit));
		const error = problems.find(({ level }) => level === 'error');
		if (error) throw new ServiceError(error);
		return fits;
	}

	async #train(run: RunId, given: TrainRequest, keep: Keep | undefined): Promise<null> {
		this.#runs.refuseIfBusy();
		const { problems, model, request } = this.#check(given);
		const error = problems.find(({ level }) => level === 'error');
		if (error) throw new ServiceError(error);
		const gpu = await this.#openGpu();
		await this.#releasePlots();
		const [first] = await this.#planWithin(gpu, model, request);
		// Compiled while weights are loaded and pictures encoded.
		if (first) void warmPlans(gpu, [...first.steps, ...first.others]);
		const snapshots = await keepRun(this.platform, keep);
		const active = this.#runs.begin(run, 'train');
		for (const problem of problems) active.emit({ type: 'warning', problem });
		const environment = {
			gpu,
			model,
			openConditioner: () => this.#conditioner(gpu, model),
			control: active.control,
			emit: active.emit,
			snapshots,
			gpuMemory: request.gpuMemory
		};
		void this.#unlessLost(gpu, runRecipe(request, environment)).then(
			(outcome) => this.#end(active, outcome),
			(cause: unknown) => this.#end(active, 'failed', asProblem(cause, 'run'))
		);
		return null;
	}

	#conditioner(gpu: Gpu, model: OpenModel): Promise<Conditioner> {
		return openConditionerOn(gpu, model, () => this.platform.openConditioner(model));
	}

	#end(active: ActiveRun, outcome: 'done' | 'stopped' | 'failed', problem?: Problem): void {
		active.emit({ type: 'state', state: outcome });
		this.#runs.end(active, { type: 'ended', outcome, ...(problem ? { problem } : {}) });
	}

	/** Work on a lost device may wait for ever; the loss itself ends it. */
	#unlessLost<T>(gpu: Gpu, work: Promise<T>): Promise<T> {
		const lost = gpu.lost.then(({ message, reason }): never => {
			throw new GpuError('lost', `The GPU stopped working (${reason}${message ? `: ${message}` : ''}).`);
		});
		return Promise.race([work, lost]);
	}

	async #sample(run: RunId, request: SampleRequest): Promise<ReplyOf['sample']> {
		this.#runs.refuseIfBusy();
		const model = this.#modelOf(request.modelId);
		const problem = checkSample(request, model.checkpoint.config);
		if (problem) throw new ServiceError(problem);
		const active = this.#runs.begin(run, 'sample');
		try {
			const gpu = await this.#openGpu();
			const picture = await this.#unlessLost(
				gpu,
				drawSample(
					{
						gpu,
						model,
						storage: 'f16',
						openConditioner: () => this.#conditioner(gpu, model),
						control: active.control,
						emit: active.emit
					},
					request
				)
			);
			this.#runs.end(active, { type: 'ended', outcome: 'done' });
			return picture;
		} catch (cause) {
			const cancelled = cause instanceof Cancelled;
			const found = cancelled ? errorProblem('run.cancelled', run, 'The drawing was stopped.') : asProblem(cause, 'sample');
			this.#runs.end(active, cancelled ? { type: 'ended', outcome: 'stopped' } : { type: 'ended', outcome: 'failed', problem: found });
			throw new ServiceError(found, { cause });
		}
	}

	async #findRate(run: RunId, given: TrainRequest, pass: PassName): Promise<ReplyOf['findRate']> {
		this.#runs.refuseIfBusy();
		const { problems, model, request } = this.#check(given);
		const error = problems.find(({ level }) => level === 'error');
		if (error) throw new ServiceError(error);
		const [gpu, { findRate }] = await Promise.all([this.#openGpu(), import('../jobs/finder')]);
		await this.#releasePlots();
		await this.#planWithin(gpu, model, request);
		const active = this.#runs.begin(run, 'train');
		const environment = { gpu, model, openConditioner: () => this.#conditioner(gpu, model), control: active.control, emit: active.emit };
		try {
			const advice = await this.#unlessLost(gpu, findRate(request, pass, environment));
			this.#runs.end(active, { type: 'ended', outcome: active.control.request === null ? 'done' : 'stopped' });
			return advice ?? null;
		} catch (cause) {
			const cancelled = cause instanceof Cancelled;
			const found = asProblem(cause, 'finder');
			this.#runs.end(active, cancelled ? { type: 'ended', outcome: 'stopped' } : { type: 'ended', outcome: 'failed', problem: found });
			if (cancelled) return null;
			throw new ServiceError(found, { cause });
		}
	}

	async #plot(run: RunId, request: PlotRequest): Promise<ReplyOf['plot']> {
		this.#runs.refuseIfBusy();
		const model = this.#modelOf(request.modelId);
		const active = this.#runs.begin(run, 'sample');
		try {
			const [gpu, { Plots }] = await Promise.all([this.#openGpu(), import('./plot')]);
			const plots = (this.#plots ??= new Plots());
			const outcome = await this.#unlessLost(
				gpu,
				plots.draw(gpu, model, () => this.#conditioner(gpu, model), active, request)
			);
			this.#runs.end(active, { type: 'ended', outcome: outcome.outcome });
			return outcome;
		} catch (cause) {
			const found = asProblem(cause, 'plot');
			this.#runs.end(active, { type: 'ended', outcome: 'failed', problem: found });
			throw new ServiceError(found, { cause });
		}
	}

	/** Gives back what the last plot left on the GPU for the next one. */
	async #releasePlots(): Promise<void> {
		await this.#plots?.release();
		this.#lab?.release();
	}

	async #openLab(): Promise<Lab> {
		const { Lab } = await import('./lab');
		return (this.#lab ??= new Lab());
	}

	async #merge(run: RunId, request: MergeRequest): Promise<ReplyOf['merge']> {
		const lab = await this.#openLab();
		// The GPU belongs to a run that is under way, and a computer without one can merge too.
		const gpu = this.#runs.active ? undefined : await this.#openGpu().catch(() => undefined);
		return lab.merge(run, request, (fraction) => this.#runs.emit(run, { type: 'state', state: 'preparing', detail: 'merge', fraction }), gpu);
	}

	/** Stopping what has ended already is no error: both may cross on the way. */
	#stop(run: RunId, save: boolean, pause = false): Promise<null> {
		const active = this.#runs.active;
		if (active?.run === run && pause) active.control.pause();
		else if (active?.run === run) active.control.stop(save);
		return Promise.resolve(null);
	}
}

export function createHost(platform: Platform): TrainerHost {
	return new Host(platform);
}
