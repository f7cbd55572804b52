import { describe, expect, test } from 'vitest';
import { bestStep, effectOf, regionOf } from '../../../src/app/run/effect';
import type { Picture } from '../../../src/service/protocol';

const SIDE = 64;
function picture(value: (x: number, y: number) => number): Picture {
	const data = new Uint8ClampedArray(4 * SIDE * SIDE);
	for (let i = 0; i < SIDE * SIDE; i++) data.set([value(i % SIDE, Math.floor(i / SIDE)), 100, 100, 255], 4 * i);
	return { width: SIDE, height: SIDE, data };
}
const mouth = (x: number, y: number): boolean => x >= 24 && x < 40 && y >= 30 && y < 40;
const closed = picture(() => 50);
const open = picture((x, y) => (mouth(x, y) ? 150 : 50));

describe('effect and side effect', () => {
	const region = regionOf(closed, open);

	test('the region is what differs, grown by a thirty-second', () => {
		const inside = (x: number, y: number): number => region?.inside[y * SIDE + x] ?? -1;
		expect([inside(24, 30), inside(22, 28), inside(41, 41)]).toEqual([1, 1, 1]);
		expect([inside(21, 30), inside(24, 27), inside(42, 35), inside(30, 42)]).toEqual([0, 0, 0, 0]);
	});

	test('the target itself is all effect; a tint is as much of both; nothing is none', () => {
		if (!region) throw new Error('no region');
		expect(effectOf(closed, open, region)).toEqual({ inside: 1, outside: 0 });
		expect(effectOf(closed, closed, region)).toEqual({ inside: 0, outside: 0 });
		const tinted = effectOf(
			closed,
			picture(() => 80),
			region
		);
		expect(tinted?.inside).toBeCloseTo(tinted?.outside ?? -1, 6);
		expect(effectOf(closed, { width: 1, height: 1, data: new Uint8ClampedArray(4) }, region)).toBeNull();
	});

	test('there is none where the pair is the same, or differs everywhere', () => {
		expect(regionOf(closed, closed)).toBeNull();
		expect(
			regionOf(
				closed,
				picture(() => 200)
			)
		).toBeNull();
	});

	test('the step to look at: much effect, little side effect, no overshooting', () => {
		const at = (step: number, inside: number, outside: number) => ({ step, effect: { inside, outside } });
		expect(bestStep([at(10, 0.1, 0.01), at(20, 0.2, 0.02)])).toBeUndefined();
		expect(bestStep([at(10, 0.5, 0.02), at(20, 0.95, 0.1), at(30, 1, 0.08), at(40, 1.02, 0.2)])).toBe(30);
		expect(bestStep([at(10, 1.1, 0.1), at(20, 1.9, 0.4)])).toBe(10);
		expect(bestStep([])).toBeUndefined();
	});
});
