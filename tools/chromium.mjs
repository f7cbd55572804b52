/**
 * Where a Chromium for the tests is: `UTSUSHI_CHROMIUM` if set, else the usual places, else the one `playwright-core` may have installed.
 */
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const PLACES = [
	'/usr/bin/chromium',
	'/usr/bin/google-chrome-stable',
	'/usr/bin/google-chrome',
	'/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
	'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe'
];

/** @returns {string | undefined} the path of an executable */
export function findChromium() {
	const named = process.env['UTSUSHI_CHROMIUM'];
	return [...(named ? [named] : PLACES), chromium.executablePath()].find((path) => existsSync(path));
}
