/** What tests of the page share: the app with a scripted trainer on Vite's server, the built app with the real engine, and axe. */
import axe from 'axe-core';
import type { AddressInfo } from 'node:net';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { createServer } from 'vite';
import { openBrowser, watch, type Watch } from './browser';
import { serve, type Served } from './server';

/** Rules of WCAG 2.2 AA that the page breaks, each with the places. */
export async function violations(page: Page): Promise<string[]> {
	await page.evaluate(axe.source);
	const result = await page.evaluate(async () => {
		const run = (
			globalThis as unknown as { axe: { run: (root: Document, options: object) => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }
		).axe.run;
		return run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
	});
	return result.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`.slice(0, 600));
}

export interface Visit {
	readonly story?: 'training' | 'done' | 'failed';
	readonly locale?: string;
	readonly theme?: 'light' | 'dark';
	readonly width?: number;
	readonly hash?: string;
	/** Dialogs are accepted; otherwise they are the test's. */
	readonly accept?: boolean;
}

export interface Visited {
	readonly page: Page;
	readonly context: BrowserContext;
	readonly seen: Watch;
}

export interface ScriptedApp {
	readonly browser: Browser;
	/** Of the harness page; `?story=` says what the trainer does. */
	readonly address: string;
	/** Opens the app in a browser context of its own. */
	visit(visit: Visit): Promise<Visited>;
	close(): Promise<void>;
}

/** The real app with a scripted trainer (`test/e2e/app`). */
export async function openScriptedApp(): Promise<ScriptedApp> {
	const server = await createServer({ server: { port: 0, host: '127.0.0.1', hmr: false, ws: false }, logLevel: 'error' });
	await server.listen();
	const address = `http://127.0.0.1:${(server.httpServer?.address() as AddressInfo).port}/test/e2e/app/harness.html`;
	const browser = await openBrowser();
	const visit = async ({ story = 'done', locale = 'en-GB', theme = 'light', width = 1280, hash = '', accept = false }: Visit): Promise<Visited> => {
		const context = await browser.newContext({ locale, colorScheme: theme, viewport: { width, height: 900 } });
		const seen = watch(context);
		const page = await context.newPage();
		if (accept) page.on('dialog', (dialog) => void dialog.accept());
		await page.goto(`${address}?story=${story}${hash}`);
		await page.getByRole('heading', { level: 1 }).waitFor({ state: 'attached' });
		await page.locator('main canvas').first().waitFor();
		return { page, context, seen };
	};
	// The first visit lets Vite prepare the dependencies; it may reload the page meanwhile.
	const { page, context } = await visit({});
	await page.waitForLoadState('networkidle');
	await context.close();
	return {
		browser,
		address,
		visit,
		async close() {
			await browser.close();
			await server.close();
		}
	};
}

export interface ServedApp extends Visited {
	readonly server: Served;
	readonly browser: Browser;
	close(): Promise<void>;
}

/** The built app with the real engine, and one page of it that is still empty. */
export async function openServedApp(locale = 'en-US'): Promise<ServedApp> {
	const server = await serve();
	const browser = await openBrowser();
	const context = await browser.newContext({ locale });
	const seen = watch(context);
	const page = await context.newPage();
	return {
		server,
		browser,
		context,
		seen,
		page,
		async close() {
			await browser.close();
			await server.stop();
		}
	};
}
