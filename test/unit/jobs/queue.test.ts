/** The queue as a reducer and with its runner: nothing lost, order kept, one at a time, whatever comes in whatever order. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Problem } from '../../../src/jobs/events';
import { EMPTY_QUEUE, isFinished, loadedQueue, nextJob, reduceQueue, runningJob, secondsLeft, uniqueName } from '../../../src/jobs/queue';
import type { Job, JobDraft, JobOutcome, Queue, QueueAction } from '../../../src/jobs/queue';
import { QueueRunner, type QueueEffects } from '../../../src/jobs/queue-runner';
import { sweepRecipes, sweepValues } from '../../../src/jobs/queue-sweep';
import { defaultRecipe } from '../../../src/recipe/defaults';

const BASE = defaultRecipe('mini');
const draft = (id: string, name = id): JobDraft => ({ id, recipe: { ...BASE, name }, input: { model: { kind: 'bundled', name: 'mini' }, content: null } });
const problem = (code: string): Problem => ({ level: 'error', code, where: 'x', values: {}, message: code });
const queueOf = (...ids: string[]): Queue => reduceQueue(EMPTY_QUEUE, { type: 'add', jobs: ids.map((id) => draft(id)), time: 1 });
const after = (queue: Queue, ...actions: QueueAction[]): Queue => actions.reduce(reduceQueue, queue);
const ids = (queue: Queue): string[] => queue.jobs.map(({ id }) => id);
const states = (queue: Queue): string[] => queue.jobs.map(({ state }) => state);
const ended = (id: string, outcome: JobOutcome): QueueAction => ({ type: 'ended', id, outcome, time: 9 });

const anyId = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const outcome = fc.constantFrom<JobOutcome>(
	{ kind: 'done' },
	{ kind: 'stopped' },
	{ kind: 'paused' },
	{ kind: 'failed', problem: problem('gpu.lost') },
	{ kind: 'failed', problem: problem('training.diverged') },
	{ kind: 'blocked', problem: problem('queue.permission') }
);
const action: fc.Arbitrary<QueueAction> = fc.oneof(
	fc.record({
		type: fc.constant('add' as const),
		jobs: fc.array(
			fc.tuple(anyId, fc.constantFrom('x', 'y')).map(([id, name]) => draft(id, name)),
			{ maxLength: 3 }
		),
		time: fc.nat(),
		first: fc.boolean()
	}),
	fc.record({ type: fc.constant('remove' as const), id: anyId }),
	fc.constant({ type: 'clear' } as const),
	fc.record({ type: fc.constant('move' as const), id: anyId, to: fc.integer({ min: -2, max: 8 }) }),
	anyId.map((id) => ({ type: 'edit' as const, id, recipe: { ...BASE, name: 'x' } })),
	fc.constantFrom<QueueAction>({ type: 'go' }, { type: 'hold' }),
	anyId.map((id) => ({ type: 'started' as const, id, time: 2 })),
	fc.record({ type: fc.constant('ended' as const), id: anyId, outcome, time: fc.nat() }),
	anyId.map((id) => ({ type: 'snapshot' as const, id, pass: 'copier' as const, step: 5 })),
	anyId.map((id) => ({ type: 'retry' as const, id }))
);

describe('the reducer', () => {
	it('loses no job, keeps order and names apart, and runs at most one, whatever happens', () => {
		fc.assert(
			fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
				let queue = EMPTY_QUEUE;
				for (const step of actions) {
					const before = queue;
					const copy = structuredClone(before);
					queue = reduceQueue(before, step);
					expect(before).toEqual(copy); // pure
					expect(queue.jobs.filter(({ state }) => state === 'running').length).toBeLessThanOrEqual(1);
					expect(new Set(ids(queue)).size).toBe(queue.jobs.length);
					expect(new Set(queue.jobs.map(({ recipe }) => recipe.name)).size).toBe(queue.jobs.length);
					const gone = before.jobs.filter((job) => !ids(queue).includes(job.id));
					if (step.type === 'remove') expect(gone.every((job) => job.id === step.id && job.state !== 'running')).toBe(true);
					else if (step.type === 'clear') expect(gone.every(isFinished)).toBe(true);
					else expect(gone).toEqual([]);
					// Only `move` changes the order of those that stay.
					if (step.type !== 'move') expect(ids(queue).filter((id) => ids(before).includes(id))).toEqual(ids(before).filter((id) => ids(queue).includes(id)));
					expect(ids(queue).filter((id) => step.type !== 'move' || id !== step.id)).toEqual(
						step.type === 'move' ? ids(before).filter((id) => id !== step.id) : ids(queue)
					);
					const next = nextJob(queue);
					if (next) expect(runningJob(queue)).toBeUndefined();
				}
			}),
			{ numRuns: 300 }
		);
	});

	it('goes through its jobs in order, and a failing one does not hold the others up', () => {
		const running = after(queueOf('a', 'b', 'c'), { type: 'go' }, { type: 'started', id: 'a', time: 2 });
		expect(nextJob(running)).toBeUndefined();
		const failed = after(running, ended('a', { kind: 'failed', problem: problem('training.diverged') }));
		expect(failed.jobs[0]).toMatchObject({ state: 'failed', problem: { code: 'training.diverged' } });
		expect(nextJob(failed)?.id).toBe('b');
		expect(nextJob(after(failed, { type: 'hold' }))).toBeUndefined();
	});

	it('takes a lost device up again once, from the snapshot, and then reports it', () => {
		const lost = ended('a', { kind: 'failed', problem: problem('gpu.lost') });
		const start: QueueAction = { type: 'started', id: 'a', time: 2 };
		const once = after(queueOf('a', 'b'), { type: 'go' }, start, { type: 'snapshot', id: 'a', pass: 'difference', step: 40 }, lost);
		expect(once.jobs[0]).toMatchObject({ state: 'interrupted', snapshot: { step: 40 } });
		expect(nextJob(once)?.id).toBe('a');
		expect(states(after(once, start, lost))).toEqual(['failed', 'waiting']);
		const full = after(queueOf('a'), { type: 'go' }, start, ended('a', { kind: 'failed', problem: problem('gpu.memory') }));
		expect(states(full)).toEqual(['failed']);
	});

	it('offers what was interrupted after loading, and starts nothing by itself', () => {
		const left = after(queueOf('a', 'b'), { type: 'go' }, { type: 'started', id: 'a', time: 2 }, { type: 'snapshot', id: 'a', pass: 'copier', step: 8 });
		const found = loadedQueue(structuredClone(left));
		expect(states(found)).toEqual(['interrupted', 'waiting']);
		expect(nextJob(found)).toBeUndefined();
		expect(nextJob(after(found, { type: 'go' }))).toMatchObject({ id: 'a', snapshot: { step: 8 } });
	});

	it('makes names unique on entry and on edit, moves, and refuses to change what runs', () => {
		const queue = after(EMPTY_QUEUE, { type: 'add', jobs: [draft('a', 'x'), draft('b', 'x'), draft('c', 'x-2')], time: 1 });
		expect(queue.jobs.map(({ recipe }) => recipe.name)).toEqual(['x', 'x-2', 'x-2-2']);
		const edited = after(queue, { type: 'edit', id: 'c', recipe: { ...BASE, name: 'x' } });
		expect(edited.jobs[2]?.recipe.name).toBe('x-3');
		expect(ids(after(queue, { type: 'move', id: 'c', to: 0 }))).toEqual(['c', 'a', 'b']);
		const running = after(queue, { type: 'started', id: 'a', time: 2 });
		expect(after(running, { type: 'edit', id: 'a', recipe: { ...BASE, name: 'other' } }, { type: 'remove', id: 'a' }).jobs).toEqual(running.jobs);
		expect(ids(after(running, { type: 'add', jobs: [draft('d')], time: 2, first: true }))).toEqual(['a', 'd', 'b', 'c']);
		expect(uniqueName('x', new Set(['x', 'x-2']))).toBe('x-3');
	});

	it('adds up the time left', () => {
		const queue = after(queueOf('a', 'b'), { type: 'started', id: 'a', time: 2 });
		expect(secondsLeft(queue, () => null)).toBeNull();
		expect(secondsLeft(queue, () => 100)).toBe(200);
		const half = after(queue, { type: 'progress', id: 'a', progress: { pass: 'copier', step: 5, steps: 10, share: 0.25, etaSeconds: 60 } });
		expect(secondsLeft(half, () => 100)).toBe(160);
	});
});

describe('a sweep', () => {
	it('makes one named recipe per value, at any path', () => {
		const { recipes, problems } = sweepRecipes({ ...BASE, name: 'u' }, 'passes.difference.learningRate', sweepValues('5e-5, 1e-4 0.01'));
		expect(problems).toEqual([]);
		expect(recipes.map(({ name }) => name)).toEqual(['u_lr5e-5', 'u_lr1e-4', 'u_lr0.01']);
		expect(recipes.map((r) => r.passes.difference.learningRate)).toEqual([5e-5, 1e-4, 0.01]);
		expect(recipes.map((r) => r.passes.copier)).toEqual([BASE.passes.copier, BASE.passes.copier, BASE.passes.copier]);
		expect(sweepRecipes(BASE, 'passes.copier.rank', [4, 4]).recipes.map(({ name }) => name)).toEqual([`${BASE.name}_p1dim4`]);
		expect(sweepRecipes(BASE, 'prompts.original', ['a, b']).recipes[0]?.prompts.original).toBe('a, b');
	});

	it('refuses fields that are none and values that cannot be', () => {
		expect(sweepRecipes(BASE, 'passes.difference.lerningRate', [1]).problems[0]).toMatchObject({ code: 'queue.sweepField' });
		expect(sweepRecipes(BASE, '__proto__.x', [1]).problems[0]).toMatchObject({ code: 'queue.sweepField' });
		expect(sweepRecipes(BASE, 'passes.difference.rank', []).problems[0]).toMatchObject({ code: 'queue.sweepValues' });
		expect(sweepRecipes(BASE, 'passes.difference.rank', [4, 'four']).problems[0]).toMatchObject({ where: 'passes.difference.rank', level: 'error' });
	});
});

describe('the runner', () => {
	function harness(outcomes: (job: Job) => JobOutcome | Promise<JobOutcome>) {
		const log: string[] = [];
		let stored: Queue | undefined;
		let clock = 0;
		const effects: QueueEffects = {
			load: () => Promise.resolve(stored && structuredClone(stored)),
			save: (queue) => {
				stored = structuredClone(queue);
				return Promise.resolve();
			},
			run: async (job, report) => {
				// What is on disk already says that this job runs: a crash now finds it interrupted.
				expect(stored && runningJob(stored)?.id).toBe(job.id);
				log.push(`${job.id}${job.snapshot ? `@${job.snapshot.step}` : ''}`);
				report({ type: 'snapshot', id: job.id, pass: 'copier', step: 3 });
				return outcomes(job);
			},
			end: () => Promise.resolve(),
			settled: (job) => {
				expect(stored?.jobs.find(({ id }) => id === job.id)?.state).toMatch(/done|stopped/);
				return Promise.resolve();
			},
			forget: (job) => {
				log.push(`forget ${job.id}`);
				return Promise.resolve();
			},
			unsaved: () => undefined,
			failed: (error) => problem(String(error)),
			now: () => ++clock
		};
		return { effects, log, stored: () => stored };
	}

	it('runs everything in order, with jobs added meanwhile, and stores it', async () => {
		const { effects, log, stored } = harness((job) => {
			if (job.id === 'a') runner.dispatch({ type: 'add', jobs: [draft('d')], time: 3 });
			if (job.id === 'b') throw new Error('broken');
			return { kind: 'done' };
		});
		const runner = await QueueRunner.open(effects);
		runner.dispatch({ type: 'add', jobs: [draft('a'), draft('b'), draft('c')], time: 1 });
		runner.dispatch({ type: 'go' });
		await runner.idle();
		expect(log).toEqual(['a', 'b', 'c', 'd']);
		expect(runner.queue.jobs.map(({ state }) => state)).toEqual(['done', 'failed', 'done', 'done']);
		expect(stored()).toEqual(runner.queue);
		runner.dispatch({ type: 'clear' });
		await runner.idle();
		expect(log.slice(4).sort()).toEqual(['forget a', 'forget b', 'forget c', 'forget d']);
	});

	it('goes on after a pause and after a reload from the snapshot', async () => {
		let release: (outcome: JobOutcome) => void = () => undefined;
		const held = harness(() => new Promise((resolve) => (release = resolve)));
		const runner = await QueueRunner.open(held.effects);
		runner.dispatch({ type: 'add', jobs: [draft('a'), draft('b')], time: 1 });
		runner.dispatch({ type: 'go' });
		await expect.poll(() => held.log.length).toBe(1);
		await runner.end('pause', true);
		release({ kind: 'stopped' });
		await runner.idle();
		expect(states(runner.queue)).toEqual(['paused', 'waiting']);
		runner.dispatch({ type: 'go' });
		await expect.poll(() => held.log).toEqual(['a', 'a@3']);
		// The tab is closed here: a new runner finds what was stored.
		const reopened = await QueueRunner.open(held.effects);
		expect(states(reopened.queue)).toEqual(['interrupted', 'waiting']);
		reopened.dispatch({ type: 'go' });
		await expect.poll(() => held.log).toEqual(['a', 'a@3', 'a@3']);
	});
});
