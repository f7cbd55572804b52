/** The form of each training mode on a scripted trainer: what it asks for, what it hides, presets of TrainTrain from a file, axe. */
import axe from 'axe-core';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { createServer, type ViteDevServer } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBrowser } from '../support/browser';

let server: ViteDevServer;
let browser: Browser;
let address: string;

beforeAll(async () => {
	server = await createServer({ server: { port: 0, host: '127.0.0.1', hmr: false, ws: false }, logLevel: 'error' });
	await server.listen();
	address = `http://127.0.0.1:${(server.httpServer?.address() as AddressInfo).port}/test/e2e/app/harness.html?story=done`;
	browser = await openBrowser();
	const page = await open();
	await page.waitForLoadState('networkidle');
	await page.context().close();
}, 120_000);

afterAll(async () => {
	await browser?.close();
	await server?.close();
});

async function open(width = 1280): Promise<Page> {
	const context = await browser.newContext({ locale: 'en-GB', viewport: { width, height: 900 } });
	const page = await context.newPage();
	await page.goto(address);
	await page.locator('main canvas').first().waitFor();
	return page;
}

async function violations(page: Page): Promise<string[]> {
	await page.evaluate(axe.source);
	const result = await page.evaluate(async () => {
		const { axe: tool } = globalThis as unknown as {
			axe: { run: (root: Document, options: object) => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
		};
		return tool.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
	});
	return result.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`.slice(0, 600));
}

const choose = (page: Page, mode: string) => page.getByRole('radio', { name: mode, exact: true }).check({ force: true });
const picture = { name: 'x.png', mimeType: 'image/png' };
/** One pixel. */
const PIXEL = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');

test('each mode asks for what it needs and shows the passes it has', { timeout: 120_000 }, async () => {
	const page = await open(360);
	await page.locator('summary', { hasText: 'Settings of both passes' }).click();
	expect(await page.getByRole('textbox', { name: /^Rank –/ }).count()).toBe(2);

	await choose(page, 'Words only');
	expect(await page.getByRole('textbox', { name: /^Rank –/ }).count()).toBe(1);
	const start = page.getByRole('button', { name: 'Start training' });
	await expect.poll(() => start.isDisabled()).toBe(true);
	await page.getByRole('textbox', { name: 'Concept to change' }).fill('blue hair');
	await page.getByRole('textbox', { name: 'becomes' }).fill('red hair');
	await page.getByRole('textbox', { name: 'becomes' }).blur();
	await expect.poll(() => start.isDisabled()).toBe(false);
	expect(await violations(page)).toEqual([]);

	await choose(page, 'Many pairs');
	const files = page.locator('input[type=file][multiple]');
	await files.setInputFiles([
		{ ...picture, buffer: PIXEL },
		{ ...picture, name: 'x_t.png', buffer: PIXEL },
		{ ...picture, name: 'lonely.png', buffer: PIXEL }
	]);
	await page.getByText('1 pair in 3 pictures').waitFor();
	await choose(page, 'LoRA');
	await files.setInputFiles([
		{ ...picture, buffer: PIXEL },
		{ name: 'x.txt', mimeType: 'text/plain', buffer: Buffer.from('1girl') }
	]);
	await page.getByText('1 picture, 1 with a caption').waitFor();
	expect(await violations(page)).toEqual([]);
	const wide = await page.evaluate(() => document.documentElement.scrollWidth);
	expect(wide).toBeLessThanOrEqual(360);
	await page.context().close();
});

test('a TrainTrain preset is opened, says what has no counterpart, and sets the form', { timeout: 120_000 }, async () => {
	const page = await open();
	const preset = { mode: 'ADDifT', network_rank: '8', network_alpha: '2', train_learning_rate: '0.0003', train_optimizer: 'AdamMini' };
	await page
		.locator('input[type=file][accept*=json]')
		.setInputFiles({ name: 'p.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(preset)) });
	await page.getByText('p.json was opened.').waitFor();
	await page.getByText(/AdamMini.*no counterpart/).waitFor();
	expect(await page.getByRole('radio', { name: 'ADDifT', exact: true }).isChecked()).toBe(true);
	await page.locator('summary', { hasText: /^Settings$/ }).click();
	expect(await page.getByRole('textbox', { name: 'Rank – Result' }).inputValue()).toBe('8');
	await page.locator('summary', { hasText: 'More settings' }).click();
	const blocks = page.getByRole('textbox', { name: /Blocks as text/ });
	await blocks.fill('face -OUT05');
	await blocks.blur();
	await expect.poll(() => blocks.inputValue()).toBe('OUT03, OUT04');
	await blocks.fill('OUT99');
	await page.getByText('“OUT99” is no block and no group.').waitFor();
	expect(await violations(page)).toEqual([]);
	await page.context().close();
});
