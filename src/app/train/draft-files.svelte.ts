/** Files of the run being prepared, beside its pair: a folder of pictures, a mask, LoRAs to start from. They live as long as the page does. */
import type { FileRef } from '../../recipe/recipe';
import type { Problem } from '../../service/protocol';
import { loadPicture, PictureError, type LoadedPicture } from '../picture/load';
import type { FolderPicture } from './folder';
import { toProblem } from './trainer.svelte';

/** What of a recipe these files are named in. */
interface Named {
	copier: { file: FileRef | null };
	resumeFrom: FileRef | null;
	mask: { name: string; sha256?: string } | null;
	dataset: { folder: { name: string } | null };
}

export class DraftFiles {
	pictures = $state.raw<readonly FolderPicture[]>([]);
	mask = $state.raw<LoadedPicture | null>(null);
	copier = $state.raw<ArrayBuffer | null>(null);
	start = $state.raw<ArrayBuffer | null>(null);
	problems = $state.raw<Problem[]>([]);
	reading = $state(false);
	readonly #recipe: () => Named;

	constructor(recipe: () => Named) {
		this.#recipe = recipe;
	}

	/** Files that were read before, for a recipe that names them. */
	restore(files: Pick<DraftFiles, 'pictures' | 'mask' | 'copier' | 'start'>): void {
		this.problems = [];
		Object.assign(this, files);
	}

	async #attempt(where: string, work: () => Promise<void>): Promise<void> {
		this.reading = true;
		this.problems = [];
		try {
			await work();
		} catch (error) {
			this.problems = [error instanceof PictureError ? error.problem : toProblem(error, where)];
		} finally {
			this.reading = false;
		}
	}

	pickFolder(files: readonly File[]): Promise<void> {
		return this.#attempt('dataset.folder', async () => {
			const { readFolderFiles } = await import('./folder');
			this.pictures = await readFolderFiles(files);
			this.#recipe().dataset.folder = { name: `${this.pictures.length}` };
		});
	}

	pickMask(file: File): Promise<void> {
		return this.#attempt('mask', async () => {
			this.mask = await loadPicture(file, file.name, 'original');
			this.#recipe().mask = { name: this.mask.name, sha256: this.mask.sha256 };
		});
	}

	removeMask(): void {
		this.mask = null;
		this.#recipe().mask = null;
	}

	pickLora(which: 'copier' | 'start', file: File): Promise<void> {
		return this.#attempt(which === 'copier' ? 'copier.file' : 'resumeFrom', async () => {
			const bytes = await file.arrayBuffer();
			const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
			const ref = { name: file.name, sha256: Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('') };
			this[which] = bytes;
			if (which === 'copier') this.#recipe().copier.file = ref;
			else this.#recipe().resumeFrom = ref;
		});
	}

	removeLora(which: 'copier' | 'start'): void {
		this[which] = null;
		if (which === 'copier') this.#recipe().copier.file = null;
		else this.#recipe().resumeFrom = null;
	}
}
