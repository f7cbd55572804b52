/**
 * The app and a real helper (`utsushi serve` on this machine's adapter): pairing, a run that moves from the tab to the helper and back, a model by name, a training on the helper
 * where _automatic_ puts it, the tab closed and opened again, the file downloaded, the pairing taken back. Then the helper's page in both languages and themes, narrow and wide, by
 * keyboard, with axe. `SHOTS=DIR` keeps pictures of the screens.
 */
import axe from 'axe-core';
import { encode } from 'fast-png';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesSource } from '../../src/formats/source';
import { defaultRecipe } from '../../src/recipe/defaults';
import { encodeRecipeLink } from '../../src/recipe/link';
import type { Recipe } from '../../src/recipe/recipe';
import { inspectFile } from '../../src/service/inspect';
import { openBrowser, watch, type Watch } from '../support/browser';
import { ROOT, run, start, type Running } from '../support/cli';

const MINUTE = 60_000;
const SHOTS = process.env['SHOTS'];

let folder: string;
let helper: Running;
let url: string;
let pairingUrl: string;
let browser: Browser;
let context: BrowserContext;
let seen: Watch;

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-helper-'));
	const models = join(folder, 'models');
	await mkdir(models);
	await copyFile(join(ROOT, 'public/models/mini.safetensors'), join(models, 'little.safetensors'));
	await writeFile(join(folder, 'folders.json'), JSON.stringify({ folders: [models], results: models, salt: 'test' }));
	helper = start(['serve', '--port', '0'], { UTSUSHI_CONFIG: folder });
	pairingUrl = /http:\S+/.exec(await helper.line(/^Or open/))?.[0] ?? '';
	url = pairingUrl.slice(0, pairingUrl.indexOf('#'));
	browser = await openBrowser();
	context = await browser.newContext({ locale: 'en-GB' });
	seen = watch(context);
}, MINUTE);

afterAll(async () => {
	await browser?.close();
	helper?.child.kill('SIGTERM');
	await helper?.ended;
	await rm(folder, { recursive: true, force: true });
});

async function shot(page: Page, name: string): Promise<void> {
	if (SHOTS !== undefined) await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
}

async function pairingsLeft(): Promise<number> {
	return (JSON.parse(await readFile(join(folder, 'pairings.json'), 'utf8')) as { pairings: unknown[] }).pairings.length;
}

/** A picture of 64² whose encoding and training cost next to nothing. */
function wave(seed: number): Uint8Array {
	return Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => 128 + 100 * Math.sin(seed * i * 0.01));
}

async function violations(page: Page): Promise<string[]> {
	await page.evaluate(axe.source);
	const result = await page.evaluate(async () => {
		const { axe: checker } = globalThis as unknown as {
			axe: { run: (root: Document, options: object) => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
		};
		return checker.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
	});
	return result.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`.slice(0, 600));
}

/** One late block, so that little is compiled. */
function tinyRecipe(): Recipe {
	const recipe = defaultRecipe('mini');
	recipe.name = 'far mouth';
	Object.assign(recipe.passes.copier, { iterations: 2, batch: 1, rank: 4, alpha: 4, blocks: ['OUT11'] });
	Object.assign(recipe.passes.difference, { iterations: 6, batch: 1, rank: 4, alpha: 4, blocks: ['OUT11'] });
	recipe.saving = { ...recipe.saving, everySteps: 0, snapshotEvery: 1 };
	recipe.preview = { ...recipe.preview, seeds: [5], strengths: [1], steps: 1, cfg: 1, every: 0 };
	recipe.probe.every = 0;
	return recipe;
}

/** One pass, so that the browser's software adapter compiles one step only. */
function onePass(name: string, steps: number): Recipe {
	const recipe = defaultRecipe('mini', 'addift');
	const { saving, preview, probe } = tinyRecipe();
	Object.assign(recipe, { name, saving, preview, probe });
	Object.assign(recipe.passes.difference, { iterations: steps, batch: 1, rank: 4, alpha: 4, blocks: ['OUT11'] });
	return recipe;
}

describe('a training on the helper', () => {
	test(
		'the address of the terminal pairs the page',
		async () => {
			const page = await context.newPage();
			await page.goto(pairingUrl);
			await page.getByText('Connected', { exact: true }).waitFor({ timeout: MINUTE });
			expect(page.url()).toBe(`${url}#helper`);
			await page.getByText('1 checkpoint, 0 LoRAs').waitFor();
			// The code was redeemed once: a second time it would be refused.
			expect(await page.getByRole('alert').allTextContents()).toEqual([]);
			expect(await violations(page)).toEqual([]);
			await shot(page, 'helper-connected');
			await page.close();
		},
		2 * MINUTE
	);

	test(
		'another browser is paired with a new code, seen by the first, and sent away by it',
		async () => {
			const other = await browser.newContext({ locale: 'ja-JP', colorScheme: 'dark', viewport: { width: 360, height: 900 } });
			const narrow = await other.newPage();
			const { out } = await run(['pair'], { UTSUSHI_CONFIG: folder });
			await narrow.goto(`${url}#helper?code=${out.trim()}`);
			await narrow.getByText('接続済み', { exact: true }).waitFor({ timeout: MINUTE });
			await narrow.getByRole('heading', { name: 'ペアリングした画面' }).waitFor();
			await narrow.getByRole('button', { name: /許可を取り消す$/ }).waitFor();
			expect(await narrow.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
			expect(await violations(narrow)).toEqual([]);
			await shot(narrow, 'helper-pages-ja-dark-360');
			const page = await context.newPage();
			await page.setViewportSize({ width: 1280, height: 900 });
			await page.goto(`${url}#helper`);
			expect(await pairingsLeft()).toBe(2);
			await page.getByRole('heading', { name: 'Paired pages' }).waitFor();
			await shot(page, 'helper-pages-en-light-1280');
			await page.getByRole('button', { name: /^Take back the permission of / }).click();
			await page.getByText(/is not paired any more\.$/).waitFor();
			expect(await pairingsLeft()).toBe(1);
			await narrow.getByText('拒否されました', { exact: true }).waitFor();
			await page.close();
			await other.close();
		},
		2 * MINUTE
	);

	test(
		'moves while it runs, from the tab to the helper and back, each going on from the other’s step, and is saved in the tab',
		async () => {
			// More than a fast helper makes before it is asked to give the run back.
			const [name, steps] = ['moved', 900];
			const page = await context.newPage();
			page.on('dialog', (dialog) => void dialog.accept());
			await page.goto(url + encodeRecipeLink(onePass(name, steps)));
			await page.getByRole('group', { name: 'Where it runs' }).getByText('Here', { exact: true }).click();
			for (const [index, which] of ['original', 'target'].entries()) {
				const buffer = Buffer.from(encode({ width: 64, height: 64, channels: 3, depth: 8, data: wave(index + 1) }));
				await page
					.getByLabel(`Choose the ${which} picture`, { exact: true })
					.and(page.locator('input'))
					.setInputFiles({ name: `${which}.png`, mimeType: 'image/png', buffer });
			}
			await page.getByRole('button', { name: 'Start training' }).click();
			await page.getByText('Runs in this tab.').waitFor({ timeout: MINUTE });
			/** Waits for a step behind this one. */
			const progress = page.getByText(new RegExp(`^\\d+ / ${steps}$`)).first();
			const later = async (than: number): Promise<number> => {
				await expect
					.poll(async () => Number((await progress.textContent({ timeout: 6 * MINUTE }))?.split(' ')[0]), { timeout: 6 * MINUTE, interval: 30 })
					.toBeGreaterThan(than);
				return Number((await progress.textContent())?.split(' ')[0]);
			};
			// In each place some steps are trained.
			const first = await later(0);
			await page.getByRole('button', { name: 'Move to the helper' }).click();
			await page.getByText('Runs on the helper.').waitFor({ timeout: 2 * MINUTE });
			const second = await later(first);
			await page.getByRole('button', { name: 'Move to this tab' }).click();
			await page.getByText('Runs in this tab.').waitFor({ timeout: 2 * MINUTE });
			const third = await later(second);
			await page.getByRole('button', { name: 'Stop and save' }).click();
			await page.getByRole('button', { name: /^Download \(/ }).waitFor({ timeout: 4 * MINUTE });
			await shot(page, 'moved');
			expect(await page.getByRole('alert').allTextContents()).toEqual([]);
			const coming = page.waitForEvent('download');
			await page.getByRole('button', { name: /^Download \(/ }).click();
			const path = join(folder, 'moved.safetensors');
			await (await coming).saveAs(path);
			const report = await inspectFile(`${name}.safetensors`, bytesSource(new Uint8Array(await readFile(path))));
			expect(report).toMatchObject({ kind: 'lora', family: 'mini', problems: [] });
			expect(Number(report.metadata['ss_steps'])).toBeGreaterThanOrEqual(third);
			await page.close();
		},
		20 * MINUTE
	);

	test(
		'goes on when the tab is closed, and is taken up when it is opened again',
		async () => {
			const page = await context.newPage();
			page.on('dialog', (dialog) => void dialog.accept());
			await page.goto(url + encodeRecipeLink(tinyRecipe()));
			await page.getByText('On the helper', { exact: true }).first().waitFor();
			await page.getByRole('group', { name: 'Where it runs' }).getByText('On the helper').click();
			await page.locator('summary', { hasText: 'On the helper' }).click();
			await page.getByRole('radio', { name: /little/ }).check();
			await page.getByText('Mini model', { exact: false }).first().waitFor();
			await page.getByRole('group', { name: 'Where it runs' }).getByText('Automatic').click();
			await page.getByText('On the helper: the model lies in its folders.').waitFor();
			await shot(page, 'train-helper');
			await page.getByRole('button', { name: 'Start training' }).click();
			await page.getByText('Runs on the helper. You can close this tab').waitFor({ timeout: MINUTE });
			await page
				.getByText(/^[1-9] \/ \d+$/)
				.first()
				.waitFor({ timeout: 4 * MINUTE });
			expect(await violations(page)).toEqual([]);
			await shot(page, 'run-helper');
			await page.close();

			const back = await context.newPage();
			await back.goto(url);
			await back.getByRole('heading', { name: 'far mouth is ready' }).waitFor({ timeout: 5 * MINUTE });
			await shot(back, 'run-back');
			const coming = back.waitForEvent('download');
			await back.getByRole('button', { name: /^Download \(/ }).click();
			const path = join(folder, 'downloaded.safetensors');
			await (await coming).saveAs(path);
			const bytes = new Uint8Array(await readFile(path));
			expect(await inspectFile('far mouth.safetensors', bytesSource(bytes))).toMatchObject({ kind: 'lora', family: 'mini', problems: [] });
			// The helper saved the very same file into its owner's folder.
			expect(new Uint8Array(await readFile(join(folder, 'models', 'far mouth.safetensors')))).toEqual(bytes);
			await back.goto(`${url}#library`);
			await back.getByText('far mouth.safetensors').first().waitFor();
			expect(await back.getByText('far mouth.safetensors', { exact: true }).count()).toBe(1);
			await back.close();
		},
		11 * MINUTE
	);

	test('its runs are listed, and the page speaks to this address only', async () => {
		const page = await context.newPage();
		await page.goto(`${url}#helper`);
		await page.getByRole('button', { name: 'Show far mouth' }).waitFor();
		await page.getByRole('button', { name: 'Files of far mouth into the library' }).click();
		await page.getByText('1 file is in the library.').waitFor();
		// A LoRA of the helper's folders: the result lies there too, and the library has these bytes already.
		await page.getByText(/^Show the( \d+)? LoRAs?$/).click();
		await page.getByRole('button', { name: 'far mouth into the library', exact: true }).click();
		await page.getByText('The library has exactly this file already.').waitFor();
		const coming = page.waitForEvent('download');
		await page.getByRole('button', { name: 'Download far mouth' }).first().click();
		expect((await coming).suggestedFilename()).toBe('far mouth.safetensors');
		await shot(page, 'helper-runs');
		expect(await pairingsLeft()).toBe(1);
		await page.getByRole('button', { name: 'Forget this helper' }).click();
		await page.getByRole('heading', { name: 'Pair this page' }).waitFor();
		// Forgetting it takes the permission back at the helper too.
		expect(await pairingsLeft()).toBe(0);
		await page.getByLabel('Code from the terminal').fill('WRONG-CODE');
		await page.keyboard.press('Enter');
		await page.getByRole('alert').waitFor();
		await shot(page, 'helper-wrong-code');
		await page.close();
		expect([...seen.requests.keys()]).toEqual([new URL(url).origin]);
		expect(seen.errors).toEqual([]);
	});
});

test.each([
	['ja-JP', 'dark', 360],
	['ja-JP', 'light', 1280],
	['en-GB', 'dark', 1280],
	['en-GB', 'light', 360]
] as const)('the page for setting it up: %s, %s, %i px', async (locale, theme, width) => {
	const visit = await browser.newContext({ locale, colorScheme: theme, viewport: { width, height: 900 } });
	const page = await visit.newPage();
	await page.goto(`${url}#helper`);
	await page.getByText('npx utsushi serve --open').waitFor();
	expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
	expect(await violations(page)).toEqual([]);
	// Systems are a group of radio buttons: arrows move.
	await page.getByRole('radio', { name: 'Windows' }).focus();
	await page.keyboard.press('ArrowRight');
	expect(await page.getByRole('radio', { name: 'macOS' }).isChecked()).toBe(true);
	await shot(page, `setup-${locale.slice(0, 2)}-${theme}-${width}`);
	await visit.close();
});
