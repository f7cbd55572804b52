/**
 * The same build on a plain static host, in a subfolder: the service worker supplies the isolation headers, an update downloads only what
 * changed and waits until the page agrees, and a file that is not what the build listed is refused.
 */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { offlineReady, openBrowser, watch, type Watch } from '../support/browser';
import { hostStatically, type StaticHost } from '../support/static-host';

const CHANGED = 'icons/icon.svg';

let folder: string;
let host: StaticHost;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let seen: Watch;

const file = (path: string): string => join(folder, path);
const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64');

/** A new version of the app: one file differs, and the worker's list with it (or, as a damaged upload, the list alone). */
function publish(text: string, damaged = false): void {
	const before = readFileSync(file(CHANGED), 'utf8');
	writeFileSync(file('sw.js'), readFileSync(file('sw.js'), 'utf8').replaceAll(sha256(before), sha256(text)));
	if (!damaged) writeFileSync(file(CHANGED), text);
}

beforeAll(async () => {
	folder = mkdtempSync(join(tmpdir(), 'utsushi-host-'));
	cpSync(resolve(import.meta.dirname, '../../dist/app'), folder, { recursive: true });
	host = await hostStatically(folder, '/some/folder/');
	browser = await openBrowser();
	context = await browser.newContext();
	seen = watch(context);
	page = await context.newPage();
});

afterAll(async () => {
	await browser?.close();
	await host?.stop();
	if (folder) rmSync(folder, { recursive: true, force: true });
});

describe('on a static host', () => {
	test('the second visit is isolated, by the service worker', async () => {
		await page.goto(host.url);
		await offlineReady(page);
		await page.reload();
		await page.getByRole('main').waitFor();
		expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
		expect(await page.evaluate(async (path) => (await fetch(path)).headers.get('content-security-policy'), CHANGED)).toContain("default-src 'none'");
	});

	test('an update fetches only what changed and waits for the page', async () => {
		host.forget();
		publish('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"/>');
		const shown = (): Promise<string> => page.evaluate(async (path) => (await fetch(path)).text(), CHANGED);
		const old = await shown();
		await page.evaluate(async () => {
			const registration = await navigator.serviceWorker.ready;
			await registration.update();
			while (registration.waiting === null) await new Promise((later) => setTimeout(later, 50));
		});
		expect(new Set(host.asked)).toEqual(new Set(['sw.js', CHANGED]));
		expect(await shown()).toBe(old);
		await page.evaluate(async () => {
			const switched = new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }));
			(await navigator.serviceWorker.ready).waiting?.postMessage({ type: 'activate' });
			await switched;
		});
		await page.waitForLoadState();
		expect(await shown()).not.toBe(old);
		// Cleaning up goes on after the switch.
		const kept = (): Promise<number> =>
			page.evaluate(async () => (await (await caches.open('utsushi-files')).keys()).filter(({ url }) => url.includes('icon.svg')).length);
		await expect.poll(kept).toBe(1);
	});

	test('a file that is not what the build listed is refused, and the old version stays', async () => {
		publish('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>', true);
		const state = await page.evaluate(async () => {
			const registration = await navigator.serviceWorker.ready;
			await registration.update();
			const worker = registration.installing;
			if (worker === null) return 'no update seen';
			while (worker.state === 'installing') await new Promise((later) => setTimeout(later, 50));
			return worker.state;
		});
		expect(state).toBe('redundant');
		await page.reload();
		await page.getByRole('main').waitFor();
		expect(await page.evaluate(async (path) => (await fetch(path)).text(), CHANGED)).toContain('0 0 8 8');
	});

	test('no other origin was asked', () => {
		expect([...seen.requests.keys()]).toEqual([new URL(host.url).origin]);
	});
});
