/** Random programs: plans never overlap, respect alignment and arena size, and come near the lower bound. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkPlan, peakLiveBytes, planMemory } from '../../../src/graph/plan';
import type { MemoryPlan, PlanStep } from '../../../src/graph/plan';

interface Slot {
	readonly id: number;
	readonly bytes: number;
}

const sizeOf = (slot: Slot) => slot.bytes;

/** Programs in which slots are written once, read later by some steps, and sometimes read without ever being written. */
const programs = fc
	.record({
		bytes: fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 30 }),
		reads: fc.array(fc.array(fc.nat(1000), { maxLength: 4 }), { minLength: 30, maxLength: 30 }),
		inputs: fc.nat(3),
		pinned: fc.array(fc.nat(1000), { maxLength: 3 })
	})
	.map(({ bytes, reads, inputs, pinned }) => {
		const slots = bytes.map((size, id): Slot => ({ id, bytes: size }));
		const first = Math.min(inputs, slots.length - 1);
		const steps: PlanStep<Slot>[] = slots.slice(first).map((slot, i) => ({
			writes: [slot],
			reads: first + i === 0 ? [] : (reads[i] ?? []).map((pick) => slots[pick % (first + i)] as Slot)
		}));
		return { steps, pinned: pinned.map((pick) => slots[pick % slots.length] as Slot) };
	});

describe('planMemory', () => {
	test('live slots never overlap, in one arena or in many', () => {
		fc.assert(
			fc.property(programs, fc.constantFrom(5120, 8192, 1 << 30), ({ steps, pinned }, maxArenaBytes) => {
				const options = { alignment: 256, maxArenaBytes, pinned };
				const plan = planMemory(steps, sizeOf, options);
				checkPlan(steps, sizeOf, plan, options);
				expect(plan.peakBytes).toBeGreaterThanOrEqual(plan.lowerBound);
				expect(plan.lowerBound).toBe(peakLiveBytes(steps, sizeOf, options));
				expect(plan.peakBytes).toBe(plan.arenas.reduce((sum, bytes) => sum + bytes, 0));
			}),
			{ numRuns: 300 }
		);
	});

	test('a chain of equal slots needs two places, however long it is', () => {
		const slots = Array.from({ length: 50 }, (_, id): Slot => ({ id, bytes: 1000 }));
		const steps = slots.map((slot, i) => ({ writes: [slot], reads: slots.slice(Math.max(0, i - 1), i) }));
		const plan = planMemory(steps, sizeOf, { alignment: 256, maxArenaBytes: 1 << 20 });
		expect(plan.peakBytes).toBe(2048);
		expect(plan.lowerBound).toBe(2048);
	});

	test('forward and backward of a deep chain: everything is live in the middle, nothing more is needed', () => {
		const forward = Array.from({ length: 40 }, (_, id): Slot => ({ id, bytes: 256 * (1 + (id % 7)) }));
		const backward = forward.map(({ id, bytes }): Slot => ({ id: 100 + id, bytes }));
		const steps: PlanStep<Slot>[] = forward.map((slot, i) => ({ writes: [slot], reads: forward.slice(Math.max(0, i - 1), i) }));
		for (let i = 39; i >= 0; i--) steps.push({ writes: [backward[i] as Slot], reads: [forward[i] as Slot, ...backward.slice(i + 1, i + 2)] });
		const options = { alignment: 256, maxArenaBytes: 1 << 30 };
		const plan = planMemory(steps, sizeOf, options);
		checkPlan(steps, sizeOf, plan, options);
		expect(plan.peakBytes).toBeLessThanOrEqual(plan.lowerBound * 1.1);
	});

	test('a slot larger than an arena may be is an error', () => {
		const slot = { id: 0, bytes: 300 };
		expect(() => planMemory([{ writes: [slot], reads: [] }], sizeOf, { alignment: 256, maxArenaBytes: 511 })).toThrow(/300 bytes does not fit/);
	});

	test('scratch that a step both reads and writes lives in that step alone', () => {
		const [a, b] = [
			{ id: 0, bytes: 256 },
			{ id: 1, bytes: 256 }
		];
		const steps = [
			{ reads: [a], writes: [a] },
			{ reads: [b], writes: [b] }
		];
		expect(planMemory(steps, sizeOf, { alignment: 256, maxArenaBytes: 1024 }).peakBytes).toBe(256);
	});
});

describe('checkPlan finds what is wrong', () => {
	const [a, b] = [
		{ id: 0, bytes: 512 },
		{ id: 1, bytes: 512 }
	];
	const steps = [
		{ reads: [], writes: [a] },
		{ reads: [a], writes: [b] }
	];
	const options = { alignment: 256, maxArenaBytes: 4096 };
	const plan = (offset: number, arena = 1024): MemoryPlan<Slot> => ({
		arenas: [arena],
		place: new Map([
			[a, { arena: 0, offset: 0, bytes: 512 }],
			[b, { arena: 0, offset, bytes: 512 }]
		]),
		peakBytes: arena,
		lowerBound: 1024
	});

	test('a right plan passes', () => expect(() => checkPlan(steps, sizeOf, plan(512), options)).not.toThrow());
	test('overlap', () => expect(() => checkPlan(steps, sizeOf, plan(256), options)).toThrow(/Step 1: two live slots overlap/));
	test('alignment', () => expect(() => checkPlan(steps, sizeOf, plan(513, 2048), options)).toThrow(/misplaced/));
	test('beyond the arena', () => expect(() => checkPlan(steps, sizeOf, plan(768), options)).toThrow(/beyond its arena/));
});
