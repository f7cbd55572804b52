/** WebUI's text about a picture: what is written is read back, and what others write is understood or left alone. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { readLoraTags, readParameters, writeLoraTag, writeParameters } from '../../../src/formats/webui';
import { cellParameters, gridParameters } from '../../../src/service/plot-text';
import { expandPlot } from '../../../src/recipe/plot-cells';
import { parsePlot } from '../../../src/recipe/plot-schema';
import { splitValues } from '../../../src/recipe/plot-values';

const SETTINGS = 'Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1234, Size: 512x768, Model hash: 84d76a0328, Model: animagine';

describe('reading', () => {
	it('prompt, negative prompt and settings, over several lines', () => {
		const { prompt, negative, settings } = readParameters(`1girl, solo,\n<lora:mouth:0.8>\nNegative prompt: lowres,\nbad anatomy\n${SETTINGS}`);
		expect(prompt).toBe('1girl, solo,\n<lora:mouth:0.8>');
		expect(negative).toBe('lowres,\nbad anatomy');
		expect(Object.fromEntries(settings)).toMatchObject({ Steps: '20', Sampler: 'Euler a', 'CFG scale': '7', Seed: '1234', Size: '512x768' });
	});

	it('quoted values keep their commas', () => {
		const { settings } = readParameters(
			`x\n${SETTINGS}, Lora hashes: "mouth: 0123456789ab, eyes: ba9876543210", Script: X/Y/Z plot, X Values: "a, \\"b\\"", Version: v1.10`
		);
		expect(settings.get('Lora hashes')).toBe('mouth: 0123456789ab, eyes: ba9876543210');
		expect(settings.get('X Values')).toBe('a, "b"');
		expect(settings.get('Version')).toBe('v1.10');
	});

	test.each([
		['', '', ''],
		['just a prompt', 'just a prompt', ''],
		['a: b, c', 'a: b, c', ''],
		['Negative prompt: only', '', 'only'],
		['p\r\nNegative prompt: n\r\nSteps: 5', 'p', 'n'],
		[`p\n${SETTINGS}, broken "quote: x, `, `p\n${SETTINGS}, broken "quote: x,`, '']
	])('%j', (text, prompt, negative) => {
		expect(readParameters(text)).toMatchObject({ prompt, negative });
	});

	it('never throws', () => {
		fc.assert(fc.property(fc.string({ unit: fc.constantFrom(...'ab:,"\\\n<>()123 Steps') }), (text) => void readParameters(text)));
	});
});

describe('round trip', () => {
	const line = fc.string({ unit: fc.constantFrom(...'あbc ,:"\\()[]<>.1-') }).map((text) => text.trim());
	it('settings of any text come back', () => {
		const names = fc.uniqueArray(fc.constantFrom('Seed', 'Size', 'X Values', 'Model', 'RNG', 'Y Type'), { minLength: 2, maxLength: 6 });
		fc.assert(
			fc.property(line, line, names, fc.array(line, { minLength: 6, maxLength: 6 }), (prompt, negative, keys, values) => {
				const settings: [string, string][] = [['Steps', '20'], ...keys.map((key, i): [string, string] => [key, values[i] ?? ''])];
				const read = readParameters(writeParameters(`p ${prompt}`, negative, settings));
				expect(read.prompt).toBe(`p ${prompt}`.trim());
				expect(read.negative).toBe(negative);
				expect([...read.settings]).toEqual(settings);
			})
		);
	});
});

describe('LoRA tags', () => {
	test.each([
		['<lora:foo:0.2>', [{ name: 'foo', te: 0.2, unet: 0.2, blocks: '' }]],
		['<lora:foo>', [{ name: 'foo', te: 1, unet: 1, blocks: '' }]],
		['<lora:foo:0.5:0.8>', [{ name: 'foo', te: 0.5, unet: 0.8, blocks: '' }]],
		['<lora:foo:te=0.1:unet=-1>', [{ name: 'foo', te: 0.1, unet: -1, blocks: '' }]],
		['<lora:foo:1:lbw=OUTS>', [{ name: 'foo', te: 1, unet: 1, blocks: 'OUTS' }]],
		['<lora:foo:XX>', [{ name: 'foo', te: 1, unet: 1, blocks: '' }]]
	])('%s', (text, loras) => {
		expect(readLoraTags(`1girl, ${text}`)).toEqual({ prompt: '1girl', loras });
	});

	it('other tags stay', () => {
		expect(readLoraTags('a <hypernet:x:1> b <lora:y:2>, c').prompt).toBe('a <hypernet:x:1> b , c');
	});

	it('names cannot break out of a tag', () => {
		expect(readLoraTags(writeLoraTag('a:b>c', 1.5)).loras).toEqual([{ name: 'a_b_c', te: 1.5, unet: 1.5, blocks: '' }]);
	});
});

describe('the pictures of a plot', () => {
	it('say how to draw them again', async () => {
		const parsed = parsePlot({
			loras: [{ name: '口・あ', sha256: 'a'.repeat(64) }],
			base: { prompt: '1girl (solo)', negative: 'lowres', steps: 20, cfg: 5, seed: 7, sampler: 'euler_a' },
			x: { kind: 'strength', values: '0.2, 0.4' },
			y: { kind: 'seed', values: '1-3' }
		});
		if (!parsed.ok) throw new Error('the plot is not valid');
		const cells = await expandPlot(parsed.plot, { model: 'm', resolution: 128 });
		const last = cells.at(-1);
		if (!last || !cells[0]) throw new Error('no cells');
		const { prompt, negative, settings } = readParameters(cellParameters(parsed.plot, last));
		const tags = readLoraTags(prompt);
		expect([tags.prompt, tags.loras[0]?.name, tags.loras[0]?.unet, negative]).toEqual(['1girl (solo)', '口・あ', 0.4, 'lowres']);
		expect([...settings]).toEqual(
			expect.arrayContaining([
				['Steps', '20'],
				['Sampler', 'Euler a'],
				['CFG scale', '5'],
				['Seed', '3'],
				['Size', '128x128']
			])
		);
		const grid = readParameters(gridParameters(parsed.plot, cells[0])).settings;
		expect(grid.get('Script')).toBe('X/Y/Z plot');
		expect([grid.get('X Type'), grid.get('Y Type')]).toEqual(['Prompt S/R', 'Seed']);
		expect(splitValues(grid.get('X Values') ?? '')).toEqual(['<lora:口・あ:0.2>', '<lora:口・あ:0.4>']);
		expect(grid.get('Fixed Y Values')).toBe('1, 2, 3');
	});
});
