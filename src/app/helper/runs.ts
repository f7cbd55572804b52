/** Runs that the helper has: shown like any other run, and their files brought into the library. */
import type { RunSummary } from '../../service/helper-protocol';
import type { Problem } from '../../service/protocol';
import { download } from '../download';
import { keepFile } from '../library/keep';
import { run } from '../run/run.svelte';
import { trainer } from '../train/trainer.svelte';

/** Takes up a run: through its job when this browser's queue has it, else as it is. Returns what kept it from being shown. */
export async function showRun({ run: id, job, started }: RunSummary): Promise<Problem | null> {
	if (run.view?.id === id) return null;
	if (run.active) return null;
	const { recipe } = await trainer.at.helper.request({ type: 'follow', run: id, after: null });
	if (!recipe) return null;
	return run.follow(id, { recipe }, job ?? id, started);
}

/** What the run made, as downloads of the browser; of one that was cut off, the newest it saved on the way. Errors: `ServiceError` */
export async function downloadRun({ run: id }: RunSummary): Promise<void> {
	const { files } = await trainer.at.helper.request({ type: 'fetchResult', run: id });
	for (const { name, bytes } of files) download(name, bytes);
}

/** Returns how many files of the run are in the library now. Errors: `StorageError`, `ServiceError` */
export async function fetchInto({ run: id, job }: RunSummary): Promise<number> {
	const [{ recipe }, { files }] = await Promise.all([
		trainer.at.helper.request({ type: 'follow', run: id, after: null }),
		trainer.at.helper.request({ type: 'fetchResult', run: id })
	]);
	if (!recipe) return 0;
	for (const { name, role, step, bytes } of files) await keepFile({ name, role, step, run: job ?? id, recipe }, bytes, true);
	return files.length;
}
