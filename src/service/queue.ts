/**
 * The queue for those who talk to a trainer: the page and the command line keep their queue beside the trainer's client (the trainer itself knows one run at a time),
 * with the same reducer and runner. In a browser the queue lives in the page, so that it outlives a trainer that died; a reload finds it as it was and offers to go on.
 */
export {
	EMPTY_QUEUE,
	isEditable,
	isFinished,
	isResumable,
	runningJob,
	secondsLeft,
	type Job,
	type JobDraft,
	type JobInput,
	type JobOutcome,
	type JobPlace,
	type Queue
} from '../jobs/queue';
export { QueueRunner, type JobEnd, type JobReport } from '../jobs/queue-runner';
export { pairFiles, pairRecipe } from '../jobs/queue-pairs';
export { sweepRecipes, sweepValues } from '../jobs/queue-sweep';
import type { Job, Queue } from '../jobs/queue';
import { parseRecipe } from '../recipe/schema';

function isQueue(value: unknown): value is Queue {
	if (typeof value !== 'object' || value === null || !('version' in value) || value.version !== 1) return false;
	return (
		'jobs' in value &&
		Array.isArray(value.jobs) &&
		value.jobs.every((job: unknown) => typeof job === 'object' && job !== null && 'id' in job && 'recipe' in job)
	);
}

/** A stored queue, checked: its recipes may come from an older version, whose missing fields now have defaults. undefined: nothing usable. */
export function readQueue(stored: unknown): Queue | undefined {
	if (!isQueue(stored)) return undefined;
	const jobs = stored.jobs.map((job): Job => {
		const parsed = parseRecipe(job.recipe);
		if (parsed.ok) return { ...job, recipe: parsed.recipe };
		return { ...job, state: 'failed', problem: parsed.problems.find(({ level }) => level === 'error') ?? null };
	});
	return { ...stored, jobs };
}
