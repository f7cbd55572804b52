/**
 * The one run of this tab: starts it, gathers its events a frame at a time, keeps every file in the library the moment it arrives,
 * holds the screen awake. The view itself is a pure function of the events (`view.ts`).
 */
import type { Recipe } from '../../recipe/recipe';
import { PROTOCOL_VERSION, type EventMessage, type Picture, type Problem } from '../../service/protocol';
import { newId } from '../id';
import { keepFile, keepPreviews } from '../library/keep';
import { rememberSpeed } from '../train/speed';
import { trainer, toProblem } from '../train/trainer.svelte';
import { advance, startView, type RunView } from './view';

/** A run silent for so long is asked whether its trainer still lives; one that is only slow answers. */
const SILENCE_MS = 10_000;
/** While the tab is hidden no frames come; events are applied this often instead. */
const HIDDEN_MS = 500;

class Run {
	view = $state.raw<RunView | null>(null);
	original = $state.raw<Picture | null>(null);
	target = $state.raw<Picture | null>(null);
	/** Asked to stop, not stopped yet. */
	stopping = $state(false);
	/** Why a file could not be kept in the library. */
	keepProblem = $state.raw<Problem | null>(null);
	kept = $state(0);

	#queue: EventMessage[] = [];
	#scheduled = false;
	#keeping: Promise<void> = Promise.resolve();
	#lock: WakeLockSentinel | null = null;
	#watch: ReturnType<typeof setTimeout> | undefined;

	get active(): boolean {
		return this.view !== null && this.view.outcome === null;
	}

	constructor() {
		trainer.subscribe((message) => this.#receive(message));
		if (typeof document !== 'undefined') document.addEventListener('visibilitychange', () => void this.#stayAwake());
	}

	/** Returns the problem that kept it from starting, or null. */
	async start(recipe: Recipe, modelId: string, original: Picture, target: Picture): Promise<Problem | null> {
		const id = newId();
		this.view = startView(id, recipe, Date.now());
		this.original = original;
		this.target = target;
		this.stopping = false;
		this.keepProblem = null;
		this.kept = 0;
		try {
			await trainer.request({ type: 'train', run: id, request: { recipe, modelId, original, target } });
			void this.#stayAwake();
			this.#listen();
			return null;
		} catch (error) {
			this.view = null;
			return toProblem(error, 'train');
		}
	}

	async stop(save: boolean): Promise<void> {
		if (!this.view || this.stopping) return;
		this.stopping = true;
		try {
			await trainer.request({ type: 'stop', run: this.view.id, save });
		} catch (error) {
			this.stopping = false;
			this.view = { ...this.view, warnings: [...this.view.warnings, toProblem(error, 'stop')] };
		}
	}

	/** Back to preparing; the results stay in the library. */
	close(): void {
		if (!this.active) this.view = null;
	}

	#receive(message: EventMessage): void {
		const { view } = this;
		if (!view || message.run !== view.id) return;
		this.#listen();
		if (message.event.type === 'file') this.#keep(view, message.event);
		if (message.event.type === 'ended') this.#finish();
		this.#queue.push(message);
		if (this.#scheduled) return;
		this.#scheduled = true;
		const flush = () => this.#flush();
		if (document.hidden) setTimeout(flush, HIDDEN_MS);
		else requestAnimationFrame(flush);
	}

	/** Starts the wait for the next sign of life anew. */
	#listen(): void {
		clearTimeout(this.#watch);
		const { view } = this;
		if (!view || view.outcome) return;
		this.#watch = setTimeout(() => {
			trainer.request({ type: 'hello', version: PROTOCOL_VERSION }).then(
				() => this.#listen(),
				(error: unknown) =>
					this.#receive({ run: view.id, seq: -1, time: Date.now(), event: { type: 'ended', outcome: 'failed', problem: toProblem(error, 'trainer') } })
			);
		}, SILENCE_MS);
	}

	#flush(): void {
		this.#scheduled = false;
		const { view } = this;
		const messages = this.#queue.splice(0);
		if (view)
			this.view = advance(
				view,
				messages.filter((message) => message.run === view.id)
			);
	}

	#keep(view: RunView, file: Extract<EventMessage['event'], { type: 'file' }>): void {
		const entry = { name: file.name, role: file.role, run: view.id, step: file.step, recipe: view.recipe };
		this.#keeping = this.#keeping.then(async () => {
			try {
				await keepFile(entry, file.bytes);
				this.kept++;
			} catch (error) {
				this.keepProblem = toProblem(error, file.name);
			}
		});
	}

	#finish(): void {
		void this.#lock?.release();
		this.#lock = null;
		this.#keeping = this.#keeping.then(async () => {
			this.#flush();
			const { view } = this;
			if (!view) return;
			rememberSpeed(view);
			await keepPreviews(view.id, view.strip).catch((error: unknown) => {
				this.keepProblem ??= toProblem(error, 'previews');
			});
		});
	}

	/** The lock falls when the tab is hidden and is taken again when it is seen. Refused (battery saver): training goes on all the same. */
	async #stayAwake(): Promise<void> {
		if (!this.active || document.hidden || !('wakeLock' in navigator)) return;
		this.#lock = await navigator.wakeLock.request('screen').catch(() => null);
	}
}

export const run = new Run();
