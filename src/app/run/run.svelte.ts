/**
 * The one run of this tab: starts it, gathers its events a frame at a time, keeps every file in the library the moment it arrives,
 * holds the screen awake (a run on the helper needs neither page nor screen). The view itself is a pure function of the events (`view.ts`).
 */
import { PROTOCOL_VERSION, type EventMessage, type Keep, type Picture, type Problem, type TrainRequest } from '../../service/protocol';
import { newId } from '../id';
import { keepFile, keepPreviews } from '../library/keep';
import { preferences } from '../settings/preferences.svelte';
import { rememberSpeed } from '../train/speed';
import { trainer, toProblem, type Place } from '../train/trainer.svelte';
import { advance, startView, type FileView, type RunView } from './view';

/** A run silent for so long is asked whether its trainer still lives; one that is only slow answers. */
const SILENCE_MS = 10_000;
/** While the tab is hidden no frames come; events are applied this often instead. */
const HIDDEN_MS = 500;

/** Somebody who looks back and forth between tabs does not make the trainer write all the time. */
const LEAVING_MS = 10_000;

/** A file of the run, by its place in the library. */
interface Kept {
	readonly id: string;
	readonly role: FileView['role'];
	readonly step: number;
}

class Run {
	view = $state.raw<RunView | null>(null);
	original = $state.raw<Picture | null>(null);
	target = $state.raw<Picture | null>(null);
	/** Asked to stop, not stopped yet. */
	stopping = $state(false);
	/** Why a file could not be kept in the library. */
	keepProblem = $state.raw<Problem | null>(null);
	/** What of it lies in the library, in the order it was made. */
	kept = $state.raw<readonly Kept[]>([]);
	/** Where it goes on. On the helper it needs no page. */
	place = $state<Place>('here');

	#queue: EventMessage[] = [];
	#scheduled = false;
	#keeping: Promise<void> = Promise.resolve();
	#lock: WakeLockSentinel | null = null;
	#watch: ReturnType<typeof setTimeout> | undefined;
	/** The job this run belongs to: a run that was taken up again is one run to the library. */
	#job: string | null = null;
	#ended = new Promise<RunView>(() => undefined);
	#tellEnded: (view: RunView) => void = () => undefined;
	#lastSnapshot = 0;
	#resumed = false;

	get active(): boolean {
		return this.view !== null && this.view.outcome === null;
	}

	constructor() {
		trainer.subscribe((message) => this.#receive(message));
		if (typeof document === 'undefined') return;
		document.addEventListener('visibilitychange', () => {
			void this.#stayAwake();
			if (document.hidden) this.#leaving();
		});
		document.addEventListener('freeze', () => this.#leaving());
	}

	/** Returns the problem that kept it from starting, or null. */
	async start(request: TrainRequest, keep?: Keep, place: Place = trainer.place): Promise<Problem | null> {
		const id = newId();
		this.#begin(id, request, keep?.job ?? null, place);
		try {
			await this.#trainer.request({ type: 'train', run: id, request, ...(keep ? { keep } : {}) });
			void this.#stayAwake();
			this.#listen();
			return null;
		} catch (error) {
			this.view = null;
			return toProblem(error, 'train');
		}
	}

	/**
	 * Takes up a run that goes on (or has ended) on the helper: all its events come again, and files that are in the library already are not kept twice.
	 * Returns the problem that kept it from being followed, or null.
	 */
	async follow(id: string, request: Pick<TrainRequest, 'recipe' | 'original' | 'target'>, job: string | null, started: number): Promise<Problem | null> {
		this.#begin(id, request, job, 'helper', started);
		this.#resumed = true;
		try {
			await this.#trainer.request({ type: 'follow', run: id, after: -1 });
			void this.#stayAwake();
			this.#listen();
			return null;
		} catch (error) {
			this.view = null;
			return toProblem(error, 'train');
		}
	}

	get #trainer() {
		return trainer.at[this.place];
	}

	#begin(
		id: string,
		{ recipe, original, target }: Pick<TrainRequest, 'recipe' | 'original' | 'target'>,
		job: string | null,
		place: Place,
		started = Date.now()
	): void {
		this.#job = job;
		this.#resumed = false;
		this.#ended = new Promise((resolve) => (this.#tellEnded = resolve));
		this.view = startView(id, recipe, started);
		this.place = place;
		this.original = original ?? null;
		this.target = target ?? null;
		this.stopping = false;
		this.keepProblem = null;
		this.kept = [];
	}

	/** The view when the current run has ended and everything it made is in the library (or `keepProblem` says why not). */
	ended(): Promise<RunView> {
		return this.#ended;
	}

	/** `pause`: ends with a snapshot, to go on later. */
	async stop(save: boolean, pause = false): Promise<void> {
		if (!this.view || this.stopping) return;
		this.stopping = true;
		try {
			await this.#trainer.request({ type: 'stop', run: this.view.id, save, pause });
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
		if (message.event.type === 'resumed') this.#resumed = true;
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
			this.#trainer.request({ type: 'hello', version: PROTOCOL_VERSION }).then(
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
		const entry = { name: file.name, role: file.role, run: this.#job ?? view.id, step: file.step, recipe: view.recipe };
		const again = this.#resumed;
		this.#keeping = this.#keeping.then(async () => {
			try {
				const id = await keepFile(entry, file.bytes, again);
				if (this.view?.id === view.id) this.kept = [...this.kept, { id, role: file.role, step: file.step }];
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
			rememberSpeed(view, this.place);
			await keepPreviews(this.#job ?? view.id, view.strip).catch((error: unknown) => {
				this.keepProblem ??= toProblem(error, 'previews');
			});
			this.#tellEnded(this.view ?? view);
		});
	}

	/** The page is hidden or put to sleep and may not come back: what was learned so far is kept. */
	#leaving(): void {
		const { view } = this;
		if (!this.active || !view || !this.#job || this.place !== 'here' || Date.now() - this.#lastSnapshot < LEAVING_MS) return;
		this.#lastSnapshot = Date.now();
		void this.#trainer.request({ type: 'snapshot', run: view.id }).catch(() => undefined);
	}

	/** The lock falls when the tab is hidden and is taken again when it is seen. Refused (battery saver): training goes on all the same. */
	async #stayAwake(): Promise<void> {
		if (!preferences.keepAwake || !this.active || this.place !== 'here' || document.hidden || !('wakeLock' in navigator)) return;
		this.#lock = await navigator.wakeLock.request('screen').catch(() => null);
	}
}

export const run = new Run();
