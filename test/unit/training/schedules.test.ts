/** Every schedule against diffusers and torch (tools/optimizer-reference/schedules.py), at every step; rates agree to 1e-12 of the highest. */
import { describe, expect, it } from 'vitest';
import { defaultSchedule, SCHEDULE_KINDS } from '../../../src/recipe/schedules';
import type { ScheduleSettings } from '../../../src/recipe/schedules';
import { Rates } from '../../../src/training/plateau';
import { learningRateAt } from '../../../src/recipe/rates';
import reference from '../../fixtures/training/schedules.json';

interface Plateau {
	settings: Extract<ScheduleSettings, { kind: 'plateau' }>;
	losses: number[];
	rates: number[];
}

const { rate, steps } = reference;
const schedules = reference.schedules as { settings: ScheduleSettings; rates: number[] }[];
const plateaus = reference.plateaus as Plateau[];

function expectClose(ours: number, theirs: number, scale: number): void {
	expect(Math.abs(ours - theirs)).toBeLessThanOrEqual(1e-12 * scale);
}

describe('schedules', () => {
	it('all kinds have a reference', () => {
		const kinds = [...schedules, ...plateaus].map(({ settings }) => settings.kind);
		expect([...new Set(kinds)].sort()).toEqual([...SCHEDULE_KINDS].sort());
	});

	it.each(schedules.map((item) => [JSON.stringify(item.settings), item] as const))('%s', (_, { settings, rates }) => {
		const highest = Math.max(...rates);
		rates.forEach((theirs, k) => expectClose(learningRateAt(k, rate, steps, settings), theirs, highest));
	});

	it.each(SCHEDULE_KINDS)('%s rises over its warm-up to where it starts, and never leaves 0 to its highest rate', (kind) => {
		const settings = { ...defaultSchedule(kind), warmup: 10 };
		const all = Array.from({ length: steps + 5 }, (_, k) => learningRateAt(k, rate, steps, settings));
		expect(all[0]).toBe(0);
		expectClose(all[5] ?? NaN, (all[10] ?? NaN) / 2, rate);
		expectClose(all[10] ?? NaN, learningRateAt(0, rate, steps - 10, { ...settings, warmup: 0 }), rate);
		expect(all.every((x) => Number.isFinite(x) && x >= 0 && x <= rate * (1 + 1e-12))).toBe(true);
	});
});

describe('plateau', () => {
	it.each(plateaus)('follows ReduceLROnPlateau, two stretches of ten losses behind: $settings', async ({ settings, losses, rates }) => {
		expect(new Set(rates).size, 'the reference does lower the rate').toBeGreaterThan(2);
		const made = new Rates({ learningRate: rate, iterations: steps, schedule: settings }, (count) => Promise.resolve(losses.slice(0, count)));
		for (let k = 0; k < steps; k++) {
			const theirs = rates[Math.max(0, Math.floor(k / 10) * 10 - 10)] ?? NaN;
			expectClose(await made.next(k), theirs, rate);
			expect(made.past(k)).toBe(await made.next(k));
		}
		// Taken up in the middle, and after going back to losses that then come out otherwise.
		const resumed = new Rates({ learningRate: rate, iterations: steps, schedule: settings }, (count) => Promise.resolve(losses.slice(0, count)));
		expect(await resumed.next(97)).toBe(made.past(97));
		resumed.rewind();
		expect(await resumed.next(43)).toBe(made.past(43));
	});

	it('never waits for losses of the last ten steps', async () => {
		let asked = 0;
		const settings = defaultSchedule('plateau');
		const rates = new Rates({ learningRate: rate, iterations: steps, schedule: settings }, (count) => {
			asked = count;
			return Promise.resolve(new Array<number>(count).fill(1));
		});
		for (let k = 0; k < steps; k++) {
			await rates.next(k);
			expect(asked).toBeLessThanOrEqual(Math.max(0, k - 10));
		}
		expect(asked).toBeGreaterThan(0);
	});
});
