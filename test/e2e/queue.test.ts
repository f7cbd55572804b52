/** The queue's room on a scripted trainer: adding, sweeping, ordering, running through, and going on after a reload. Both languages and themes, keyboard, axe. */
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openScriptedApp, violations, type ScriptedApp } from '../support/app';

let app: ScriptedApp;

beforeAll(async () => {
	app = await openScriptedApp();
}, 120_000);
afterAll(() => app.close());

async function add(page: Page): Promise<void> {
	await page.getByRole('button', { name: /Add to queue|キューに追加/ }).click();
	await page
		.getByRole('status')
		.getByText(/^(Added|追加)/)
		.waitFor();
}

async function openQueue(page: Page): Promise<void> {
	await page.evaluate(() => (location.hash = '#queue'));
	await page.getByRole('heading', { level: 1, name: /^(Queue|キュー)$/ }).waitFor();
}

const names = (page: Page): Promise<string[]> => page.locator('ol > li h2').allTextContents();
const states = (page: Page): Promise<string[]> => page.locator('ol > li .state').allTextContents();

describe.each([
	{ locale: 'ja', theme: 'dark' as const, width: 360 },
	{ locale: 'en-GB', theme: 'light' as const, width: 1280 }
])('in $locale, $theme, $width pixels', ({ locale, theme, width }) => {
	test('a night: add, sweep, reorder by keyboard, run, clear', async () => {
		const { page, context, seen } = await app.visit({ accept: true, story: 'done', locale, theme, width });
		await add(page);
		await openQueue(page);
		await page.getByRole('button', { name: /Sweep|値を変えて/ }).click();
		await page.getByLabel(/^(Values|値)/).fill('5e-5, wrong');
		await expect.poll(() => page.getByRole('button', { name: /^Add \d|件追加/ }).isDisabled()).toBe(true);
		await page.getByLabel(/^(Values|値)/).fill('5e-5, 1e-4');
		expect(await violations(page)).toEqual([]);
		await page.getByRole('button', { name: /Add 2 jobs|2 件追加/ }).press('Enter');
		expect(await names(page)).toEqual(['mouth-a', 'mouth-a_lr5e-5', 'mouth-a_lr1e-4']);
		await page.getByRole('button', { name: /Move mouth-a_lr1e-4 up|mouth-a_lr1e-4 を上へ/ }).press('Enter');
		expect(await names(page)).toEqual(['mouth-a', 'mouth-a_lr1e-4', 'mouth-a_lr5e-5']);
		expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
		// What is queued is stored: another visit finds it.
		await page.reload();
		await expect.poll(() => names(page)).toEqual(['mouth-a', 'mouth-a_lr1e-4', 'mouth-a_lr5e-5']);
		await page.getByRole('button', { name: /Start the queue|キューを開始/ }).click();
		await expect.poll(() => states(page), { timeout: 60_000 }).toEqual(Array(3).fill(locale === 'ja' ? '完了' : 'Done'));
		expect(await violations(page)).toEqual([]);
		await page.getByRole('button', { name: /Remove finished|終わったものを消す/ }).click();
		await page.getByText(/Nothing is waiting|待っているものはありません/).waitFor();
		expect(seen.errors).toEqual([]);
		await context.close();
	});
});

test('a run that was interrupted is offered after a reload, and goes on as the same job', async () => {
	const { page, context } = await app.visit({ accept: true, story: 'training' });
	await page.getByRole('button', { name: 'Start training' }).click();
	await page.getByRole('heading', { name: 'Live preview' }).waitFor();
	await openQueue(page);
	await expect.poll(() => states(page)).toEqual(['Running']);
	// A run goes on whatever else is added; what is added waits.
	const asked = () => page.evaluate(() => (globalThis as unknown as { asked: { job: string; resume: boolean }[] }).asked);
	const [first] = await asked();
	expect(first).toMatchObject({ resume: false });
	await page.reload();
	await page.getByText('“mouth-a” stopped after step').waitFor();
	await expect.poll(() => states(page)).toEqual(['Interrupted']);
	expect(await violations(page)).toEqual([]);
	await page.getByRole('button', { name: 'Go on' }).click();
	await expect.poll(asked).toEqual([{ job: first?.job, resume: true }]);
	await expect.poll(() => states(page)).toEqual(['Running']);
	await context.close();
});

test('a job that fails is reported and the next one starts; its settings can be changed and saved back', async () => {
	const { page, context } = await app.visit({ accept: true, story: 'failed' });
	await add(page);
	await add(page);
	await openQueue(page);
	await page.getByRole('button', { name: 'Edit' }).last().click();
	await page.getByText('You are editing “mouth-a-2”').waitFor();
	await page.getByLabel('Name of the LoRA').fill('other');
	await page.getByRole('button', { name: 'Save in the queue' }).click();
	await expect.poll(() => names(page)).toEqual(['mouth-a', 'other']);
	await page.getByRole('button', { name: 'Start the queue' }).click();
	// The lost device is tried once more by itself, then reported.
	await expect.poll(() => states(page), { timeout: 60_000 }).toEqual(['Failed', 'Failed']);
	expect(await page.evaluate(() => (globalThis as unknown as { asked: { resume: boolean }[] }).asked.map(({ resume }) => resume))).toEqual([
		false,
		true,
		false,
		true
	]);
	expect(await page.getByText('The graphics driver was reset').count()).toBe(2);
	await context.close();
});

test('several pairs become a job each, and Edit brings a job back with its pictures and files', async () => {
	const { page, context } = await app.visit({ accept: true, story: 'done' });
	await page.getByText('Several pairs at once').click();
	await page.getByRole('button', { name: 'This mouth from all 3 directions' }).click();
	await page.getByText('3 jobs were added.').waitFor();
	// Other settings in the form meanwhile: editing a job must bring its own back.
	await page.getByLabel('Name of the LoRA').fill('something-else');
	await page.getByRole('link', { name: 'Open the queue' }).click();
	await expect.poll(() => names(page)).toEqual(['mouth-a_front', 'mouth-a_left', 'mouth-a_right']);
	await page.getByRole('button', { name: 'Edit' }).nth(1).click();
	await page.getByText('You are editing “mouth-a_left”').waitFor();
	expect(await page.getByLabel('Name of the LoRA').inputValue()).toBe('mouth-a_left');
	await page.getByRole('button', { name: 'Save in the queue' }).click();
	await expect.poll(() => names(page)).toEqual(['mouth-a_front', 'mouth-a_left', 'mouth-a_right']);
	await context.close();
});

test('a second tab leaves the queue to the first', async () => {
	const { page, context } = await app.visit({ accept: true, story: 'done' });
	await add(page);
	const second = await context.newPage();
	await second.goto(`${app.address}?story=done#queue`);
	await second.getByText('The queue is open in another tab').waitFor();
	await page.close();
	await expect.poll(() => names(second)).toEqual(['mouth-a']);
	await context.close();
});
