import { describe, expect, it } from 'vitest';
import { eventJson, jsonReporter, textReporter, type Streams } from '../../../src/helper/output';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { MODES, type Recipe } from '../../../src/recipe/recipe';
import type { EventMessage, RunEvent } from '../../../src/service/protocol';

function recorder(terminal: boolean): Streams & { said: { out: string; err: string } } {
	const said = { out: '', err: '' };
	return { said, terminal, out: (text) => void (said.out += text), err: (text) => void (said.err += text), columns: () => 60 };
}
const message = (event: RunEvent, seq = 0): EventMessage => ({ run: 'train', seq, time: 7, event });
const progress = (step: number, etaSeconds = 200): RunEvent => ({
	type: 'progress',
	pass: 'copier',
	step,
	steps: 300,
	loss: 0.1,
	lossAverage: 0.0123456,
	learningRate: 1e-3,
	stepsPerSecond: 1.8,
	etaSeconds
});
const picture = { width: 2, height: 1, data: new Uint8ClampedArray(8) };

describe('a run in words', () => {
	it('rewrites one line on a terminal, cut to its width', () => {
		const streams = recorder(true);
		const reporter = textReporter(streams);
		reporter.event(message(progress(1)));
		reporter.event(message(progress(2)));
		reporter.event(message({ type: 'file', role: 'result', name: 'a.safetensors', step: 2, bytes: new ArrayBuffer(1) }), 'a-2.safetensors');
		reporter.close();
		const lines = streams.said.err.split('\n');
		expect(lines[0]?.split('\r\u001b[2K').filter(Boolean)).toEqual([
			'Pass 1 (copier): step 1/300 · loss 0.0123 · 1.80 it/s · 3 m',
			'Pass 1 (copier): step 2/300 · loss 0.0123 · 1.80 it/s · 3 m',
			'Wrote a-2.safetensors'
		]);
		expect(streams.said.out).toBe('');
	});

	it('says plain lines in a pipe, the last step and now and then one', () => {
		const streams = recorder(false);
		let now = 0;
		const reporter = textReporter(streams, () => now);
		for (let step = 1; step <= 300; step++) {
			now += 100;
			reporter.event(message(progress(step, 300 - step)));
		}
		const lines = streams.said.err.trimEnd().split('\n');
		expect(lines.length).toBeGreaterThan(5);
		expect(lines.length).toBeLessThan(9);
		expect(lines.at(-1)).toContain('step 300/300');
		expect(streams.said.err).not.toContain('\u001b');
	});

	it('calls passes by what they are', () => {
		const said = (recipe: Pick<Recipe, 'mode' | 'copier'>): string => {
			const streams = recorder(false);
			const reporter = textReporter(streams);
			reporter.passes(recipe);
			reporter.event(message({ type: 'state', state: 'compiling', pass: 'difference' }));
			reporter.event(message({ type: 'endedEarly', pass: 'difference', step: 5, steps: 9 }));
			return streams.said.err;
		};
		const both = defaultRecipe('mini');
		expect(said(both)).toContain('pass 2 (difference)…\nPass 2 (difference): converged');
		expect(said({ ...both, copier: { ...both.copier, use: 'file' } })).toMatch(/GPU…\nDifference: converged/);
		for (const mode of MODES) if (mode !== 'difference') expect(said({ ...both, mode })).toMatch(/GPU…\nTraining: converged/);
	});

	it('draws a bar where there is room for one', () => {
		const line = (columns: number): string => {
			const streams = { ...recorder(true), columns: () => columns };
			textReporter(streams).event(message(progress(150)));
			return streams.said.err;
		};
		expect(line(120)).toContain(`${'█'.repeat(10)}${'░'.repeat(10)} Pass 1`);
		expect(line(60)).not.toContain('█');
	});

	it('tells times as people do', () => {
		const said = (seconds: number): string => {
			const streams = recorder(false);
			textReporter(streams).event(message(progress(1, seconds)));
			return streams.said.err;
		};
		expect(said(59.4)).toContain('59 s left');
		expect(said(200)).toContain('3 min 20 s left');
		expect(said(7260)).toContain('2 h 01 min left');
	});

	it('says how it ended, and nothing for bars', () => {
		const streams = recorder(false);
		const reporter = textReporter(streams);
		reporter.event(message({ type: 'state', state: 'compiling', pass: 'copier', fraction: 0.5 }));
		reporter.event(message({ type: 'ended', outcome: 'done' }));
		expect(streams.said.err).toBe('');
		reporter.event(message({ type: 'ended', outcome: 'stopped' }));
		reporter.event(
			message({ type: 'ended', outcome: 'failed', problem: { level: 'error', code: 'gpu.lost', where: 'gpu', values: {}, message: 'It was lost.' } })
		);
		expect(streams.said.err).toBe('Stopped.\nError: It was lost.\n');
	});
});

describe('a run as JSON', () => {
	it('has one object a line, with names instead of pixels and bytes', () => {
		const streams = recorder(true);
		const reporter = jsonReporter(streams);
		reporter.event(message({ type: 'stripCell', seed: 5, strength: -1, picture }, 3), 'x.png');
		reporter.event(message({ type: 'file', role: 'copier', name: 'c.safetensors', step: 4, bytes: new ArrayBuffer(12) }, 4), 'c-2.safetensors');
		reporter.problem({ level: 'warning', code: 'a.b', where: 'w', values: {}, message: 'm' });
		expect(streams.said.err).toBe('');
		expect(
			streams.said.out
				.trimEnd()
				.split('\n')
				.map((line) => JSON.parse(line) as unknown)
		).toEqual([
			{ seq: 3, time: 7, type: 'stripCell', seed: 5, strength: -1, width: 2, height: 1, file: 'x.png' },
			{ seq: 4, time: 7, type: 'file', role: 'copier', name: 'c.safetensors', step: 4, bytes: 12, file: 'c-2.safetensors' },
			{ type: 'problem', problem: { level: 'warning', code: 'a.b', where: 'w', values: {}, message: 'm' } }
		]);
	});

	it('says when a picture could not be kept', () => {
		expect(eventJson(message({ type: 'preview', pass: 'copier', step: 1, seed: 2, strength: 1, picture }))).toMatchObject({ file: null });
	});
});
