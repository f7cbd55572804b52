/**
 * The lab in a browser, with real files and the real trainer: LoRAs are dropped in, described and found again, merged, and packed for release;
 * the archive and its pictures are read back. Previews by sampling are left to faster tests: here nothing waits for one.
 */
import axe from 'axe-core';
import { unzipSync } from 'fflate';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodePng } from '../../src/formats/png';
import { addPngText, readPngText } from '../../src/formats/png-text';
import { parentsIn } from '../../src/app/library/understand';
import { bytesSource } from '../../src/formats/source';
import { readParameters, writeParameters } from '../../src/formats/webui';
import { inspectFile } from '../../src/service/inspect';
import { openBrowser, watch, type Watch } from '../support/browser';
import { serve, type Served } from '../support/server';

const FIXTURES = join(import.meta.dirname, '../fixtures');
const FIRST = join(FIXTURES, 'mini/reference/addift-adamw.safetensors');
const SECOND = join(FIXTURES, 'mini/reference/addift-lion.safetensors');
const PICTURE = join(FIXTURES, 'mini/pairs-heldout/front/a.png');

let server: Served;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let seen: Watch;

beforeAll(async () => {
	server = await serve();
	browser = await openBrowser();
	context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 900 } });
	seen = watch(context);
	page = await context.newPage();
	await page.goto(`${server.url}#library`);
});
afterAll(async () => {
	await browser?.close();
	await server?.stop();
});

async function violations(): Promise<string[]> {
	await page.evaluate(axe.source);
	const result = await page.evaluate(async () => {
		const run = (
			globalThis as unknown as { axe: { run: (root: Document, options: object) => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }
		).axe.run;
		return run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
	});
	return result.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`.slice(0, 600));
}

async function downloaded(button: string): Promise<{ name: string; bytes: Uint8Array }> {
	const coming = page.waitForEvent('download');
	await page.getByRole('button', { name: button, exact: true }).first().click();
	const download = await coming;
	return { name: download.suggestedFilename(), bytes: new Uint8Array(await readFile(await download.path())) };
}

const entry = (name: string) => page.getByRole('article', { name: `${name}.safetensors` });

describe('the library', () => {
	test('takes in LoRAs with what lies beside them, and says in words what it cannot use', async () => {
		await page.getByRole('heading', { name: 'Nothing here yet' }).waitFor();
		const first = await readFile(FIRST);
		const picture = addPngText(new Uint8Array(await readFile(PICTURE)), [
			[
				'parameters',
				writeParameters('open mouth', 'bad', [
					['Steps', 9],
					['Seed', 77],
					['Size', '128x128']
				])
			]
		]);
		await page
			.getByLabel('Add LoRA files', { exact: true })
			.and(page.locator('input'))
			.setInputFiles([
				{ name: basename(FIRST), mimeType: '', buffer: first },
				{ name: 'addift-adamw.json', mimeType: '', buffer: Buffer.from('{"activation text":"agape","preferred weight":0.8}') },
				{ name: 'addift-adamw.preview.png', mimeType: 'image/png', buffer: Buffer.from(picture) },
				{ name: 'copy.safetensors', mimeType: '', buffer: first },
				{ name: 'cut.safetensors', mimeType: '', buffer: first.subarray(0, 1000) },
				{ name: 'old.ckpt', mimeType: '', buffer: Buffer.from('x') },
				{ name: basename(SECOND), mimeType: '', buffer: await readFile(SECOND) }
			]);
		await page.getByText('“addift-lion.safetensors” was added.').waitFor();
		await page.getByText(/entries of its metadata were understood\. Also read: addift-adamw\.json, addift-adamw\.preview\.png\./).waitFor();
		await page.getByText('“copy.safetensors” is here already, as “addift-adamw.safetensors”').waitFor();
		await page.getByText('“cut.safetensors” could not be added.').waitFor();
		await page.getByText('“old.ckpt” is no .safetensors file').waitFor();
		expect(await page.getByRole('article').count()).toBe(2);
		expect(await violations()).toEqual([]);
		await page.getByRole('button', { name: 'Close this list' }).click();
	});

	test('keeps what is written about a LoRA, and finds it by that', async () => {
		const card = entry('addift-lion');
		await card.getByText('Details and notes').click();
		await card.getByLabel('Tags').fill('mouth, try 2');
		await card.getByLabel('Tags').press('Tab');
		await card.getByText('Saved').waitFor();
		await card.getByLabel('Notes').fill('Opens the mouth gently.');
		await card.getByLabel('Notes').press('Tab');
		expect(await violations()).toEqual([]);
		await page.reload();
		await page.getByRole('searchbox').fill('tag:mouth');
		await page.getByText('1 of 2').waitFor();
		await entry('addift-lion').getByText('Opens the mouth gently.').waitFor();
		await page.getByRole('searchbox').fill('agape');
		await entry('addift-adamw').waitFor();
		await page.getByRole('searchbox').fill('no such thing');
		await page.getByText('Nothing fits this search.').waitFor();
		await page.getByRole('button', { name: 'Show everything' }).click();
	});

	test('deletes with a way back', async () => {
		await page.getByRole('button', { name: 'Delete addift-lion.safetensors' }).click();
		await page.getByText('One LoRA was deleted.').waitFor();
		expect(await page.getByRole('article').count()).toBe(1);
		await page.getByRole('button', { name: 'Undo' }).click();
		await entry('addift-lion').waitFor();
	});

	test('packs a release whose pictures say how they were drawn', async () => {
		const card = entry('addift-adamw');
		await card.waitFor();
		await page.getByRole('searchbox').fill('agape');
		await page.getByText('1 of 2').waitFor();
		const { name, bytes } = await downloaded('Zip for Civitai');
		expect(name).toBe('addift-adamw.zip');
		const files = unzipSync(bytes);
		expect(Object.keys(files)).toEqual(['addift-adamw.safetensors', 'addift-adamw.png', 'previews/01.png', 'description.md', 'addift-adamw.json']);
		expect(Buffer.compare(files['addift-adamw.safetensors'] ?? new Uint8Array(), await readFile(FIRST))).toBe(0);
		const png = files['previews/01.png'] ?? new Uint8Array();
		expect(decodePng(png)).toMatchObject({ width: 128, height: 128 });
		expect(readParameters(readPngText(png).get('parameters') ?? '').settings.get('Seed')).toBe('77');
		const text = new TextDecoder().decode(files['description.md']);
		for (const part of ['agape', '<lora:addift-adamw:0.8>', '## 日本語']) expect(text).toContain(part);
		await page.getByRole('searchbox').fill('');
	});
});

describe('the merge', () => {
	test('shows ratios, weights and text as one thing, and looks inside', async () => {
		await page.getByRole('checkbox', { name: 'Select addift-adamw.safetensors' }).check();
		await page.getByRole('checkbox', { name: 'Select addift-lion.safetensors' }).check();
		await page.getByRole('link', { name: 'Merge', exact: true }).last().click();
		await page.getByRole('heading', { name: 'Merge', level: 1 }).waitFor();
		const text = page.getByRole('textbox', { name: 'As text' });
		const names = ['addift-adamw', 'addift-lion'];
		await expect.poll(async () => (await text.inputValue()).split(',').sort()).toEqual(names.map((name) => `${name}:1`));
		// A slider moved by keyboard is seen in the text, and text in the sliders.
		await page.getByRole('slider', { name: 'Ratio of addift-lion' }).press('ArrowLeft');
		expect(await text.inputValue()).toContain('addift-lion:0.99');
		await text.fill('addift-adamw:0.6:OUTALL,addift-lion:-0.5');
		await text.press('Tab');
		expect(await page.getByRole('slider', { name: 'Ratio of addift-lion' }).inputValue()).toBe('-0.5');
		expect(await page.getByRole('textbox', { name: 'Ratio of addift-adamw, typed' }).inputValue()).toBe('0.6');
		const all = page.getByRole('spinbutton', { name: 'One ratio for all' });
		expect(await all.inputValue()).toBe('');
		await all.fill('0.7');
		await all.press('Tab');
		await expect.poll(() => text.inputValue()).toMatch(/^addift-adamw:0\.7:.+,addift-lion:0\.7$/);
		await text.fill('addift-adamw:0.6:1,2,3');
		await expect.poll(() => text.getAttribute('aria-invalid')).toBe('true');
		await text.fill('someone-else:1');
		await page.getByText('The library holds no LoRA named someone-else').waitFor();
		await text.fill('addift-adamw:0.6,addift-lion:0.4');
		await text.press('Tab');
		await page.getByRole('heading', { name: 'Likeness' }).waitFor({ timeout: 60_000 });
		await page
			.getByRole('figure')
			.filter({ hasText: /Kept .* lost/ })
			.waitFor({ timeout: 60_000 });
		expect(await violations()).toEqual([]);
	});

	test('makes one LoRA of them, which knows its parents', async () => {
		await page.getByLabel('Name of the result').fill('both mouths');
		await page.getByRole('button', { name: 'Merge and keep' }).click();
		await page.getByText('both mouths.safetensors is in the library').waitFor({ timeout: 120_000 });
		await page.getByRole('link', { name: 'Show in the library' }).click();
		const card = entry('both mouths');
		await card.getByText('addift-adamw × 0.6, addift-lion × 0.4').waitFor();
		await card.getByText('Details and notes').click();
		await card.getByRole('link', { name: 'addift-adamw.safetensors' }).waitFor();
		const coming = page.waitForEvent('download');
		await card.getByRole('button', { name: 'Download' }).click();
		const bytes = new Uint8Array(await readFile(await (await coming).path()));
		const report = await inspectFile('both mouths.safetensors', bytesSource(bytes));
		expect(report).toMatchObject({ kind: 'lora', family: 'mini', problems: [] });
		expect(
			parentsIn(report.metadata)
				.map(({ name, ratio }) => [name, ratio])
				.sort()
		).toEqual([
			['addift-adamw', 0.6],
			['addift-lion', 0.4]
		]);
		expect(report.metadata['ss_output_name']).toBe('both mouths');
	});

	test('reads on a phone, in Japanese and in the dark', async () => {
		await page.setViewportSize({ width: 360, height: 800 });
		await page.emulateMedia({ colorScheme: 'dark' });
		await page.getByRole('button', { name: '日本語に切り替える' }).click();
		for (const room of ['ライブラリ', 'マージ']) {
			await page.getByRole('link', { name: room, exact: true }).first().click();
			await page.getByRole('heading', { name: room, level: 1 }).waitFor();
			// Opening one may bring more to open.
			const closed = page.locator('main details:not([open]) > summary');
			while ((await closed.count()) > 0) await closed.first().click();
			// What the header covers at the moment is no finding about the page.
			await page.evaluate(() => window.scrollTo(0, 0));
			expect(await page.evaluate(() => document.documentElement.scrollWidth), room).toBe(360);
			expect(await violations(), room).toEqual([]);
		}
	});

	test('did all this without another origin or an error', () => {
		expect(seen.errors).toEqual([]);
		expect([...seen.requests.keys()]).toEqual([new URL(server.url).origin]);
	});
});
