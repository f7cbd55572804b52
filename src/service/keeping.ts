/**
 * Snapshots as the host sees them: a run that is given a job's name is kept under it while it goes on. The host never removes them: whoever asked for the run does, once
 * its results are in safe hands, so that nothing is lost between the end of a run and the end of writing its files.
 */
import type { SnapshotRequest } from '../jobs/resume';
import type { Platform } from './platform';

/** With a `train` request: the job the run belongs to, and whether it goes on from the job's last snapshot. */
export interface Keep {
	job: string;
	resume: boolean;
}

/** A browser that keeps nothing (private window) trains without snapshots. */
export async function keepRun(platform: Platform, keep: Keep | undefined): Promise<SnapshotRequest | undefined> {
	if (!keep || !platform.openSnapshots) return undefined;
	const store = await platform.openSnapshots().catch(() => undefined);
	return store && { store, ...keep };
}
