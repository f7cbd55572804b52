import { describe, expect, test } from 'vitest';
import { bytes, duration, exact, millions, percent, short, signed, speed } from '../../../src/app/format';

describe('numbers for people', () => {
	test('bytes are decimal, with one digit where it means something', () => {
		expect([0, 999, 1000, 31_741_718, 99_960_000, 6.46e9, 1e15].map(bytes)).toEqual(['0 B', '999 B', '1.0 KB', '31.7 MB', '100 MB', '6.5 GB', '1000 TB']);
		// 999.96 KB would read "1000.0 KB"; it is a megabyte.
		expect(bytes(999_960)).toBe('1.0 MB');
	});

	test('durations drop what does not matter', () => {
		expect([0, 59.4, 60, 200, 3600, 7290].map((s) => duration(s, 'ja'))).toEqual(['0秒', '59秒', '1分', '3分20秒', '1時間', '2時間1分']);
		expect(duration(200, 'en')).toBe('3 min 20 s');
		expect(duration(-5, 'en')).toBe('0 s');
	});

	test('speed turns over at one step a second', () => {
		expect([1.84, 12.3, 0.4, 1, 0, Number.NaN].map(speed)).toEqual(['1.8 it/s', '12 it/s', '2.5 s/it', '1.0 it/s', '–', '–']);
	});

	test('rates and losses keep four digits', () => {
		expect([0, 0.005, 5e-5, 0.0123456, 3e-4, 1000, 1e6, -0.25].map(short)).toEqual(['0', '0.005', '5e-5', '0.01235', '3e-4', '1000', '1e6', '-0.25']);
	});

	test('forms show every digit', () => {
		expect([4294967295, 5e-5, 0.005, 1234567.5, 0, 1e-12].map(exact)).toEqual(['4294967295', '5e-5', '0.005', '1234567.5', '0', '1e-12']);
	});

	test('shares, strengths, parameters', () => {
		expect([0, 0.0004, 0.0317, 0.25, 1].map(percent)).toEqual(['0 %', '< 0.1 %', '3.2 %', '25 %', '100 %']);
		expect([-1, -0.5, 0, -1e-12, 1.5].map(signed)).toEqual(['−1', '−0.5', '0', '0', '1.5']);
		expect([10_393_092, 2_567_463_684].map(millions)).toEqual(['10.4 M', '2.57 B']);
	});
});
