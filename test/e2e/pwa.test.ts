/**
 * The installed page: what a browser asks of an installable app is there, the first visit stores everything, and afterwards the page opens
 * with the network cut and the server gone, with the mini model and the samples, never having asked another origin for anything.
 */
import { readdirSync } from 'node:fs';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { offlineReady, openBrowser, watch, type Watch } from '../support/browser';
import { serve, type Served } from '../support/server';

const MODEL = { path: 'models/mini.safetensors', sha256: '8921b6a26eee5051f9b2bc7e0b02de426b413b3879e687c53847f22128a9669b' };

let server: Served;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let seen: Watch;

beforeAll(async () => {
	server = await serve();
	browser = await openBrowser();
	context = await browser.newContext();
	seen = watch(context);
	page = await context.newPage();
});

afterAll(async () => {
	await browser?.close();
	await server?.stop();
});

/** SHA-256 of a file as the page gets it, in hex. */
function digest(path: string): Promise<string> {
	return page.evaluate(async (url) => {
		const response = await fetch(url);
		if (!response.ok) throw new Error(`${url}: ${response.status}`);
		const hash = await crypto.subtle.digest('SHA-256', await response.arrayBuffer());
		return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
	}, path);
}

describe('the page as an app', () => {
	test('opens, and stores itself on the first visit', async () => {
		const response = await page.goto(server.url);
		expect(response?.status()).toBe(200);
		expect(response?.headers()['content-security-policy']).toContain("default-src 'none'");
		await page.getByRole('main').waitFor();
		await offlineReady(page);
		const stored = await page.evaluate(async () => (await (await caches.open('utsushi-files')).keys()).map((request) => new URL(request.url).pathname));
		expect(stored).toContain('/index.html');
		expect(stored).toContain(`/${MODEL.path}`);
		const samples = readdirSync('public/samples', { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
		expect(stored.filter((path) => path.startsWith('/samples/')).length).toBe(samples.length);
		expect(stored.filter((path) => path.endsWith('.wasm')).length).toBe(1);
	});

	test('has no inline script and the policy in the page itself', async () => {
		expect(await page.locator('script:not([src])').count()).toBe(0);
		expect(await page.locator('meta[http-equiv="Content-Security-Policy"]').getAttribute('content')).toContain("default-src 'none'");
	});

	test('can be installed', async () => {
		const session = await context.newCDPSession(page);
		const { installabilityErrors } = await session.send('Page.getInstallabilityErrors');
		// A private window is no place to install to, and the tests' context is one.
		expect(installabilityErrors.map((error) => error.errorId).filter((id) => id !== 'in-incognito')).toEqual([]);
		const { data, errors } = await session.send('Page.getAppManifest');
		expect(errors).toEqual([]);
		const manifest = JSON.parse(data ?? '{}') as { name: string; icons: { src: string; sizes: string; purpose: string }[] };
		expect(manifest.name).toBe('写し Utsushi');
		for (const size of ['192x192', '512x512']) expect(manifest.icons.some((icon) => icon.sizes === size)).toBe(true);
		for (const icon of manifest.icons) expect(await page.evaluate(async (src) => (await fetch(src)).ok, icon.src)).toBe(true);
	});

	test('opens offline, with the server gone, with the model and the samples', async () => {
		await server.stop();
		await context.setOffline(true);
		await page.reload();
		await page.getByRole('main').waitFor();
		expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
		expect(await digest(MODEL.path)).toBe(MODEL.sha256);
		expect(await page.evaluate(async () => (await createImageBitmap(await (await fetch('samples/front/closed.png')).blob())).width)).toBe(128);
		const second = await context.newPage();
		await second.goto(`${server.url}#nowhere`);
		await second.getByRole('main').waitFor();
		await second.close();
	});

	test('never asked another origin, and nothing broke', () => {
		expect([...seen.requests.keys()]).toEqual([new URL(server.url).origin]);
		expect(seen.requests.values().next().value).toBeGreaterThan(5);
		expect(seen.errors).toEqual([]);
	});
});
