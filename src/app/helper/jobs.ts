/** Jobs of the queue and the helper: where one goes, the run it has there, and carrying its snapshot from one place to the other. Loaded when a job needs it. */
import type { RunSummary } from '../../service/helper-protocol';
import type { ModelSource, Problem } from '../../service/protocol';
import type { Job, JobInput } from '../../service/queue';
import { trainer, type Place } from '../train/trainer.svelte';
import { helper } from './connection.svelte';
import { placing } from './placing.svelte';

function problem(code: string, values: Problem['values'], message: string): Problem {
	return { level: 'warning', code, where: 'model', values, message };
}

/** Where a job starts now. One that has a snapshot goes on where that is. */
export function placeOf(job: Job, source: ModelSource): Place {
	if (job.place && job.snapshot) return job.place;
	if (source.kind === 'named') return 'helper';
	const { where } = job.input;
	return where === 'automatic' ? placing.placeFor(source, job.recipe) : (where ?? 'here');
}

/** The newest run of a job that the helper has; undefined when it has none, or does not answer. */
export async function runOf(job: string): Promise<RunSummary | undefined> {
	const runs = await helper.refreshRuns().catch(() => []);
	return runs.find((run) => run.job === job);
}

/** The model as the helper knows it, or why it cannot be had there. */
export function sourceThere(source: ModelSource): { source: ModelSource } | { problem: Problem } {
	const there = trainer.translate(source, 'helper');
	if (there) return { source: there };
	const name = source.kind === 'file' ? source.name : '';
	const message = `“${name}” is too large to be sent to the helper. Put it into one of the helper’s folders (utsushi models add); then it is found there by its name.`;
	return { problem: problem('queue.modelThere', name === '' ? {} : { name }, message) };
}

/** A job's model as it is known in the other place, or what has to be done first. */
export function modelAt(place: Place, source: ModelSource): { model: JobInput['model'] | null; source: ModelSource } | { problem: Problem } {
	if (place === 'helper') {
		const there = sourceThere(source);
		if ('problem' in there) return there;
		const named = there.source.kind === 'named' ? there.source : null;
		return { model: named && { kind: 'file', name: helper.entryOf(named.id)?.name ?? named.id, key: `helper ${named.id}` }, source: there.source };
	}
	if (source.kind !== 'named') return { model: null, source };
	const entry = helper.entryOf(source.id);
	const here = trainer.at.here.source;
	if (entry && here.kind === 'file' && here.blob.size === entry.bytes) return { model: null, source: here };
	const name = entry?.name ?? '';
	const message = `“${name}” lies in the helper’s folder, which this page cannot read. Choose the same file under Train › Model with “here”, then move the run.`;
	return { problem: problem('queue.modelHere', { name }, message) };
}

/** Takes a job's snapshot from one trainer to the other. Errors: ServiceError; then it is still where it was. */
export async function carrySnapshot(job: string, from: Place, to: Place): Promise<boolean> {
	const snapshot = await trainer.at[from].request({ type: 'takeSnapshot', job });
	if (!snapshot) return false;
	await trainer.at[to].request({ type: 'giveSnapshot', job, snapshot });
	await trainer.at[from].request({ type: 'dropSnapshot', job }).catch(() => undefined);
	return true;
}
