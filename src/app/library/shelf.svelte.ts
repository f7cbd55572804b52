/**
 * The library as screens see it: the entries, kept up to date, and deletions that can be taken back. What is deleted leaves the screen at once and the
 * disk a little later; leaving the page or deleting more makes it final, closing the tab before that keeps it.
 */
import type { Problem } from '../../service/protocol';
import type { LibraryChange, LibraryEntry } from '../../storage/library';
import { library } from './keep';
import { asStorageProblem } from './problem';

const UNDO_MS = 30_000;

class Shelf {
	#all = $state.raw<LibraryEntry[] | null>(null);
	/** Why the library cannot be read. */
	problem = $state.raw<Problem | null>(null);
	/** Why the last change did not work. */
	failure = $state.raw<Problem | null>(null);
	/** Gone from the screen, still on the disk. */
	removed = $state.raw<ReadonlySet<string>>(new Set());
	#timer: ReturnType<typeof setTimeout> | undefined;

	/** Newest first; null until read. */
	get entries(): LibraryEntry[] | null {
		return this.#all?.filter(({ id }) => !this.removed.has(id)) ?? null;
	}

	async read(): Promise<void> {
		try {
			this.#all = await (await library()).list();
			this.problem = null;
		} catch (error) {
			this.problem = asStorageProblem(error);
		}
	}

	/** Reads, and reads again after every change, until the returned function is called. */
	watch(): () => void {
		let stop = () => {};
		let gone = false;
		void this.read();
		library().then(
			(shelf) => {
				if (!gone) stop = shelf.onChange(() => void this.read());
			},
			() => undefined // said by `read`
		);
		return () => {
			gone = true;
			stop();
			void this.commit();
		};
	}

	/** True when it worked; `failure` says why not. */
	async change(id: string, change: LibraryChange): Promise<boolean> {
		return this.attempt(async () => {
			await (await library()).update(id, change);
		});
	}

	async attempt(work: () => Promise<void>): Promise<boolean> {
		try {
			await work();
			this.failure = null;
			return true;
		} catch (error) {
			this.failure = asStorageProblem(error);
			return false;
		}
	}

	async remove(ids: readonly string[]): Promise<void> {
		await this.commit();
		this.removed = new Set(ids);
		this.#timer = setTimeout(() => void this.commit(), UNDO_MS);
	}

	undo(): void {
		clearTimeout(this.#timer);
		this.removed = new Set();
	}

	/** Makes deletions final. */
	async commit(): Promise<void> {
		clearTimeout(this.#timer);
		const ids = [...this.removed];
		if (ids.length === 0) return;
		await this.attempt(async () => {
			const shelf = await library();
			for (const id of ids) await shelf.remove(id);
		});
		await this.read();
		this.removed = new Set();
	}
}

export const shelf = new Shelf();
