/** Where a run goes and why; what the set-up page says; how a job's model is known in the other place. */
import { describe, expect, it } from 'vitest';
import { choosePlace, type PlaceFacts } from '../../../src/app/helper/choose';
import { setupSteps, SYSTEMS, systemOf } from '../../../src/app/helper/setup';
import { helperTexts } from '../../../src/app/helper/texts';

const able: PlaceFacts = { ready: true, hasModel: true, fits: true, secondsPerImage: null, software: false };
const choice = (here: Partial<PlaceFacts>, helper: Partial<PlaceFacts>): string => {
	const { place, reason } = choosePlace({ here: { ...able, ...here }, helper: { ...able, ...helper } });
	return `${place}: ${reason}`;
};

describe('the place of a run', () => {
	it('is one that can run it', () => {
		expect(choice({}, { ready: false })).toBe('here: helperNotReady');
		expect(choice({ ready: false }, {})).toBe('helper: hereNotReady');
		expect(choice({}, { hasModel: false })).toBe('here: helperNoModel');
		expect(choice({ hasModel: false }, {})).toBe('helper: hereNoModel');
		expect(choice({ fits: false }, {})).toBe('helper: hereNoRoom');
		expect(choice({}, { fits: false })).toBe('here: helperNoRoom');
		// Faster is no use where it does not fit.
		expect(choice({ fits: false, secondsPerImage: 1 }, { secondsPerImage: 9 })).toBe('helper: hereNoRoom');
	});

	it('is the one that was measured faster, by more than noise', () => {
		expect(choice({ secondsPerImage: 3 }, { secondsPerImage: 1 })).toBe('helper: helperFaster');
		expect(choice({ secondsPerImage: 1 }, { secondsPerImage: 3 })).toBe('here: hereFaster');
		expect(choice({ secondsPerImage: 1 }, { secondsPerImage: 1.01 })).toBe('helper: helperKeepsOn');
		expect(choosePlace({ here: { ...able, secondsPerImage: 3 }, helper: { ...able, secondsPerImage: 1 } }).factor).toBeCloseTo(3);
	});

	it('is a real GPU rather than a software adapter, and else the helper', () => {
		expect(choice({ software: true }, {})).toBe('helper: hereSoftware');
		expect(choice({}, { software: true })).toBe('here: helperSoftware');
		expect(choice({}, {})).toBe('helper: helperKeepsOn');
		// What was not asked yet speaks for neither.
		expect(choice({ fits: null }, { fits: null })).toBe('helper: helperKeepsOn');
	});

	it('always has words for its reason', () => {
		for (const language of ['ja', 'en'] as const) {
			const { reasons } = helperTexts(language);
			const { reason, factor } = choosePlace({ here: { ...able, secondsPerImage: 3 }, helper: { ...able, secondsPerImage: 1 } });
			expect(reasons[reason](factor?.toFixed(1) ?? '')).toContain('3.0');
			for (const text of Object.values(reasons)) expect(text('2').length).toBeGreaterThan(5);
		}
	});
});

describe('setting it up', () => {
	it('has lines for every system, and words for every step', () => {
		for (const system of SYSTEMS) {
			for (const { step, lines } of setupSteps(system)) {
				for (const language of ['ja', 'en'] as const) expect(helperTexts(language).steps[step]).not.toBe('');
				for (const line of lines) expect(line).toMatch(system === 'windows' ? /^(?!.*~).+$/ : /^(?!.*\\).+$/);
			}
		}
	});

	it('guesses the system', () => {
		expect(systemOf('Mozilla/5.0 (Windows NT 10.0; Win64; x64)')).toBe('windows');
		expect(systemOf('Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)')).toBe('macos');
		expect(systemOf('Mozilla/5.0 (X11; Linux x86_64)')).toBe('linux');
	});
});
