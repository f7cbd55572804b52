/**
 * Where `utsushi train` keeps what it needs to go on after an interruption: OUT/.utsushi/NAME with the queue (written aside, then renamed) and the snapshots of its jobs.
 * One folder per call, so that calls never mix; it goes when everything in it is done.
 */
import { mkdir, readdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { basename, join, parse } from 'node:path';
import { isFinished, readQueue, type Job, type Queue } from '../service/queue';
import { asStorageError } from '../storage/errors';

/** Where it lies in the folder of the results. */
export const HIDDEN = '.utsushi';

export interface NightFolder {
	readonly snapshots: string;
	load(): Promise<Queue | undefined>;
	save(queue: Queue): Promise<void>;
	/** Removes it when nothing in it can go on. */
	close(queue: Queue): Promise<void>;
}

/** Whether there is something to go on with. */
export function isOpen(job: Job): boolean {
	return !isFinished(job) || (job.state === 'failed' && job.snapshot !== null);
}

function nightFolder(out: string, name: string): NightFolder {
	const path = join(out, HIDDEN, name);
	const file = join(path, 'queue.json');
	return {
		snapshots: join(path, 'snapshots'),
		async load() {
			const text = await readFile(file, 'utf8').catch(() => undefined);
			try {
				return text === undefined ? undefined : readQueue(JSON.parse(text));
			} catch {
				return undefined; // not ours, or damaged: nothing to go on with
			}
		},
		async save(queue) {
			try {
				await mkdir(path, { recursive: true });
				const aside = join(path, `.queue.${process.pid}.part`);
				await writeFile(aside, `${JSON.stringify(queue, null, '\t')}\n`);
				await rename(aside, file);
			} catch (error) {
				throw asStorageError(error, 'queue');
			}
		},
		async close(queue) {
			if (queue.jobs.some(isOpen)) return;
			await rm(path, { recursive: true, force: true });
			// Other calls may have theirs there.
			await rmdir(join(out, HIDDEN)).catch(() => undefined);
		}
	};
}

export function newNight(out: string): NightFolder {
	return nightFolder(out, `${new Date().toISOString().replaceAll(/[:.]/g, '-')}-${process.pid}`);
}

/** Oldest first; `only`: just the one of this name. */
export async function openNights(out: string, only?: string): Promise<NightFolder[]> {
	const names = await readdir(join(out, HIDDEN)).catch(() => []);
	return names
		.filter((name) => only === undefined || name === only)
		.sort()
		.map((name) => nightFolder(out, name));
}

/** The file a job made before it was interrupted, if the one that comes now is that one again. */
export async function madeBefore(out: string, name: string, since: number): Promise<string | undefined> {
	const { name: stem, ext } = parse(name);
	for (const found of await readdir(out).catch(() => [])) {
		const other = parse(found);
		const numbered = other.name === stem || (other.name.startsWith(`${stem}-`) && /^\d+$/.test(other.name.slice(stem.length + 1)));
		if (other.ext === ext && numbered && (await stat(join(out, found))).mtimeMs >= since) return basename(found);
	}
	return undefined;
}
