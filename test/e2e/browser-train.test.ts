/**
 * The whole path in a browser: a recipe link is opened, both passes are trained for a few steps in the page's worker, the file is
 * downloaded, is a LoRA, lies in the library and is recognised when it is opened again. On SwiftShader a step takes seconds, so all is tiny.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesSource } from '../../src/formats/source';
import { defaultRecipe } from '../../src/recipe/defaults';
import { encodeRecipeLink } from '../../src/recipe/link';
import type { Recipe } from '../../src/recipe/recipe';
import { inspectFile } from '../../src/service/inspect';
import { openServedApp, type ServedApp } from '../support/app';

const MINUTES = 60_000;

let app: ServedApp;
let page: ServedApp['page'];
let folder: string;

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-browser-'));
	app = await openServedApp();
	({ page } = app);
});
afterAll(async () => {
	await app?.close();
	await rm(folder, { recursive: true, force: true });
});

function tinyRecipe(): Recipe {
	const recipe = defaultRecipe('mini');
	recipe.name = 'tiny mouth';
	Object.assign(recipe.passes.copier, { iterations: 2, batch: 1, rank: 4, alpha: 4 });
	Object.assign(recipe.passes.difference, { iterations: 3, batch: 1 });
	recipe.saving.keepCopier = true;
	recipe.preview = { ...recipe.preview, seeds: [5], strengths: [1], steps: 1, cfg: 1, every: 0 };
	recipe.probe.every = 0;
	return recipe;
}

/** The recipe inside a saved file is the one of the link. */
const publicParts = ({ name, passes, preview }: Recipe): Partial<Recipe> => ({ name, passes, preview });

describe('training in the page', () => {
	let file: Uint8Array;

	test('a link brings its recipe', async () => {
		await page.goto(app.server.url + encodeRecipeLink(tinyRecipe()));
		await page.getByText('A recipe was opened from a link.').waitFor();
		expect(await page.getByLabel('Name of the LoRA').inputValue()).toBe('tiny mouth');
	});

	test(
		'both passes are trained and the file comes down',
		async () => {
			await page.getByRole('button', { name: 'Start training' }).click();
			await page.getByRole('heading', { name: /tiny mouth is ready|ended with an error/ }).waitFor({ timeout: 12 * MINUTES });
			expect(await page.getByRole('alert').allTextContents()).toEqual([]);
			await page.getByRole('heading', { name: 'tiny mouth is ready' }).waitFor();
			const coming = page.waitForEvent('download');
			await page.getByRole('button', { name: /^Download \(/ }).click();
			const download = await coming;
			expect(download.suggestedFilename()).toBe('tiny mouth.safetensors');
			const path = join(folder, download.suggestedFilename());
			await download.saveAs(path);
			file = new Uint8Array(await readFile(path));
		},
		13 * MINUTES
	);

	test('the file is the LoRA that was asked for', async () => {
		const report = await inspectFile('tiny mouth.safetensors', bytesSource(file));
		expect(report).toMatchObject({ kind: 'lora', family: 'mini', problems: [], lora: { modules: 192, ranks: { '4': 192 } } });
		const recipe = JSON.parse(report.metadata['utsushi.recipe'] ?? '') as Recipe;
		expect(publicParts(recipe)).toEqual(publicParts(tinyRecipe()));
		expect(report.metadata['ss_steps'] ?? report.metadata['ss_max_train_steps']).toBe('3');
	});

	test('it lies in the library, on the next visit too', async () => {
		await page.goto(`${app.server.url}#library`);
		await page.reload();
		await page.getByText('tiny mouth.safetensors').first().waitFor();
		await page.getByText('tiny mouth_copy.safetensors').first().waitFor();
	});

	test('opened again as a model, the page says that it is a LoRA', async () => {
		await page.goto(`${app.server.url}#train`);
		// A headless browser has no dialog for files with handles; the plain one is what other browsers show.
		await page.evaluate(() => Reflect.set(window, 'showOpenFilePicker', undefined));
		const choosing = page.waitForEvent('filechooser');
		await page.getByRole('button', { name: /Your own checkpoint/ }).click();
		await (await choosing).setFiles({ name: 'tiny mouth.safetensors', mimeType: 'application/octet-stream', buffer: Buffer.from(file) });
		await page.getByText(/This is a LoRA, not a checkpoint/).waitFor();
	});

	test('a bad link is refused with a message', async () => {
		for (const link of ['#r=', '#r=!!!', '#r=AAAA', encodeRecipeLink(tinyRecipe()).slice(0, 40)]) {
			await page.goto('about:blank');
			await page.goto(app.server.url + link);
			await page.getByText('The recipe in this link could not be opened').waitFor();
		}
	});

	test('nothing went to another origin, and nothing broke', () => {
		expect([...app.seen.requests.keys()]).toEqual([new URL(app.server.url).origin]);
		expect(app.seen.errors).toEqual([]);
	});
});
