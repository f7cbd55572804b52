/**
 * Merging and comparing behind the protocol. Needs no open model: which base a LoRA was made for is known by its names and widths.
 * The session of the last set of files is kept, so that another ratio, dimension or block weight is answered at once; files are known by their content.
 */
import { fingerprint } from '../formats/fingerprint';
import { blobSource } from '../formats/source';
import type { Gpu } from '../gpu/gpu';
import { errorProblem, warningProblem } from '../jobs/problem';
import { Cancelled } from '../jobs/stop';
import type { LoraError } from '../lora/error';
import { MergeSession, type MergeHooks } from '../lora/merge';
import { openMergeFile, type MergeFile } from '../lora/merge-files';
import type { LoraComparison, MergeReport } from '../lora/merge-types';
import { writeMerge } from '../lora/merge-write';
import type { Problem } from '../jobs/events';
import type { MergeSettings } from '../recipe/merge';
import { asProblem, ServiceError } from './errors';

/** A Blob travels as a reference; buffers are copied. */
export type LoraBytes = ArrayBuffer | Blob;

export interface MergeRequest {
	settings: MergeSettings;
	/** One per part, in the same order. */
	files: LoraBytes[];
}

export interface MergeOutcome {
	file: ArrayBuffer;
	report: MergeReport & {
		/** Warnings: what was left out, assumed or not used. */
		problems: Problem[];
	};
}

export type ComparedLoras = LoraComparison & { problems: Problem[] };

const asWarning = ({ code, where, message, values }: LoraError): Problem => warningProblem(code, where, message, { ...values });

export class Lab {
	#last: { key: string; session: MergeSession } | undefined;
	readonly #cancelled = new Set<string>();

	cancel(run: string): void {
		this.#cancelled.add(run);
	}

	async merge(run: string, { settings, files }: MergeRequest, onProgress: (share: number) => void, gpu?: Gpu): Promise<MergeOutcome> {
		this.#cancelled.delete(run);
		if (settings.parts.length !== files.length) {
			const message = `There are ${settings.parts.length} parts but ${files.length} files. Give every part its file.`;
			throw new ServiceError(errorProblem('merge.noFiles', 'files', message, { parts: settings.parts.length, files: files.length }));
		}
		const names = settings.parts.map(({ name }) => name);
		const session = await this.#session(names.map((name, i) => ({ name, bytes: files[i] ?? new Blob() })));
		const check = (): void => {
			if (this.#cancelled.has(run)) throw new Cancelled();
		};
		try {
			const merged = await session.merge(settings, { onProgress, check, ...(gpu ? { gpu } : {}) });
			const bytes = await writeMerge(merged.modules, merged.family, settings, session.files, new Date());
			return { file: bytes.buffer, report: { ...merged.report, problems: merged.warnings.map(asWarning) } };
		} catch (error) {
			if (error instanceof Cancelled) throw new ServiceError(errorProblem('run.cancelled', run, 'The merge was stopped.'), { cause: error });
			throw error;
		} finally {
			this.#cancelled.delete(run);
		}
	}

	async compare(files: readonly { name: string; bytes: LoraBytes }[], hooks: MergeHooks = {}): Promise<ComparedLoras> {
		const session = await this.#session(files);
		const comparison = await session.compare(hooks);
		return { ...comparison, problems: session.files.flatMap(({ warnings }) => warnings.map(asWarning)) };
	}

	/** Lets go of the files, and of what they take on the GPU. */
	release(): void {
		this.#last?.session.release();
		this.#last = undefined;
	}

	async #session(files: readonly { name: string; bytes: LoraBytes }[]): Promise<MergeSession> {
		const blobs = files.map(({ bytes }) => (bytes instanceof Blob ? bytes : new Blob([bytes])));
		const key = JSON.stringify(await Promise.all(blobs.map(async (blob, i) => [files[i]?.name, await fingerprint(blob)])));
		if (this.#last?.key === key) return this.#last.session;
		const opened: MergeFile[] = [];
		for (const [i, blob] of blobs.entries()) {
			const name = files[i]?.name ?? '';
			opened.push(
				await openMergeFile(name, blobSource(blob)).catch((error: unknown) => {
					const problem = asProblem(error, name);
					throw new ServiceError({ ...problem, message: problem.message.includes(name) ? problem.message : `${name}: ${problem.message}` }, { cause: error });
				})
			);
		}
		const session = new MergeSession(opened);
		this.release();
		this.#last = { key, session };
		return session;
	}
}
