/** Plots on the GPU: cells equal single pictures, only what is missing is drawn, nothing is compiled twice, stopping keeps what is done. */
import { readFileSync } from 'node:fs';
import { openAsBlob } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { conditionerOf, type Conditioner } from '../../src/jobs/conditioner';
import type { Picture, RunEvent } from '../../src/jobs/events';
import { openModel, type OpenModel } from '../../src/jobs/model';
import { PlotSession, type PlotOutcome } from '../../src/jobs/plot';
import { drawSample } from '../../src/jobs/sampling';
import type { Gpu } from '../../src/gpu/gpu';
import { expandPlot, missingCells, type CellSettings, type PlotCell } from '../../src/recipe/plot-cells';
import { parsePlot } from '../../src/recipe/plot-schema';
import { TrainingControl } from '../../src/training/events';
import { openTestGpu } from './harness';

const FILE = 'test/fixtures/mini/reference/difference-adamw.safetensors';
const OTHER = 'test/fixtures/mini/reference/difference-lion.safetensors';
const HASH = { mouth: 'a'.repeat(64), other: 'b'.repeat(64) };

/** Small pictures: what is shown here does not depend on their size. */
const BASE = { prompt: '1girl, blue hair', steps: 2, cfg: 5, seed: 7, sampler: 'ddim', width: 64, height: 64 };

let gpu: Gpu;
let model: OpenModel;
let session: PlotSession;
let encoded: string[][] = [];
const pictures = new Map<string, Picture>();

/** The real one, which notes what it is asked to encode. */
const openConditioner = (): Promise<Conditioner> => {
	const real = conditionerOf(model.checkpoint);
	return Promise.resolve({
		...real,
		encodePrompts: (prompts) => {
			encoded.push([...prompts]);
			return real.encodePrompts(prompts);
		}
	});
};

beforeAll(async () => {
	gpu = await openTestGpu();
	model = await openModel('test', 'mini', await openAsBlob('public/models/mini.safetensors'));
	session = new PlotSession(gpu, model, openConditioner);
});
afterAll(async () => {
	await session.close();
	model.release();
});

async function cellsOf(given: object): Promise<PlotCell[]> {
	const parsed = parsePlot({
		loras: [
			{ name: 'mouth', sha256: HASH.mouth },
			{ name: 'other', sha256: HASH.other, strength: 0 }
		],
		base: BASE,
		...given
	});
	if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('\n'));
	return expandPlot(parsed.plot, { model: 'mini', resolution: 128 });
}

async function draw(
	cells: readonly PlotCell[],
	batch: number,
	control = new TrainingControl(),
	prediction?: 'v'
): Promise<{ outcome: PlotOutcome; drawn: string[] }> {
	const missing = await missingCells(cells, (key) => pictures.has(key), true);
	const keys = [...missing.keys()];
	const drawn: string[] = [];
	const emit = (event: RunEvent): void => {
		if (event.type !== 'plotCell') return;
		const key = keys[event.index] ?? '';
		drawn.push(key);
		pictures.set(key, event.picture);
	};
	const loras = [
		{ name: 'mouth', sha256: HASH.mouth, blob: new Blob([readFileSync(FILE)]) },
		{ name: 'other', sha256: HASH.other, blob: new Blob([readFileSync(OTHER)]) }
	];
	const outcome = await session.draw({ cells: [...missing.values()], loras, batch, control, emit, prediction });
	return { outcome, drawn };
}

/** Largest difference of two 8-bit pictures, in steps of 255. */
function distance(a: Picture | undefined, b: Picture | undefined): number {
	let most = 0;
	for (let i = 0; i < (b?.data.length ?? 0); i++) most = Math.max(most, Math.abs((a?.data[i] ?? 999) - (b?.data[i] ?? 0)));
	return most;
}

/** Mean difference, in steps of 255. */
function mean(a: Picture | undefined, b: Picture | undefined): number {
	let sum = 0;
	for (let i = 0; i < (b?.data.length ?? 0); i++) sum += Math.abs((a?.data[i] ?? 999) - (b?.data[i] ?? 0));
	return sum / (b?.data.length ?? 0);
}

const sampled = (settings: CellSettings, loras: { file: string; strength: number }[], drawn = model): Promise<Picture> =>
	drawSample(
		{ gpu, model: drawn, storage: 'f16', openConditioner, control: new TrainingControl(), emit: () => undefined },
		{ ...settings, loras: loras.map(({ file, strength }) => ({ bytes: new Uint8Array(readFileSync(file)).buffer, strength })) }
	);

describe('a plot', () => {
	it('draws every picture once, strength 0 being the base; prompts are encoded once', { timeout: 300_000 }, async () => {
		const cells = await cellsOf({ x: { kind: 'strength', loras: ['mouth'], values: [0, 1] }, y: { kind: 'seed', values: [1, 2] } });
		const { outcome, drawn } = await draw(cells, 2);
		expect(outcome).toEqual({ outcome: 'done', drawn: 4, compiled: 1 });
		expect(new Set(drawn)).toEqual(new Set(cells.map(({ key }) => key)));
		expect(cells.filter(({ at }) => at.x === 0).every(({ key, baseKey }) => key === baseKey)).toBe(true);
		expect(encoded.map((prompts) => [...prompts].sort())).toEqual([['', '1girl, blue hair']]);
	});

	it('a cell is the picture that `sample` draws with the same settings', { timeout: 300_000 }, async () => {
		const [, cell] = await cellsOf({ x: { kind: 'strength', loras: ['mouth'], values: [0, 1] }, y: { kind: 'seed', values: [2] } });
		const single = await sampled(cell!.settings, [{ file: FILE, strength: 1 }]);
		expect(distance(pictures.get(cell!.key), single)).toBeLessThanOrEqual(4);
		expect(distance(pictures.get(cell!.baseKey), single)).toBeGreaterThan(20);
	});

	it('velocity that the user or a LoRA says of the model reaches cells and single pictures alike', { timeout: 300_000 }, async () => {
		const [cell] = await cellsOf({ base: { ...BASE, seed: 2 } });
		await draw([cell!], 2);
		const noise = pictures.get(cell!.key);
		pictures.delete(cell!.key);
		await draw([cell!], 2, new TrainingControl(), 'v');
		const velocity = pictures.get(cell!.key);
		const said = await openModel('said', 'mini', await openAsBlob('public/models/mini.safetensors'), undefined, 'v');
		const single = await sampled(cell!.settings, [], said);
		said.release();
		// What a model of noise draws as one of velocity is wild, and single pixels follow every rounding.
		expect(mean(velocity, noise)).toBeGreaterThan(4 * mean(velocity, single));
		expect(mean(velocity, noise)).toBeGreaterThan(2);
	});

	it('a longer axis draws only the new cells; nothing is compiled or encoded again', { timeout: 300_000 }, async () => {
		encoded = [];
		const cells = await cellsOf({ x: { kind: 'strength', loras: ['mouth'], values: [0, 1, 1.5] }, y: { kind: 'seed', values: [1, 2] } });
		const { outcome, drawn } = await draw(cells, 2);
		expect(outcome).toEqual({ outcome: 'done', drawn: 2, compiled: 0 });
		expect(drawn.sort()).toEqual(
			cells
				.filter(({ at }) => at.x === 2)
				.map(({ key }) => key)
				.sort()
		);
		expect(encoded).toEqual([]);
	});

	it('ratios and block presets change the picture without compiling; several LoRAs at once', { timeout: 300_000 }, async () => {
		const both = [
			{ name: 'mouth', sha256: HASH.mouth, ratio: 0.5 },
			{ name: 'other', sha256: HASH.other, ratio: 0.25 }
		];
		const cells = await cellsOf({
			loras: both,
			x: { kind: 'ratio', loras: ['other'], values: [0.25, 0.75] },
			y: { kind: 'blocks', values: ['ALL', 'OUTALL'] }
		});
		const first = await draw(cells, 2);
		expect(first.outcome).toEqual({ outcome: 'done', drawn: 5, compiled: 1 }); // two slots instead of one; one base
		expect(new Set(cells.map(({ key }) => String(pictures.get(key)?.data))).size).toBe(4);
		const more = await cellsOf({ loras: both, x: { kind: 'ratio', loras: ['mouth', 'other'], values: [-0.5] }, y: { kind: 'blocks', values: ['INALL'] } });
		expect((await draw(more, 2)).outcome).toEqual({ outcome: 'done', drawn: 1, compiled: 0 });
	});

	it('merged into all of its dimensions it is the picture of the parts side by side; into one it is not', { timeout: 300_000 }, async () => {
		const both = [
			{ name: 'mouth', sha256: HASH.mouth, ratio: 0.5 },
			{ name: 'other', sha256: HASH.other, ratio: 0.25 }
		];
		// Larger pictures than elsewhere: on 8×8 latents the rounding of halves shows in single cells.
		const base = { ...BASE, width: 128, height: 128 };
		const [side] = await cellsOf({ base, loras: both });
		const [whole, one] = await cellsOf({ base, loras: both, x: { kind: 'dimension', values: ['1024', '1'] } });
		const { outcome } = await draw([side!, whole!, one!], 3);
		// And the base, which differences are shown against.
		expect(outcome).toMatchObject({ outcome: 'done', drawn: 4 });
		expect(mean(pictures.get(whole!.key), pictures.get(side!.key))).toBeLessThan(0.5);
		expect(mean(pictures.get(one!.key), pictures.get(side!.key))).toBeGreaterThan(4 * mean(pictures.get(whole!.key), pictures.get(side!.key)));
	});

	it('stopped, it keeps what was drawn, and goes on from there', { timeout: 300_000 }, async () => {
		const cells = await cellsOf({ x: { kind: 'strength', loras: ['mouth'], values: [-1, 0.5, 2] }, y: { kind: 'seed', values: [7] } });
		const control = new TrainingControl();
		const known = new Set(pictures.keys());
		const missing = await missingCells(cells, (key) => known.has(key), true);
		const running = draw(cells, 2, control);
		while (pictures.size === known.size) await new Promise((resolve) => setTimeout(resolve, 5));
		control.stop(false);
		const { outcome } = await running;
		expect(outcome.outcome).toBe('stopped');
		expect(outcome.drawn).toBeLessThan(missing.size);
		expect(outcome.drawn).toBe(pictures.size - known.size);
		const rest = await draw(cells, 2);
		expect(rest.outcome.drawn).toBe(missing.size - outcome.drawn);
		expect(cells.every(({ key }) => pictures.has(key))).toBe(true);
	});

	it('a LoRA whose file is missing is refused before anything is drawn', async () => {
		const [cell] = await cellsOf({ loras: [{ name: 'gone', sha256: 'c'.repeat(64) }] });
		expect(session.check({ cells: [cell!.settings], loras: [] })).toMatchObject({ code: 'plot.missingFile' });
	});
});
