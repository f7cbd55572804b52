/**
 * A checkpoint of full size in a browser, the way a user goes: Chromium (on SwiftShader, or a real adapter where one is given by flags) opens the built app, takes a recipe from a link, two pictures
 * and the file, shows what the run will take, trains, and is watched: every change of what the page says, with the seconds since the file was chosen.
 *
 *   npm run build:app && node tools/synthetic/checkpoint.mjs sd15 /path/sd15.safetensors
 *   npx vite build --ssr bench/browser.ts --outDir dist/bench
 *   node dist/bench/browser.js FILE [--family sd15] [--size 64] [--rank 1] [--blocks M00] [--steps 2] [--minutes 15] [--app DIR]
 *
 * As small as it goes: one pass (ADDifT), no previews, no probes, one picture of one sampling step at the end. The last line is JSON.
 */
import { encode } from 'fast-png';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { preview } from 'vite';
import { defaultRecipe } from '../src/recipe/defaults';
import { encodeRecipeLink } from '../src/recipe/link';
import { BLOCK_IDS } from '../src/recipe/recipe';
import { openBrowser } from '../test/support/browser';

const { values: args, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		family: { type: 'string', default: 'sd15' },
		size: { type: 'string', default: '64' },
		rank: { type: 'string', default: '1' },
		blocks: { type: 'string', default: 'M00' },
		steps: { type: 'string', default: '2' },
		minutes: { type: 'string', default: '15' },
		app: { type: 'string', default: 'dist/app' }
	}
});
const [path] = positionals;
if (path === undefined) throw new Error('Name a checkpoint.');
const size = Number(args.size);

const recipe = defaultRecipe(args.family === 'sdxl' ? 'sdxl' : 'sd15', 'addift');
recipe.name = 'small';
recipe.resolution = { width: size, height: size };
const wanted = new Set(args.blocks.split(','));
Object.assign(recipe.passes.difference, {
	rank: Number(args.rank),
	alpha: Number(args.rank),
	convRank: 0,
	batch: 1,
	iterations: Number(args.steps),
	blocks: BLOCK_IDS.filter((block) => wanted.has(block))
});
recipe.preview = { ...recipe.preview, seeds: [5], strengths: [1], steps: 1, cfg: 1, every: 0 };
recipe.probe.every = 0;

const folder = await mkdtemp(join(tmpdir(), 'utsushi-bench-'));
async function picture(name: string, radius: number): Promise<string> {
	const data = Uint8Array.from({ length: 3 * size * size }, (_, i) => {
		const p = Math.floor(i / 3);
		return Math.hypot((p % size) - size / 2, Math.floor(p / size) - size / 2) < radius * size ? 40 * ((i % 3) + 1) : 230;
	});
	await writeFile(join(folder, name), encode({ width: size, height: size, data, channels: 3, depth: 8 }));
	return join(folder, name);
}

const server = await preview({ configFile: false, logLevel: 'error', build: { outDir: args.app }, preview: { port: 0, host: '127.0.0.1' } });
const browser = await openBrowser();
let code = 1;
try {
	const page = await (await browser.newContext({ locale: 'en-GB' })).newPage();
	page.setDefaultTimeout(5 * 60_000);
	const errors: string[] = [];
	page.on('pageerror', (error) => errors.push(error.message));
	await page.goto((server.resolvedUrls?.local[0] ?? '') + encodeRecipeLink(recipe));
	await page.getByText('A recipe was opened from a link.').waitFor();
	const slots = page.locator('input[type=file][accept="image/png,image/jpeg,image/webp"]');
	await slots.nth(0).setInputFiles(await picture('one.png', 0.2));
	await slots.nth(1).setInputFiles(await picture('two.png', 0.4));
	await page.evaluate(() => Reflect.set(window, 'showOpenFilePicker', undefined));
	const choosing = page.waitForEvent('filechooser');
	await page.getByRole('button', { name: /Your own checkpoint/ }).click();
	await (await choosing).setFiles(path);
	const began = performance.now();
	const seconds = (): number => Math.round((performance.now() - began) / 100) / 10;
	const times: Record<string, number> = {};
	const mark = (name: string): void => {
		times[name] ??= seconds();
	};
	let said = '';
	let started = false;
	let outcome = 'out of time';
	while (seconds() < 60 * Number(args.minutes)) {
		const text = await page.evaluate(() => {
			const parts = [
				'[aria-labelledby="state-title"]',
				'[aria-labelledby="start-title"] dl',
				'[role="alert"]',
				'[aria-labelledby="start-title"] [role="status"]'
			];
			return parts
				.flatMap((selector) => [...document.querySelectorAll<HTMLElement>(selector)])
				.map((element) => element.innerText.replaceAll(/\s+/g, ' ').trim())
				.filter((words) => words !== '')
				.join(' | ');
		});
		if (text !== said) console.log(`${seconds().toFixed(1).padStart(7)} s  ${text.slice(0, 400)}`);
		said = text;
		if (/GPU memory [\d.]+ [GM]B/.test(text)) mark('planned');
		if (/step 1\b|\b1 ?\/ ?\d/i.test(text) && started) mark('first step');
		const start = page.getByRole('button', { name: 'Start training' });
		if (!started && times['planned'] !== undefined && (await start.isEnabled().catch(() => false))) {
			await start.click();
			started = true;
			mark('started');
		}
		if (await page.getByRole('heading', { name: /is ready|ended with an error|was stopped/ }).isVisible()) {
			outcome = (await page.getByRole('heading', { name: /is ready|ended with an error|was stopped/ }).textContent()) ?? '';
			mark('ended');
			code = outcome.includes('is ready') ? 0 : 1;
			break;
		}
		await page.waitForTimeout(500);
	}
	console.log(JSON.stringify({ family: args.family, size, rank: Number(args.rank), steps: Number(args.steps), outcome, times, errors }));
} finally {
	await browser.close();
	await server.close();
	await rm(folder, { recursive: true, force: true });
}
process.exitCode = code;
