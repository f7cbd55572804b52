/**
 * Runs that are ended from outside go on with the same bits: the tab crashes, is closed, or its worker is ended, at random moments. `KILLS` in the environment sets how
 * many times (1; one training goes through up to six of them, tabs and workers by turns); `tools/kill-test.mjs` does the same to processes of the command line.
 */
import type { AddressInfo } from 'node:net';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { createServer, type ViteDevServer } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBrowser } from '../support/browser';

const KILLS = Number(process.env['KILLS'] ?? 1);
const MINUTE = 60_000;

let server: ViteDevServer;
let browser: Browser;
let context: BrowserContext;
let address: string;

beforeAll(async () => {
	server = await createServer({ server: { port: 0, host: '127.0.0.1', hmr: false, ws: false }, logLevel: 'error' });
	await server.listen();
	address = `http://127.0.0.1:${(server.httpServer?.address() as AddressInfo).port}/test/e2e/resume/page.html`;
	browser = await openBrowser();
	context = await browser.newContext();
}, 2 * MINUTE);

afterAll(async () => {
	await browser?.close();
	await server?.close();
});

async function open(): Promise<Page> {
	const page = await context.newPage();
	await page.goto(address);
	await page.waitForFunction(() => globalThis.resumeSteps !== undefined, undefined, { timeout: MINUTE });
	return page;
}

interface Finished {
	result: string | null | undefined;
	resumedAt: string | null | undefined;
	problem: string | null | undefined;
	told: string[] | undefined;
}

async function finish(page: Page): Promise<Finished> {
	await page.waitForFunction(() => globalThis.resumeSteps?.result ?? globalThis.resumeSteps?.problem, undefined, { timeout: 5 * MINUTE });
	return page.evaluate(() => ({
		result: globalThis.resumeSteps?.result,
		resumedAt: globalThis.resumeSteps?.resumedAt,
		problem: globalThis.resumeSteps?.problem,
		told: globalThis.resumeSteps?.told
	}));
}

const crash = async (page: Page): Promise<void> => {
	const session = await context.newCDPSession(page);
	const crashed = page.waitForEvent('crash');
	void session.send('Page.crash').catch(() => undefined);
	await crashed;
	await page.close();
};
const endWorker = async (page: Page): Promise<void> => {
	await page.evaluate(() => globalThis.resumeSteps?.killWorkers());
	await page.close();
};
/** By turns, so that tabs and workers are ended equally often. */
const ENDS: readonly (readonly [string, (page: Page) => Promise<void>])[] = [
	['the tab crashes', crash],
	['the worker is ended', endWorker],
	['the tab is closed', (page) => page.close()],
	['the worker is ended', endWorker]
];
const KILLS_EACH = 6;

/** Digest of the result of a run that nothing disturbed. */
let undisturbed: string | null | undefined;

test(
	'a training that is ended from outside goes on with the same bits',
	async () => {
		const first = await open();
		await first.evaluate(() => globalThis.resumeSteps?.train(false));
		const whole = await finish(first);
		expect(whole).toMatchObject({ result: expect.stringMatching(/^[0-9a-f]{64}$/), problem: null, told: [] });
		undisturbed = whole.result;
		const snapshots = await first.evaluate(() => globalThis.resumeSteps?.snapshots.length ?? 0);
		await first.close();
		expect(snapshots).toBeGreaterThan(2);
		let kills = 0;
		for (let training = 1; kills < KILLS; training++) {
			const most = Math.min(KILLS_EACH, KILLS - kills);
			const story: string[] = [];
			for (;;) {
				const page = await open();
				await page.evaluate((resume) => globalThis.resumeSteps?.train(resume), story.length > 0);
				if (story.length < most) {
					// After some snapshot of either pass, and then anywhere: in a step, while reading back, while writing the next one.
					const after = 1 + Math.floor(Math.random() * (story.length === 0 ? snapshots - 1 : 2));
					await page.waitForFunction(
						(n) => (globalThis.resumeSteps?.snapshots.length ?? 0) >= n || globalThis.resumeSteps?.result || globalThis.resumeSteps?.problem,
						after,
						{ timeout: 5 * MINUTE, polling: 5 }
					);
					await page.waitForTimeout(Math.random() * 400);
					const at = await page.evaluate(() => globalThis.resumeSteps?.snapshots.at(-1));
					if (!(await page.evaluate(() => globalThis.resumeSteps?.result ?? globalThis.resumeSteps?.problem))) {
						const [name, end] = ENDS[(kills + story.length) % ENDS.length] as (typeof ENDS)[number];
						await end(page);
						story.push(`${name} behind ${at}`);
						continue;
					}
				}
				const whatHappened = story.join(', ');
				expect(await finish(page), whatHappened).toMatchObject({ result: whole.result, problem: null, told: [], resumedAt: expect.any(String) });
				await page.close();
				kills += story.length;
				if (KILLS > 3) process.stdout.write(`${kills} of ${KILLS}: ${whatHappened}: same bits\n`);
				break;
			}
		}
	},
	(4 + 3 * KILLS) * MINUTE
);

declare global {
	/** In the trainer's worker: devices it has opened. */
	var openedDevices: { destroy(): void }[] | undefined;
}

test(
	'storage that fills up and then a GPU that is lost cost nothing: the same trainer opens it again, goes on from what was kept, and ends with the same bits without any room',
	async () => {
		const page = await open();
		await page.evaluate(() => globalThis.resumeSteps?.start());
		for (const worker of page.workers()) {
			await worker.evaluate(() => {
				const opened: { destroy(): void }[] = (globalThis.openedDevices = []);
				const adapter = (globalThis as unknown as { GPUAdapter: { prototype: { requestDevice(...given: unknown[]): Promise<{ destroy(): void }> } } })
					.GPUAdapter.prototype;
				const request = adapter.requestDevice;
				adapter.requestDevice = async function (...given) {
					const device = await request.apply(this, given);
					opened.push(device);
					return device;
				};
			});
		}
		await page.evaluate(() => globalThis.resumeSteps?.train(false));
		await page.waitForFunction(() => globalThis.resumeSteps?.snapshots.length, undefined, { timeout: 3 * MINUTE, polling: 5 });
		const session = await context.newCDPSession(page);
		const { origin } = new URL(address);
		await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1000 });
		await page.waitForFunction(() => globalThis.resumeSteps?.told.length, undefined, { timeout: 3 * MINUTE, polling: 5 });
		const kept = await page.evaluate(() => globalThis.resumeSteps?.snapshots.at(-1));
		const lost = await Promise.all(
			page.workers().map((worker) => worker.evaluate(() => globalThis.openedDevices?.map((device) => device.destroy()).length ?? 0))
		);
		expect(Math.max(...lost), 'a device was there to be lost').toBe(1);
		await page.waitForFunction(() => globalThis.resumeSteps?.problem, undefined, { timeout: MINUTE });
		expect(await page.evaluate(() => globalThis.resumeSteps?.problem)).toMatch(/GPU/);
		await page.evaluate(() => globalThis.resumeSteps?.train(true));
		// Still no room: said once more, and the result comes all the same.
		expect(await finish(page)).toMatchObject({ result: undisturbed, problem: null, resumedAt: kept, told: ['snapshot.full', 'snapshot.full'] });
		await session.send('Storage.overrideQuotaForOrigin', { origin });
		await page.close();
	},
	6 * MINUTE
);
