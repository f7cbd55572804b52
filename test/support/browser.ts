/** A headless Chromium for the browser tests: software WebGPU (SwiftShader), no traffic of its own. */
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { findChromium } from '../../tools/chromium.mjs';

const ARGUMENTS = [
	'--no-sandbox',
	'--enable-unsafe-webgpu',
	'--use-webgpu-adapter=swiftshader',
	'--disable-background-networking',
	'--disable-component-update',
	'--disable-sync',
	// Containers often have next to no shared memory.
	'--disable-dev-shm-usage',
	'--no-first-run'
];

export interface BrowserOptions {
	/** Leave WebGPU out, as a browser does that has none. */
	webgpu?: boolean;
}

export async function openBrowser({ webgpu = true }: BrowserOptions = {}): Promise<Browser> {
	const executablePath = findChromium();
	if (executablePath === undefined) throw new Error('No Chromium found; run: node tools/setup-tests.mjs');
	return chromium.launch({ executablePath, args: webgpu ? ARGUMENTS : [...ARGUMENTS, '--disable-features=WebGPU', '--disable-gpu'] });
}

/** Everything that must not happen in any test: requests to another origin, uncaught errors, violations of the policy. */
export interface Watch {
	/** Requests the page or its service worker made, by origin. */
	requests: Map<string, number>;
	errors: string[];
}

/** Watches a context from its first page on. `blob:` and `data:` addresses stay inside the page and are not counted. */
export function watch(context: BrowserContext): Watch {
	const seen: Watch = { requests: new Map(), errors: [] };
	context.on('request', (request) => {
		const { protocol, origin } = new URL(request.url());
		if (protocol === 'blob:' || protocol === 'data:') return;
		seen.requests.set(origin, (seen.requests.get(origin) ?? 0) + 1);
	});
	context.on('weberror', (error) => seen.errors.push(error.error().message));
	context.on('console', (message) => {
		if (/Content Security Policy|Refused to/.test(message.text())) seen.errors.push(message.text());
	});
	return seen;
}

/** True once a service worker controls the page and every file is stored. */
export async function offlineReady(page: Page): Promise<void> {
	await page.evaluate(async () => {
		await navigator.serviceWorker.ready;
		if (navigator.serviceWorker.controller === null)
			await new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }));
	});
}
