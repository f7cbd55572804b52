/** When snapshots are taken and what they may cost; whom they belong to; what happens when they cannot be kept. No GPU: the state is made up. */
import { describe, expect, it } from 'vitest';
import type { RunEvent } from '../../../src/jobs/events';
import { openRunMemory, runIdentity } from '../../../src/jobs/resume';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { memorySlots, snapshotStore, type Slots } from '../../../src/storage/snapshots/snapshots';
import { TrainingControl } from '../../../src/training/events';
import type { PassState } from '../../../src/training/pass-state';
import type { RunState } from '../../../src/training/run-state';
import { SnapshotKeeper, type SnapshotSink } from '../../../src/training/snapshots';

const state = (step: number): PassState =>
	({
		pass: 'difference',
		step,
		factors: { values: Float32Array.of(step), moments: [Float32Array.of(-0)] },
		losses: Float64Array.of(0.5),
		probe: { base: 1, steps: [], values: [] }
	}) as unknown as PassState;
const runState = (step: number): RunState => ({ seeds: { copier: 1, difference: 4294967295 }, startedAt: 7, pass: state(step) });

describe('when', () => {
	/** Steps of `stepMs`, each snapshot costing `cost`; returns the steps that were kept. */
	async function taken(o: { every: number; steps: number; stepMs: number; cost: number; ask?: number; fails?: (step: number) => boolean }): Promise<number[]> {
		let now = 0;
		const kept: number[] = [];
		const control = new TrainingControl();
		const sink: SnapshotSink = {
			every: o.every,
			save: ({ step }) => {
				if (o.fails?.(step)) return Promise.reject(new Error('full'));
				kept.push(step);
				return Promise.resolve(o.cost);
			},
			failed: () => undefined
		};
		const keeper = new SnapshotKeeper(sink, control, 0, () => now);
		for (let k = 0; k < o.steps; k++) {
			if (k === o.ask) control.snapshot();
			keeper.offer(k, () => Promise.resolve(state(k)));
			await keeper.settled();
			now += o.stepMs;
		}
		return kept;
	}

	it('every so many steps, at the latest after a minute, and when asked', async () => {
		expect(await taken({ every: 10, steps: 35, stepMs: 100, cost: 1 })).toEqual([10, 20, 30]);
		expect(await taken({ every: 1000, steps: 10, stepMs: 25_000, cost: 1 })).toEqual([3, 6, 9]);
		expect(await taken({ every: 0, steps: 50, stepMs: 60_000, cost: 1, ask: 17 })).toEqual([17]);
	});

	it('never for more than 2 % of the time', async () => {
		const [stepMs, cost, steps] = [10, 40, 2000];
		const kept = await taken({ every: 1, steps, stepMs, cost });
		expect(kept.length).toBeGreaterThan(5);
		expect((kept.length * cost) / (steps * stepMs)).toBeLessThanOrEqual(0.021);
	});

	it('not again and again on a full disk', async () => {
		let tries = 0;
		const kept = await taken({ every: 1, steps: 300, stepMs: 1000, cost: 1, fails: (step) => step < 130 && ++tries > 0 });
		expect(tries).toBeLessThanOrEqual(3);
		expect(kept[0]).toBeGreaterThanOrEqual(130);
	});
});

describe('what is kept', () => {
	const recipe = defaultRecipe('mini');
	async function memoryOf(slots: Slots, resume: boolean, change: Partial<{ identity: string; device: string }> = {}) {
		const events: RunEvent[] = [];
		const options = { identity: 'a', device: 'gpu', version: '1', recipe, emit: (event: RunEvent) => void events.push(event), ...change };
		const memory = await openRunMemory({ store: snapshotStore(slots), job: 'job', resume }, options);
		const warnings = (): string[] => events.flatMap((event) => (event.type === 'warning' ? [event.problem.code] : []));
		return { memory, events, warnings };
	}

	it('comes back bit by bit, and a run that starts anew removes it', async () => {
		const slots = memorySlots();
		const { memory, events } = await memoryOf(slots, false);
		await memory.save(runState(12));
		expect(events.at(-1)).toMatchObject({ type: 'snapshot', pass: 'difference', step: 12 });
		const again = await memoryOf(slots, true);
		expect(again.memory.from).toEqual(runState(12));
		expect(again.events[0]).toMatchObject({ type: 'resumed', pass: 'difference', step: 12, curves: { difference: { losses: Float64Array.of(0.5) } } });
		expect(again.warnings()).toEqual([]);
		await memoryOf(slots, false);
		expect(await slots.list()).toEqual([]);
	});

	it('is refused to other work, and left alone', async () => {
		const slots = memorySlots();
		await (await memoryOf(slots, false)).memory.save(runState(3));
		await expect(memoryOf(slots, true, { identity: 'b' })).rejects.toMatchObject({ problem: { code: 'resume.otherRun' } });
		expect((await memoryOf(slots, true)).memory.from).toBeDefined();
		const elsewhere = await memoryOf(slots, true, { device: 'another' });
		expect(elsewhere.warnings()).toEqual(['resume.otherDevice']);
		expect(elsewhere.memory.from).toBeDefined();
	});

	it('counts only with its copier', async () => {
		const slots = memorySlots();
		const { memory } = await memoryOf(slots, false);
		await memory.save({ ...runState(3), copier: { losses: Float64Array.of(1), probe: { base: 1, steps: [], values: [] } as never, skipped: 0 } });
		const without = await memoryOf(slots, true);
		expect(without.memory.from).toBeUndefined();
		expect(without.warnings()).toEqual(['resume.missing']);
	});

	it('is what it is made of: recipe, pictures, model; not its name or what is drawn on the way', async () => {
		const picture = (value: number) => ({ width: 2, height: 1, data: Uint8ClampedArray.of(value, 2, 3, 255, 5, 6, 7, 255) });
		const model = new Blob([new Uint8Array(300_000)]);
		const base = await runIdentity(recipe, [picture(1), picture(2)], model);
		expect(await runIdentity({ ...recipe, name: 'other', preview: { ...recipe.preview, every: 7 } }, [picture(1), picture(2)], model)).toBe(base);
		expect(await runIdentity({ ...recipe, storage: 'f32' }, [picture(1), picture(2)], model)).not.toBe(base);
		expect(await runIdentity(recipe, [picture(2), picture(1)], model)).not.toBe(base);
		expect(await runIdentity(recipe, [picture(1), picture(2)], new Blob([new Uint8Array(300_001)]))).not.toBe(base);
	});

	it('a full disk is said once, and the run goes on', async () => {
		const slots = memorySlots();
		const { memory, warnings } = await memoryOf(slots, false);
		const full = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
		memory.failed(full);
		memory.failed(full);
		expect(warnings()).toEqual(['snapshot.full']);
		await memory.save(runState(5));
		memory.failed(new Error('odd'));
		expect(warnings()).toEqual(['snapshot.full', 'snapshot.failed']);
	});
});
