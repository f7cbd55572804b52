/**
 * Draws the app's icons as PNG from public/icons/icon.svg: `node tools/icons.mjs`. The results are kept in the project; run it only when
 * the mark changes. "Maskable" icons and Apple's bleed to the edge, because the system cuts its own shape out of them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { findChromium } from './chromium.mjs';

const folder = new URL('../public/icons/', import.meta.url);
const mark = readFileSync(new URL('icon.svg', folder), 'utf8');
const bleeding = mark.replace(/ rx="\d+"/, '');

const executablePath = findChromium();
if (!executablePath) throw new Error('This needs a Chromium; node tools/setup-tests.mjs says where from.');
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const page = await browser.newPage();

/** @param {string} svg @param {number} size @param {string} name */
async function draw(svg, size, name) {
	await page.setViewportSize({ width: size, height: size });
	await page.setContent(`<style>body{margin:0}svg{display:block;width:${size}px;height:${size}px}</style>${svg}`);
	writeFileSync(new URL(name, folder), await page.screenshot({ omitBackground: true }));
}

await draw(mark, 192, 'icon-192.png');
await draw(mark, 512, 'icon-512.png');
await draw(bleeding, 512, 'maskable-512.png');
await draw(bleeding, 180, 'apple-touch-icon.png');
await browser.close();
