/** The library in a real browser: IndexedDB and the private file system, on the page's thread and in a worker, a full disk included. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBrowser } from '../support/browser';
import { hostStatically, type StaticHost } from '../support/static-host';

let folder: string;
let host: StaticHost;
let browser: Browser;
let page: Page;

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-storage-'));
	await build({
		configFile: false,
		logLevel: 'error',
		build: { outDir: folder, lib: { entry: join(import.meta.dirname, 'storage/page.ts'), formats: ['es'], fileName: () => 'page.js' }, minify: false }
	});
	await writeFile(join(folder, 'index.html'), '<!doctype html><script type="module" src="page.js"></script>');
	host = await hostStatically(folder, '/s/');
	browser = await openBrowser({ webgpu: false });
	page = await (await browser.newContext()).newPage();
	await page.goto(host.url);
	await page.waitForFunction(() => globalThis.storageSteps !== undefined);
});

afterAll(async () => {
	await browser?.close();
	await host?.stop();
	await rm(folder, { recursive: true, force: true });
});

describe('the library in a browser', () => {
	test('keeps, lists newest first, renames and removes', async () => {
		expect(await page.evaluate(() => globalThis.storageSteps?.life())).toEqual({
			names: ['second.safetensors', 'first.safetensors'],
			same: true,
			preview: 'png',
			left: [{ name: 'renamed.safetensors', size: 5000, kept: 'opfs' }],
			changes: 4
		});
	});

	test('is there on the next visit', async () => {
		await page.reload();
		await page.waitForFunction(() => globalThis.storageSteps !== undefined);
		expect(await page.evaluate(() => globalThis.storageSteps?.again())).toEqual({ name: 'renamed.safetensors', metadata: { a: 'b' }, length: 5000 });
	});

	test('keeps cells of plots within their room, the latest used ones', async () => {
		expect(await page.evaluate(() => globalThis.storageSteps?.cells())).toEqual({ known: ['a', 'c', 'd'], left: ['d 300', 'e 600'], plot: { version: 1 } });
	});

	test('says so when the browser has cleared a file', async () => {
		const found = await page.evaluate(() => globalThis.storageSteps?.missing());
		expect(found?.code).toBe('storage.missing');
		expect(found?.text).toContain('lost.safetensors');
	});

	test('says so when the disk is full, and leaves nothing half written', async () => {
		const session = await page.context().newCDPSession(page);
		await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(host.url).origin, quotaSize: 200_000 });
		const full = await page.evaluate(() => globalThis.storageSteps?.full(3_000_000));
		await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(host.url).origin });
		expect(full?.error?.code).toBe('storage.quota');
		expect(full?.error?.text).toContain('large.safetensors');
		expect(full).toMatchObject({ left: 0, files: 1 });
	});

	test('works without the private file system', async () => {
		expect(await page.evaluate(() => globalThis.storageSteps?.fallback())).toEqual({ same: true, code: 'storage.missing' });
	});

	test('keeps settings', async () => {
		expect(await page.evaluate(() => globalThis.storageSteps?.settings())).toEqual(['ja', undefined]);
	});

	test('writes from a worker too', async () => {
		const answer = await page.evaluate(
			() =>
				new Promise((resolve) => {
					const worker = new Worker('page.js', { type: 'module' });
					worker.addEventListener('message', ({ data }) => resolve(data));
					worker.postMessage('go');
				})
		);
		expect(answer).toEqual({ kind: 'opfs', size: 50_000, same: true });
	});
});
