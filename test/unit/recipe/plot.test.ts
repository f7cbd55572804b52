/** Plots: the grammar of values, what is refused, how axes become cells and keys, and which strengths are of use. */
import { describe, expect, it, test } from 'vitest';
import { AXES, countCells, fixSeeds, hasOpenSeeds, parseDimension, type Plot } from '../../../src/recipe/plot';
import { blockWeights, BLOCK_PRESETS } from '../../../src/recipe/plot-blocks';
import { drawnBy, expandPlot, missingCells, type PlotCell } from '../../../src/recipe/plot-cells';
import { measureCell, usableStrengths } from '../../../src/recipe/plot-metrics';
import { PLOT_PRESETS, presetAxes } from '../../../src/recipe/plot-presets';
import { defaultPlot, parsePlot } from '../../../src/recipe/plot-schema';
import { joinValues, parseNumbers, splitValues } from '../../../src/recipe/plot-values';
import { problemsJa } from '../../../src/app/i18n/ja/problems';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);
const LORAS = [
	{ name: 'front', sha256: A },
	{ name: 'left', sha256: B }
];

function plotOf(given: object): Plot {
	const parsed = parsePlot(given);
	if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('\n'));
	return parsed.plot;
}
const cellsOf = (given: object, model = 'm'): Promise<PlotCell[]> => expandPlot(plotOf({ loras: LORAS, ...given }), { model, resolution: 128 });
const codes = (given: object): string[] => parsePlot(given).problems.map(({ code }) => code);

describe('values', () => {
	test.each([
		['1-5', [1, 2, 3, 4, 5]],
		['1-10 (+2)', [1, 3, 5, 7, 9]],
		['10-1 (-3)', [10, 7, 4, 1]],
		['0-1 [5]', [0, 0.25, 0.5, 0.75, 1]],
		['-1-2 [7]', [-1, -0.5, 0, 0.5, 1, 1.5, 2]],
		['-1 - -2', [-1, -2]],
		['0.1-0.3 (+0.1)', [0.1, 0.2, 0.3]],
		[' 1, 2.5 ,-3', [1, 2.5, -3]],
		['1e-5', [0.00001]],
		['1-3, 8', [1, 2, 3, 8]]
	])('%s', (text, values) => {
		expect(parseNumbers(text, false)).toEqual({ ok: true, values });
	});

	test.each([
		['', 'empty'],
		['1, x', 'notNumber'],
		['1-5 (-1)', 'empty'],
		['1-5 (+0)', 'empty'],
		['1-2 [0]', 'empty'],
		['0-1e6', 'tooMany'],
		['1,,2', 'notNumber'],
		['"1', 'quote']
	])('%s is refused', (text, reason) => {
		expect(parseNumbers(text, false)).toMatchObject({ ok: false, reason });
	});

	it('refuses fractions where whole numbers are wanted', () => {
		expect(parseNumbers('0-1 [5]', true)).toMatchObject({ ok: false, reason: 'notWhole' });
	});

	it('quotes protect commas, and come back', () => {
		expect(splitValues('a, "b, c" , "say ""hi""",')).toEqual(['a', 'b, c', 'say "hi"', '']);
		for (const values of [['a'], ['a, b', 'c'], ['', 'x'], [' lead', 'q"q', 'two\nlines'], ['<lora:foo:0.2>', '<lora:foo:0.4>']])
			expect(splitValues(joinValues(values))).toEqual(values);
		expect(splitValues('')).toEqual([]);
	});

	test('dimensions', () => {
		expect(['8', 'auto', 'energy=0.99', '0.999', '', 'x', '0', '1.5', '2000', 'energy=2'].map(parseDimension)).toEqual([
			{ kind: 'fixed', rank: 8 },
			{ kind: 'auto' },
			{ kind: 'energy', keep: 0.99 },
			{ kind: 'energy', keep: 0.999 },
			...Array<null>(6).fill(null)
		]);
	});

	test('block presets and lists', () => {
		expect(BLOCK_PRESETS.every((name) => blockWeights(name) !== undefined)).toBe(true);
		expect(blockWeights(' outs ')).toMatchObject({ BASE: 1, IN01: 0, OUT06: 0, OUT07: 1, OUT11: 1 });
		expect(blockWeights('ALL0.5')).toMatchObject({ BASE: 0.5, OUT11: 0.5 });
		expect(blockWeights(Array.from({ length: 12 }, (_, i) => i / 10).join(','))).toMatchObject({ BASE: 0, IN04: 0.1, OUT05: 1.1 });
		expect(blockWeights('1,2,3')).toBeUndefined();
		expect(blockWeights(Array<string>(17).fill('x').join(','))).toBeUndefined();
	});
});

describe('the definition', () => {
	it('is complete after parsing, from nothing', () => {
		expect(parsePlot({})).toEqual({ ok: true, plot: defaultPlot(), problems: [] });
	});

	it('a model with another VAE, or of velocity, has cells of its own', async () => {
		const said = plotOf({ model: { name: 'm', family: 'sd15', path: 'm', vae: { name: 'v', path: 'v' }, prediction: 'v' } }).model;
		expect(said).toMatchObject({ vae: { path: 'v' }, prediction: 'v' });
		const keys = await Promise.all(
			[{}, { vae: A }, { vae: B }, { prediction: 'v' } as const].map(async (one) => (await cellsOf({}, drawnBy('m', one)))[0]?.key)
		);
		expect(new Set(keys).size).toBe(4);
	});

	it('takes values as a list or as text', () => {
		const list = plotOf({ loras: LORAS, x: { kind: 'strength', values: [0, 0.5, 1] } });
		expect(plotOf({ loras: LORAS, x: { kind: 'strength', values: '0-1 [3]' } })).toEqual(list);
		expect(plotOf({ loras: LORAS, x: { kind: 'blocks', values: `ALL; ${Array(17).fill(1).join(',')}` } }).x?.values).toHaveLength(2);
	});

	test.each([
		[{ x: { kind: 'strength', values: '1-' } }, 'plot.values.notNumber'],
		[{ x: { kind: 'seed', values: '1.5' } }, 'plot.values.notWhole'],
		[{ x: { kind: 'steps', values: '' } }, 'plot.values.empty'],
		[{ x: { kind: 'cfg', values: '0-9999' } }, 'plot.values.tooMany'],
		[{ x: { kind: 'prompt', values: '"a' } }, 'plot.values.quote'],
		[{ x: { kind: 'strength', values: [1] } }, 'plot.noLora'],
		[{ loras: [...LORAS, ...LORAS] }, 'plot.sameName'],
		[{ loras: LORAS, x: { kind: 'lora', values: ['front', 'front+right'] } }, 'plot.unknownLora'],
		[{ loras: LORAS, x: { kind: 'strength', loras: ['right'], values: [1] } }, 'plot.unknownLora'],
		[{ loras: LORAS, x: { kind: 'blocks', values: ['OUTZ'] } }, 'plot.blocks'],
		[{ loras: LORAS, x: { kind: 'dimension', values: ['many'] } }, 'plot.dimension'],
		[{ base: { prompt: 'a cat' }, x: { kind: 'prompt', values: ['dog', 'cow'] } }, 'plot.search'],
		[{ x: { kind: 'seed', values: '1-5' }, y: { kind: 'seed', values: '1-5' } }, 'plot.sameAxis'],
		[{ x: { kind: 'seed', values: '1-100' }, y: { kind: 'steps', values: '1-100' } }, 'plot.tooMany'],
		[{ region: { left: 0.5, top: 0, right: 0.5, bottom: 1 } }, 'plot.region'],
		[{ base: { steps: 'ten' } }, 'recipe.notNumber'],
		[{ base: { steps: 0 } }, 'recipe.tooSmall'],
		[{ x: { kind: 'colour', values: [1] } }, 'recipe.notOneOf'],
		[{ x: { kind: 'seed', values: [] } }, 'recipe.tooShort'],
		[{ axes: [] }, 'recipe.unknownField'],
		[{ version: 2 }, 'recipe.notOneOf']
	])('%j', (given, code) => {
		expect(codes(given)).toContain(code);
		expect(code in problemsJa).toBe(true);
	});

	it('never throws', () => {
		for (const input of [
			null,
			3,
			'x',
			[],
			{ x: 5, y: [], loras: 'a', base: null },
			{ x: { kind: 'seed', values: { a: 1 } } },
			JSON.parse('{"__proto__":{"x":1}}')
		])
			expect(() => parsePlot(input)).not.toThrow();
	});

	it('draws each open seed once', () => {
		let next = 100;
		const plot = plotOf({ base: { seed: -1 }, x: { kind: 'seed', values: [-1, 5, -1] } });
		expect(hasOpenSeeds(plot)).toBe(true);
		const fixed = fixSeeds(plot, () => next++);
		expect([fixed.base.seed, fixed.x?.values]).toEqual([100, [101, 5, 102]]);
		expect(hasOpenSeeds(fixed)).toBe(false);
		expect(fixSeeds(fixed, () => -5)).toEqual(fixed);
	});
});

describe('cells', () => {
	it('stand in WebUI’s order', async () => {
		const cells = await cellsOf({ x: { kind: 'seed', values: [1, 2] }, y: { kind: 'steps', values: [3, 4, 5] }, z: { kind: 'cfg', values: [6, 7] } });
		expect(cells).toHaveLength(12);
		cells.forEach(({ at, settings }, index) => {
			expect(index).toBe(at.x + at.y * 2 + at.z * 6);
			expect([settings.seed, settings.steps, settings.cfg]).toEqual([1 + at.x, 3 + at.y, 6 + at.z]);
		});
	});

	it('strength 0 is the base, whatever the LoRA; other strengths have it as their base', async () => {
		const [zero, one] = await cellsOf({ x: { kind: 'strength', values: [0, 1] } });
		const [none] = await cellsOf({ x: { kind: 'lora', values: ['none'] } });
		expect(zero?.key).toBe(zero?.baseKey);
		expect(none?.key).toBe(zero?.key);
		expect(one?.key).not.toBe(zero?.key);
		expect(one?.baseKey).toBe(zero?.key);
	});

	it('keys follow what determines the picture, and nothing else', async () => {
		const key = async (given: object, model?: string): Promise<string | undefined> => (await cellsOf(given, model))[0]?.key;
		const plain = await key({});
		const same: object[] = [
			{ name: 'other name', region: { left: 0, top: 0, right: 0.5, bottom: 1 } },
			{ loras: [{ name: 'renamed', sha256: A }, LORAS[1]] },
			{ x: { kind: 'seed', values: [defaultPlot().base.seed, 9] } },
			{ x: { kind: 'ratio', values: [1] } },
			{ base: { width: 128, height: 128 } }
		];
		for (const given of same) expect(await key(given)).toBe(plain);
		const other: object[] = [
			{ base: { prompt: 'x' } },
			{ base: { negative: 'x' } },
			{ base: { seed: 1 } },
			{ base: { steps: 1 } },
			{ base: { cfg: 1 } },
			{ base: { sampler: 'ddim' } },
			{ base: { width: 64 } },
			{ base: { dimension: '4' } },
			{ loras: [LORAS[0]] },
			{ loras: [{ name: 'front', sha256: B }, LORAS[1]] },
			{ loras: [{ ...LORAS[0], blocks: 'OUTS' }, LORAS[1]] },
			{ loras: [{ ...LORAS[0], strength: 0.5 }, LORAS[1]] }
		];
		const keys = [plain, await key({}, 'another model'), ...(await Promise.all(other.map((given) => key(given))))];
		expect(new Set(keys).size).toBe(keys.length);
	});

	it('strength · ratio without a merge; with a dimension one merge whose strength stays outside', async () => {
		const loras = [
			{ ...LORAS[0], strength: 2, ratio: 0.6 },
			{ ...LORAS[1], strength: 2, ratio: 0.5 }
		];
		const [side] = await cellsOf({ loras });
		expect(side?.settings.networks.map(({ strength }) => strength)).toEqual([1.2, 1]);
		const merged = await cellsOf({ loras, x: { kind: 'dimension', values: ['8'] }, y: { kind: 'strength', values: [1, 2] } });
		expect(merged.map(({ settings }) => settings.networks)).toEqual(
			[1, 2].map((strength) => [
				{
					parts: [
						{ sha256: A, ratio: 0.6, blocks: null },
						{ sha256: B, ratio: 0.5, blocks: null }
					],
					dimension: { kind: 'fixed', rank: 8 },
					strength
				}
			])
		);
	});

	it('prompts are searched and replaced in both prompts, as WebUI does', async () => {
		const cells = await cellsOf({
			base: { prompt: 'a XX on a mat', negative: 'no XX' },
			x: { kind: 'prompt', values: 'XX, cat, "dog, large", $&' }
		});
		expect(cells.map(({ settings }) => settings.prompt)).toEqual(['a XX on a mat', 'a cat on a mat', 'a dog, large on a mat', 'a $& on a mat']);
		expect(cells[1]?.settings.negative).toBe('no cat');
	});

	it('several LoRAs at once, files of a run, none', async () => {
		const cells = await cellsOf({ x: { kind: 'lora', values: ['front', 'front+left', 'none'] } });
		expect(cells.map(({ settings }) => settings.networks.map(({ parts }) => parts[0]?.sha256))).toEqual([[A], [A, B], []]);
		expect(cells.map(({ used }) => used.map(({ name }) => name))).toEqual([['front'], ['front', 'left'], []]);
	});

	it('only what is missing is drawn, each once, bases included when wanted', async () => {
		const cells = await cellsOf({ x: { kind: 'strength', values: [1, 2] }, y: { kind: 'seed', values: [1, 2] } });
		expect((await missingCells(cells, () => false, true)).size).toBe(6);
		expect((await missingCells(cells, () => false, false)).size).toBe(4);
		const known = new Set([cells[0]?.key, cells[0]?.baseKey]);
		const rest = await missingCells(cells, (key) => known.has(key), true);
		expect(rest.size).toBe(4);
		const longer = await cellsOf({ x: { kind: 'strength', values: [1, 1.5, 2] }, y: { kind: 'seed', values: [1, 2] } });
		const drawn = new Set(cells.flatMap(({ key, baseKey }) => [key, baseKey]));
		expect([...(await missingCells(longer, (key) => drawn.has(key), true)).values()].map(({ networks }) => networks[0]?.strength)).toEqual([1.5, 1.5]);
	});

	it('presets fit every plot with a LoRA', async () => {
		for (const preset of PLOT_PRESETS) {
			let seed = 0;
			const plot = plotOf({ loras: LORAS, ...presetAxes(preset, { loras: plotOf({ loras: LORAS }).loras }, () => seed++) });
			expect(countCells(plot)).toBe(AXES.reduce((n, axis) => n * (plot[axis]?.values.length ?? 1), 1));
			expect(new Set((await expandPlot(plot, { model: 'm', resolution: 128 })).map(({ key }) => key)).size).toBeGreaterThan(3);
		}
		const review = presetAxes('review', { loras: [] }, () => 0);
		expect(review.x?.values).toEqual([-1, -0.5, 0, 0.5, 1, 1.5, 2]);
		expect(review.y?.values).toEqual([1111, 2222, 3333]);
	});
});

describe('metrics', () => {
	const picture = (paint: (x: number, y: number) => number) => {
		const data = new Uint8ClampedArray(4 * 32 * 32).fill(255);
		for (let i = 0; i < 32 * 32; i++) for (let c = 0; c < 3; c++) data[4 * i + c] = paint(i % 32, Math.floor(i / 32));
		return { width: 32, height: 32, data };
	};
	const region = { left: 0.25, top: 0.25, right: 0.75, bottom: 0.75 };
	const inRegion = (x: number, y: number): boolean => x >= 8 && x < 24 && y >= 8 && y < 24;

	it('equal pictures change nothing', () => {
		const base = picture((x, y) => x * 5 + y);
		const { inside, outside, similarity } = measureCell(base, base, region);
		expect([inside, outside]).toEqual([0, 0]);
		expect(similarity).toBeCloseTo(1, 6);
		expect(measureCell(base, base, null).outside).toBeNull();
	});

	it('changes are counted where they are', () => {
		const base = picture(() => 100);
		const cell = picture((x, y) => (inRegion(x, y) ? 151 : 100));
		const metrics = measureCell(cell, base, region);
		expect(metrics.inside).toBeCloseTo(51 / 255, 9);
		expect(metrics.outside).toBe(0);
		expect(metrics.similarity).toBeLessThan(1);
		expect(measureCell(cell, base, null).inside).toBeCloseTo(51 / 255 / 4, 9);
		const noise = picture((x, y) => (x * 7919 + y * 104729) % 256);
		expect(measureCell(noise, base, null).similarity).toBeLessThan(metrics.similarity);
	});

	it('the strengths of use are those where the region changes and the rest does not', () => {
		const samples = [-1, 0, 0.5, 1, 1.5, 2].map((strength) => ({
			strength,
			metrics: { inside: Math.min(0.4, 0.3 * Math.abs(strength)), outside: strength > 1.5 ? 0.3 : 0.02, similarity: 1 }
		}));
		expect(usableStrengths(samples)).toEqual({ from: 1, to: 1.5, best: 1.5 });
		expect(usableStrengths(samples.map(({ strength, metrics }) => ({ strength, metrics: { ...metrics, outside: 0.5 } })))).toBeNull();
		expect(usableStrengths([])).toBeNull();
	});
});
