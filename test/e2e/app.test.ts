/**
 * The screens themselves, with the real app and a scripted trainer: they open in both languages and themes, pass axe (WCAG 2.2 AA), work
 * by keyboard, say what is wrong where it is wrong, and never hold the page for long.
 */
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openScriptedApp, violations, type ScriptedApp } from '../support/app';
import { openBrowser } from '../support/browser';

let app: ScriptedApp;

beforeAll(async () => {
	app = await openScriptedApp();
}, 120_000);
afterAll(() => app.close());

async function start(page: Page): Promise<void> {
	await page.getByRole('button', { name: /Start training|学習を始める/ }).click();
	await page
		.getByRole('heading', { name: /^(Strength|Live preview|強さ|ライブプレビュー)$/ })
		.first()
		.waitFor();
}

describe.each([
	{ locale: 'ja', theme: 'light' as const },
	{ locale: 'en-GB', theme: 'dark' as const }
])('in $locale, $theme', ({ locale, theme }) => {
	test('preparing a run, with every setting unfolded', async () => {
		const { page, context, seen } = await app.visit({ locale, theme });
		for (const summary of await page.locator('summary').all()) await summary.click();
		expect(await page.evaluate(() => document.documentElement.lang)).toBe(locale.slice(0, 2));
		expect(await violations(page)).toEqual([]);
		expect(seen.errors).toEqual([]);
		await context.close();
	});

	test('a run, on a phone', async () => {
		const { page, context, seen } = await app.visit({ locale, theme, story: 'training', width: 390 });
		await start(page);
		expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
		expect(await violations(page)).toEqual([]);
		expect(seen.errors).toEqual([]);
		await context.close();
	});

	test('a result, the library, the settings', async () => {
		const { page, context, seen } = await app.visit({ locale, theme });
		await start(page);
		await page.getByRole('heading', { name: /mouth-a/ }).waitFor();
		expect(await violations(page)).toEqual([]);
		await page.getByRole('link', { name: /^(Library|ライブラリ)$/ }).click();
		await page.getByRole('heading', { name: 'mouth-a.safetensors' }).waitFor();
		await page.locator('article img').first().waitFor();
		expect(await violations(page)).toEqual([]);
		await page.getByRole('link', { name: /Settings|設定/ }).click();
		await page.getByRole('radio', { name: /English/ }).waitFor({ state: 'attached' });
		expect(await violations(page)).toEqual([]);
		expect(seen.errors).toEqual([]);
		await context.close();
	});
});

describe('the Train screen', () => {
	test('finds a learning rate, says why, and takes it over', async () => {
		const { page, context, seen } = await app.visit({ theme: 'dark', width: 390 });
		await page.getByText('Settings of both passes').click();
		await page.getByRole('button', { name: 'Find the learning rate…' }).click();
		await page.getByRole('button', { name: 'Start', exact: true }).click();
		await page.getByText(/breaks at about/).waitFor();
		// Where the start card does not stand over controls.
		await page.evaluate(() => scrollTo(0, 0));
		expect(await violations(page)).toEqual([]);
		const use = page.getByRole('button', { name: /^Use / });
		const rate = (await use.textContent())?.trim().replace('Use ', '') ?? '';
		await use.press('Enter');
		expect(await page.getByLabel('Learning rate – Copier').inputValue()).toBe(rate);
		expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
		expect(seen.errors).toEqual([]);
		await context.close();
	});

	test('shows what the guard did, what the previews changed, and where to look', async () => {
		const { page, context } = await app.visit({ story: 'training' });
		await start(page);
		await page.getByText(/step 40: the loss rose to 7.4 times.*Went back to step 20/).waitFor();
		await page.getByText(/Look at step \d+ first/).waitFor();
		const film = page.getByRole('slider', { name: 'Through time' });
		await film.press('Home');
		expect(await film.getAttribute('aria-valuetext')).toContain('step 0');
		await context.close();
	});

	test('fits 360 pixels in both languages', async () => {
		for (const locale of ['ja', 'en-GB']) {
			const { page, context } = await app.visit({ locale, width: 360 });
			for (const summary of await page.locator('summary').all()) await summary.click();
			expect(await page.evaluate(() => document.documentElement.scrollWidth), locale).toBe(360);
			await context.close();
		}
	});

	test('says what is wrong at the field, and does not start', async () => {
		const { page, context } = await app.visit({});
		await page.getByText('Settings of both passes').click();
		const rate = page.getByLabel('Learning rate – Difference');
		await rate.fill('abc');
		await expect.poll(() => rate.getAttribute('aria-invalid')).toBe('true');
		expect(await page.getByText('"abc" is not a number').count()).toBe(1);
		expect(await page.getByRole('button', { name: 'Start training' }).isDisabled()).toBe(true);
		await rate.fill('2e-3');
		await expect.poll(() => page.getByRole('button', { name: 'Start training' }).isDisabled()).toBe(false);
		await page.getByLabel('Alpha – Copier', { exact: true }).fill('64');
		expect(await page.getByText('Alpha 64 is above rank 16').count()).toBe(1);
		expect(await page.getByText('Your own settings').count()).toBe(1);
		await context.close();
	});

	test('refuses a picture that cannot be trained on, and mends one that can', async () => {
		const { page, context } = await app.visit({});
		const original = page.getByLabel('Choose the original picture', { exact: true }).and(page.locator('input'));
		await original.setInputFiles({ name: 'empty.png', mimeType: 'image/png', buffer: Buffer.alloc(0) });
		await page.getByText('empty.png is empty (0 bytes)').waitFor();
		const picture = await page.evaluate(async () => {
			const canvas = new OffscreenCanvas(150, 90);
			canvas.getContext('2d')?.fillRect(0, 0, 150, 90);
			return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
		});
		await original.setInputFiles({ name: 'odd.png', mimeType: 'image/png', buffer: Buffer.from(picture) });
		await page.getByText('150 × 90 pixels, the target 128 × 128').waitFor();
		expect(await page.getByRole('button', { name: 'Start training' }).isDisabled()).toBe(true);
		await page.getByRole('button', { name: 'Crop and resize both to 192 × 128' }).click();
		await page.getByText('Both pictures were cropped and resized').waitFor();
		expect(await page.getByRole('button', { name: 'Start training' }).isDisabled()).toBe(false);
		await context.close();
	});

	test('works by keyboard: compare slider, samples, start', async () => {
		const { page, context } = await app.visit({});
		await page.getByRole('radio', { name: 'Compare' }).press(' ');
		const slider = page.getByRole('slider', { name: 'Share of the original that is shown' });
		await slider.focus();
		await page.keyboard.press('End');
		expect(await slider.inputValue()).toBe('100');
		await page.getByRole('button', { name: 'Front, mouth “o”' }).press('Enter');
		await expect.poll(() => page.getByLabel('Name of the LoRA').inputValue()).toBe('mouth-o');
		await page.getByRole('button', { name: 'Start training' }).press('Enter');
		await page.getByRole('heading', { name: 'mouth-o is ready' }).waitFor();
		await context.close();
	});

	test('opens a recipe link, and refuses a broken one with the reason', async () => {
		const { page, context } = await app.visit({ hash: '#r=not*a*recipe' });
		await page.getByRole('alert').getByText('This link is damaged').waitFor();
		expect(new URL(page.url()).hash).toBe('#train');
		await start(page);
		await context.grantPermissions(['clipboard-read', 'clipboard-write']);
		await page.getByRole('button', { name: 'Copy recipe link' }).click();
		await page.getByText(/Copied · \d+ characters/).waitFor();
		const link = await page.evaluate(() => navigator.clipboard.readText());
		const { page: second, context: other } = await app.visit({ hash: new URL(link).hash });
		await second.getByText('A recipe was opened from a link.').waitFor();
		expect(await second.getByLabel('Name of the LoRA').inputValue()).toBe('mouth-a');
		await other.close();
		await context.close();
	});

	test('explains itself without WebGPU', async () => {
		const without = await openBrowser({ webgpu: false });
		const page = await without.newPage({ locale: 'en-GB' });
		await page.addInitScript(() => Object.defineProperty(Navigator.prototype, 'gpu', { configurable: true, get: () => undefined }));
		await page.addInitScript(() => Reflect.deleteProperty(Navigator.prototype, 'gpu'));
		await page.goto(app.address);
		await page.getByRole('heading', { name: 'This browser cannot reach your GPU' }).waitFor();
		expect(await page.getByText('Safari 26 or later').count()).toBe(1);
		await without.close();
	});
});

describe('a run', () => {
	test('that fails says why and keeps what there is', async () => {
		const { page, context } = await app.visit({ story: 'failed' });
		await page.getByRole('button', { name: 'Start training' }).click();
		await page.getByRole('heading', { name: 'The run ended with an error' }).waitFor();
		await page.getByText('The graphics driver was reset').waitFor();
		await page.getByRole('button', { name: 'Train again with these settings' }).click();
		await page.getByRole('button', { name: 'Start training' }).waitFor();
		await context.close();
	});

	test('hands out the file it made', async () => {
		const { page, context } = await app.visit({});
		await start(page);
		const downloaded = page.waitForEvent('download');
		await page.getByRole('button', { name: /^Download \(/ }).click();
		expect((await downloaded).suggestedFilename()).toBe('mouth-a.safetensors');
		await context.close();
	});

	test('leaves room to prepare what comes next, and says that the queue has to be started', async () => {
		const { page, context, seen } = await app.visit({ story: 'training', width: 390 });
		await start(page);
		await page.getByRole('link', { name: 'Prepare the next run' }).press('Enter');
		await page.getByText('“mouth-a” is being trained.').waitFor();
		expect(await page.getByRole('button', { name: 'Start training' }).count()).toBe(0);
		await page.getByRole('button', { name: 'Front, mouth “o”' }).click();
		await page.getByRole('button', { name: 'Add to queue' }).click();
		await page.getByText('The queue is not running').waitFor();
		expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
		expect(await violations(page)).toEqual([]);
		// A job that waits can be changed meanwhile.
		await page.getByRole('link', { name: 'To the queue' }).click();
		await page.getByRole('group', { name: 'Actions for mouth-o' }).getByRole('button', { name: 'Edit' }).click();
		await page.getByRole('button', { name: 'Save in the queue' }).click();
		await page.getByRole('link', { name: 'Train', exact: true }).click();
		await page.getByRole('heading', { name: 'mouth-a' }).waitFor();
		expect(seen.errors).toEqual([]);
		await context.close();
	});

	test('that is over leads on: strengths, merge, the library', async () => {
		const { page, context } = await app.visit({});
		await start(page);
		await page.getByRole('heading', { name: 'What next?' }).waitFor();
		expect(await violations(page)).toEqual([]);
		await page.getByRole('link', { name: 'Merge with others' }).click();
		await page.getByRole('slider', { name: 'Ratio of mouth-a' }).waitFor();
		await page.goBack();
		await page.getByRole('link', { name: 'Try strengths and seeds' }).click();
		await page.getByRole('textbox', { name: 'Strength, mouth-a' }).waitFor();
		await page.goBack();
		await page.getByRole('link', { name: 'Show it there' }).click();
		await page.locator('li.sought').getByRole('heading', { name: 'mouth-a.safetensors' }).waitFor();
		await context.close();
	});

	test('is not left without a word', async () => {
		const { page, context } = await app.visit({ story: 'training' });
		await start(page);
		const asked = page.waitForEvent('dialog');
		const leaving = page.goto('about:blank').catch((error: unknown) => String(error));
		const dialog = await asked;
		expect(dialog.type()).toBe('beforeunload');
		await dialog.dismiss();
		expect(await leaving).toContain('ERR_ABORTED');
		await page
			.getByRole('heading', { name: /^(Strength|Live preview)$/ })
			.first()
			.waitFor();
		await context.close();
	});
});
