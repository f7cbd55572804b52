/**
 * `utsushi train`: recipes in, files in a folder out, one after the other. Everything that can be wrong with the input is found before the GPU is opened; what is
 * interrupted goes on with `--resume`.
 */
import { dirname, resolve } from 'node:path';
import { encodePng } from '../formats/png';
import type { Picture, Problem, RunEvent } from '../jobs/events';
import { errorProblem } from '../jobs/problem';
import { LogPoints } from '../recipe/csv-log';
import { parseRecipe } from '../recipe/schema';
import { asProblem } from '../service/errors';
import type { EventMessage, TrainerClient } from '../service/protocol';
import { QueueRunner, sweepRecipes, sweepValues, type Job, type JobDraft, type JobOutcome, type JobReport, type Queue } from '../service/queue';
import { openFolder, type Folder } from '../storage/node';
import { folderSlots } from '../storage/snapshots/node';
import { snapshotStore } from '../storage/snapshots/snapshots';
import { EXIT, isInputProblem, type Context, type ExitCode } from './exit';
import { InputError } from './inputError';
import { isOpen, madeBefore, newNight, type NightFolder } from './nightFolder';
import { jsonReporter, textReporter, type Reporter } from './output';
import { loadRecipe, loadRecipeValue, type LoadedRecipe } from './recipeFile';
import { findResumable, quoted, recipeChange, sweepField, type Choices } from './trainChoices';
import { modelSource, withTrainer } from './trainer';

export interface TrainCommand extends Choices {
	name: 'train';
	recipes: string[];
	/** `passes.difference.learningRate=5e-5,1e-4`: every recipe once per value. */
	sweeps: { field: string; values: string }[];
	out: string;
	/** Go on with what was interrupted in `out`. */
	resume: boolean;
	/** Also a log of every pass, as TrainTrain has it. */
	csv: boolean;
	/** Bytes of the GPU that may be taken. */
	gpuMemory?: number;
	json: boolean;
}

function signed(strength: number): string {
	return `${strength < 0 ? '-' : '+'}${Math.abs(strength).toFixed(2)}`;
}

/** The file an event brings, by the name it should get. */
function contentOf(event: RunEvent, name: string): { name: string; bytes: () => Uint8Array } | undefined {
	const png = (label: string, picture: Picture) => ({ name: `${name}-${label}.png`, bytes: () => encodePng(picture) });
	switch (event.type) {
		case 'file':
			return { name: event.name, bytes: () => new Uint8Array(event.bytes) };
		case 'preview':
			return png(
				`preview-${event.pass}-step${String(event.step).padStart(6, '0')}-seed${event.seed}${event.strength === 1 ? '' : `-strength${signed(event.strength)}`}`,
				event.picture
			);
		case 'stripCell':
			return png(`strip-seed${event.seed}-strength${signed(event.strength)}`, event.picture);
		default:
			return undefined;
	}
}

/** Warnings that the trainer cannot find again in the recipe it is given; it reports the others itself. */
function onlyHere({ recipe, warnings }: LoadedRecipe): Problem[] {
	const known = new Set(parseRecipe(recipe).problems.map(({ code, where }) => `${code} ${where}`));
	return warnings.filter(({ code, where }) => !known.has(`${code} ${where}`));
}

/** All recipes with their values swept, every file they name checked. @throws InputError */
async function draftsOf(command: TrainCommand, context: Context, reporter: Reporter): Promise<JobDraft[]> {
	const drafts: JobDraft[] = [];
	const change = await recipeChange(command);
	for (const path of command.recipes) {
		const loaded = await loadRecipe(path, context.installation, change);
		for (const warning of onlyHere(loaded)) reporter.problem(warning);
		let recipes = [loaded.recipe];
		for (const { field, values } of command.sweeps) {
			const swept = recipes.map((recipe) => sweepRecipes(recipe, sweepField(field), sweepValues(values)));
			const problems = swept.flatMap((sweep) => sweep.problems);
			if (problems.length > 0) throw new InputError(problems);
			recipes = swept.flatMap((sweep) => sweep.recipes);
		}
		const input: JobDraft['input'] = {
			model: { kind: 'file', name: loaded.recipe.model.name, key: loaded.modelFile },
			content: { folder: dirname(resolve(path)) }
		};
		drafts.push(...recipes.map((recipe) => ({ id: crypto.randomUUID(), recipe, input })));
	}
	return drafts;
}

/** What the paths of a job's recipe are relative to. */
function folderOf({ input: { content } }: Job): string {
	return typeof content === 'object' && content !== null && 'folder' in content && typeof content.folder === 'string' ? content.folder : '.';
}

class Night {
	/** A file could not be written. */
	unsaved = false;
	#model: { files: string; id: string } | undefined;
	#run = '';
	#runs = 0;
	readonly #store;

	constructor(
		private readonly client: TrainerClient,
		private readonly folder: Folder,
		private readonly night: NightFolder,
		private readonly reporter: Reporter,
		private readonly context: Context,
		private readonly csv: boolean,
		private readonly gpuMemory: number | undefined
	) {
		this.#store = snapshotStore(folderSlots(night.snapshots));
	}

	async go(begin: (runner: QueueRunner) => void): Promise<Queue> {
		const { night, context, reporter } = this;
		const runner = await QueueRunner.open({
			load: () => night.load(),
			save: (queue) => night.save(queue),
			run: (job, report) => this.#job(runner.queue, job, report),
			end: () => this.#stop(),
			settled: (job) => this.#store.remove(job.id),
			forget: () => Promise.resolve(),
			unsaved: (error) => reporter.problem(asProblem(error, 'queue')),
			failed: (error) => asProblem(error, 'queue'),
			now: Date.now
		});
		// A second Ctrl-C never gets here: it ends the process.
		const release = context.onInterrupt(() => {
			context.streams.err('\nStopping after this step and saving; Ctrl-C again leaves at once.\n');
			void runner.end('pause', true);
		});
		try {
			begin(runner);
			runner.dispatch({ type: 'go' });
			await runner.idle();
		} finally {
			release();
		}
		await night.close(runner.queue);
		return runner.queue;
	}

	async #stop(): Promise<void> {
		await this.client.request({ type: 'stop', run: this.#run, save: true }).catch(() => undefined);
	}

	async #job(queue: Queue, job: Job, report: (report: JobReport) => void): Promise<JobOutcome> {
		const { client, reporter, context } = this;
		this.#run = `train-${++this.#runs}`;
		reporter.passes(job.recipe);
		if (queue.jobs.length > 1) reporter.note(`Job ${queue.jobs.findIndex(({ id }) => id === job.id) + 1} of ${queue.jobs.length}: ${job.recipe.name}`);
		try {
			const { modelFile, vaeFile, recipe, warnings, ...inputs } = await loadRecipeValue(job.recipe, folderOf(job), context.installation);
			void warnings; // said when the job was made
			const files = JSON.stringify([modelFile, vaeFile]);
			if (this.#model?.files !== files) {
				const { modelId } = await client.request({ type: 'openModel', source: await modelSource(modelFile, { vae: vaeFile }) });
				this.#model = { files, id: modelId };
			}
			const ended = this.#follow(job, report);
			await client.request({
				type: 'train',
				run: this.#run,
				request: { ...inputs, recipe, modelId: this.#model.id, gpuMemory: this.gpuMemory },
				keep: { job: job.id, resume: job.attempts > 1 }
			});
			if (!queue.going) await this.#stop(); // Ctrl-C came before there was a run to stop
			return await ended;
		} catch (error) {
			// A lost device takes the model with it.
			this.#model = undefined;
			const problems = error instanceof InputError ? error.problems : [asProblem(error, job.recipe.name)];
			for (const problem of problems) reporter.problem(problem);
			return { kind: 'failed', problem: problems[0] ?? errorProblem('internal', 'train', 'The job could not be started.') };
		}
	}

	/** Follows a run to its end; events are handled one after the other, in order. */
	#follow(job: Job, report: (report: JobReport) => void): Promise<JobOutcome> {
		const { client, reporter } = this;
		const run = this.#run;
		return new Promise((done, reject) => {
			let handling = Promise.resolve();
			let resumed = false;
			const log = new LogPoints();
			const handle = async (message: EventMessage): Promise<void> => {
				const { event } = message;
				if (event.type === 'resumed') {
					resumed = true;
					for (const pass of ['copier', 'difference'] as const) log.before(job.recipe, pass, event.curves[pass]?.losses ?? []);
				}
				if (event.type === 'progress') log.add(event.pass, event);
				let saved: string | undefined;
				try {
					saved = await this.#keep(event, job, resumed);
				} catch (error) {
					// The run goes on: one picture that found no room is no reason to lose the rest. The exit code tells.
					this.unsaved = true;
					const text = error instanceof Error ? error.message : String(error);
					reporter.problem(errorProblem('storage.failed', job.recipe.name, text));
				}
				if (event.type === 'file' && saved !== undefined) report({ type: 'file', id: job.id, name: saved });
				if (event.type === 'snapshot') report({ type: 'snapshot', id: job.id, pass: event.pass, step: event.step });
				reporter.event(message, saved);
				if (event.type !== 'ended') return;
				unsubscribe();
				if (this.csv) await this.#logs(log, job);
				if (event.outcome !== 'failed') return done({ kind: event.outcome });
				if (event.problem?.code.startsWith('gpu.')) this.#model = undefined;
				done({ kind: 'failed', problem: event.problem ?? errorProblem('internal', 'run', 'The run failed.') });
			};
			const unsubscribe = client.subscribe((message) => {
				if (message.run === run) handling = handling.then(() => handle(message)).catch(reject);
			});
		});
	}

	/** A log that found no room is no reason to call the run failed. */
	async #logs(log: LogPoints, job: Job): Promise<void> {
		for (const { name, text } of log.files(job.recipe)) {
			await this.folder.write(name, new TextEncoder().encode(text)).catch((error: unknown) => {
				this.unsaved = true;
				this.reporter.problem(asProblem(error, name));
			});
		}
	}

	/** Writes what an event brings; after a resumption only what is not there yet. */
	async #keep(event: RunEvent, job: Job, resumed: boolean): Promise<string | undefined> {
		const content = contentOf(event, job.recipe.name);
		if (!content) return undefined;
		const there = resumed && job.started !== null ? await madeBefore(this.folder.path, content.name, job.started) : undefined;
		return there ?? this.folder.write(content.name, content.bytes());
	}
}

function exitOf(queue: Queue, unsaved: boolean): ExitCode {
	const failed = queue.jobs.filter(({ state }) => state === 'failed');
	if (unsaved) return EXIT.failed;
	if (failed.length === 0) return EXIT.done;
	return failed.every(({ problem }) => problem && isInputProblem(problem)) ? EXIT.badInput : EXIT.failed;
}

export async function train(command: TrainCommand, context: Context): Promise<ExitCode> {
	const reporter = command.json ? jsonReporter(context.streams) : textReporter(context.streams);
	const run = async (out: string, folder: Folder, night: NightFolder, begin: (runner: QueueRunner) => void): Promise<ExitCode> =>
		withTrainer(async (client) => {
			const work = new Night(client, folder, night, reporter, context, command.csv, command.gpuMemory);
			const queue = await work.go(begin);
			if (queue.jobs.some(isOpen)) context.streams.err(`To go on where it stopped: utsushi train --resume ${quoted(out)}\n`);
			return exitOf(queue, work.unsaved);
		}, night.snapshots);
	try {
		if (!command.resume) {
			const drafts = await draftsOf(command, context, reporter);
			const folder = await openFolder(command.out);
			return await run(command.out, folder, newNight(command.out), (runner) => runner.dispatch({ type: 'add', jobs: drafts, time: Date.now() }));
		}
		const { out, nights } = await findResumable(command.out);
		const folder = await openFolder(out);
		let exit: ExitCode = EXIT.done;
		for (const night of nights) {
			const code = await run(out, folder, night, (runner) => {
				for (const { id, state } of runner.queue.jobs) if (state === 'failed') runner.dispatch({ type: 'retry', id });
			});
			if (code !== EXIT.done) exit = code;
		}
		return exit;
	} finally {
		reporter.close();
	}
}
