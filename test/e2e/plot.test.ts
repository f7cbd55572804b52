/**
 * The Plot room in a browser, with the real engine: a tiny plot fills, a longer axis draws only what is new, stopping keeps what is there, the
 * grid's PNG reads back, the next visit finds everything. And the command line draws the same cells once. SwiftShader is slow: one step each.
 */
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodePng } from '../../src/formats/png';
import { readPngText } from '../../src/formats/png-text';
import { readLoraTags, readParameters } from '../../src/formats/webui';
import { splitValues } from '../../src/recipe/plot-values';
import { openServedApp, violations, type ServedApp } from '../support/app';
import { run } from '../support/cli';

const MINUTES = 60_000;
const LORA = 'test/fixtures/mini/reference/difference-adamw.safetensors';

let app: ServedApp;
let page: ServedApp['page'];
let folder: string;

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-plot-'));
	app = await openServedApp();
	({ page } = app);
});
afterAll(async () => {
	await app?.close();
	await rm(folder, { recursive: true, force: true });
});

const pictures = (): Promise<number> => page.locator('button.cell').count();
const draw = (): Promise<void> => page.getByRole('button', { name: /^Draw( the rest)?$/ }).click();
const values = (axis: string) => page.getByLabel(`Values of ${axis}`, { exact: true });

describe('in the page', () => {
	test(
		'a tiny plot fills',
		async () => {
			await page.goto(`${app.server.url}#plot`);
			await page
				.locator('input[type=file][multiple]')
				.setInputFiles({ name: 'mouth-a.safetensors', mimeType: 'application/octet-stream', buffer: await readFile(LORA) });
			await page.getByRole('button', { name: 'Remove mouth-a' }).waitFor();
			await page.getByLabel('Steps', { exact: true }).fill('1');
			await page.getByLabel('CFG scale', { exact: true }).fill('1');
			await page.getByLabel('What X varies').selectOption('strength');
			await values('X').fill('0, 2');
			await page.getByText('2 pictures, 2 still to draw').waitFor();
			await draw();
			await page.getByText('2 pictures, all drawn').waitFor({ timeout: 4 * MINUTES });
			expect(await pictures()).toBe(2);
			expect(await page.getByRole('alert').allTextContents()).toEqual([]);
		},
		5 * MINUTES
	);

	test(
		'a longer axis draws only what is new; stopping keeps what is there',
		async () => {
			await values('X').fill('0-2 (+0.25)');
			await page.getByText('9 pictures, 7 still to draw').waitFor();
			expect(await pictures()).toBe(2);
			await draw();
			await expect.poll(pictures, { timeout: 2 * MINUTES }).toBeGreaterThan(2);
			await page.getByRole('button', { name: 'Stop' }).click();
			await page.getByRole('button', { name: 'Draw the rest' }).waitFor();
			const drawn = await pictures();
			expect(drawn).toBeLessThan(9);
			await page.getByText(`9 pictures, ${9 - drawn} still to draw`).waitFor();
		},
		4 * MINUTES
	);

	test('says what is wrong at the field', async () => {
		await values('X').fill('0-');
		await page.getByText('is neither a number nor a range').waitFor();
		expect(await page.getByRole('button', { name: /^Draw/ }).isDisabled()).toBe(true);
		await values('X').fill('0, 2');
		await page.getByText('2 pictures, all drawn').waitFor();
	});

	test('the grid comes as a PNG that says how it was made', async () => {
		const coming = page.waitForEvent('download');
		await page.getByRole('button', { name: 'Save the grid as PNG' }).click();
		const path = join(folder, 'grid.png');
		await (await coming).saveAs(path);
		const png = new Uint8Array(await readFile(path));
		const { width, height } = decodePng(png);
		expect([width, height > 128]).toEqual([256, true]);
		const { prompt, settings } = readParameters(readPngText(png).get('parameters') ?? '');
		expect(readLoraTags(prompt).loras).toMatchObject([{ name: 'mouth-a', unet: 0 }]);
		expect(Object.fromEntries(settings)).toMatchObject({ Steps: '1', 'CFG scale': '1', Size: '128x128', Script: 'X/Y/Z plot', 'X Type': 'Prompt S/R' });
		expect(splitValues(settings.get('X Values') ?? '')).toEqual(['<lora:mouth-a:0>', '<lora:mouth-a:2>']);
	});

	test('the next visit finds the pictures', async () => {
		await page.reload();
		await page
			.locator('input[type=file][multiple]')
			.setInputFiles({ name: 'another name.safetensors', mimeType: 'application/octet-stream', buffer: await readFile(LORA) });
		await page.getByRole('button', { name: 'Remove another name' }).waitFor();
		expect(await page.getByLabel('Steps', { exact: true }).inputValue()).toBe('1');
		await page.getByLabel('What X varies').selectOption('strength');
		await values('X').fill('0, 2');
		await page.getByText('2 pictures, all drawn').waitFor();
		await expect.poll(pictures).toBe(2);
	});

	test('a cell opens large, against the picture without LoRA', async () => {
		await page.getByRole('button', { name: 'Picture: Strength: 2' }).click();
		await page.getByRole('slider', { name: 'Share of the picture without LoRA that is shown' }).waitFor();
		expect(await violations(page)).toEqual([]);
		const coming = page.waitForEvent('download');
		await page.getByRole('button', { name: 'Save this picture' }).click();
		const path = join(folder, 'cell.png');
		await (await coming).saveAs(path);
		expect(readLoraTags(readParameters(readPngText(new Uint8Array(await readFile(path))).get('parameters') ?? '').prompt).loras[0]?.unet).toBe(2);
		await page.keyboard.press('Escape');
		await page.getByRole('dialog').waitFor({ state: 'detached' });
	});

	test('passes axe in the dark, in Japanese, and fits 360 pixels', async () => {
		await page.emulateMedia({ colorScheme: 'dark' });
		await page.setViewportSize({ width: 360, height: 800 });
		await page.getByRole('button', { name: '日本語に切り替える' }).click();
		await page.getByText('変えたい範囲').click();
		await page.getByLabel('左 %').fill('40');
		await page.getByLabel('左 %').blur();
		expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
		expect(await violations(page)).toEqual([]);
	});

	test('nothing went to another origin, and nothing broke', () => {
		expect([...app.seen.requests.keys()]).toEqual([new URL(app.server.url).origin]);
		expect(app.seen.errors).toEqual([]);
	});
});

describe('on the command line', () => {
	test(
		'cells are drawn once, and again only what is missing; open seeds stay what they were',
		async () => {
			await copyFile(LORA, join(folder, 'mouth.safetensors'));
			const plot = (x: string): object => ({
				loras: [{ name: 'mouth', path: 'mouth.safetensors' }],
				base: { steps: 1, cfg: 1, seed: -1, sampler: 'ddim' },
				x: { kind: 'strength', values: x }
			});
			const draw = async (x: string): Promise<{ drawn: number; reused: number; cells: number }> => {
				await writeFile(join(folder, 'plot.json'), JSON.stringify(plot(x)));
				const { code, out, err } = await run(['plot', join(folder, 'plot.json'), '--out', join(folder, 'cli.png'), '--json']);
				expect(code, err).toBe(0);
				return JSON.parse(out.trim().split('\n').at(-1) ?? '') as { drawn: number; reused: number; cells: number };
			};
			expect(await draw('0, 1')).toMatchObject({ cells: 2, drawn: 2, reused: 0 });
			expect(await draw('0, 1')).toMatchObject({ cells: 2, drawn: 0, reused: 2 });
			const png = new Uint8Array(await readFile(join(folder, 'cli.png')));
			expect(decodePng(png).width).toBe(256);
			expect(readParameters(readPngText(png).get('parameters') ?? '').settings.get('Script')).toBe('X/Y/Z plot');
		},
		3 * MINUTES
	);

	test('what is wrong is said before anything is opened', async () => {
		await writeFile(join(folder, 'bad.json'), JSON.stringify({ loras: [{ name: 'gone', path: 'gone.safetensors' }, { name: 'nameless' }] }));
		const { code, err } = await run(['plot', join(folder, 'bad.json'), '--out', join(folder, 'bad.png')]);
		expect(code).toBe(2);
		expect(err).toMatch(/There is no file/);
		expect(err).toMatch(/nameless/);
		await writeFile(join(folder, 'bad.json'), JSON.stringify({ x: { kind: 'strength', values: '1' } }));
		expect((await run(['plot', join(folder, 'bad.json'), '--out', join(folder, 'bad.png')])).err).toMatch(/has none/);
	});
});
