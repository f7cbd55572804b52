/** The types see to it that both languages have the same keys; here is what types cannot see. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { en } from '../../../src/app/i18n/en/index';
import { library as libraryEn } from '../../../src/app/i18n/en/library';
import { merge as mergeEn } from '../../../src/app/i18n/en/merge';
import { plot as plotEn } from '../../../src/app/i18n/en/plot';
import { ja } from '../../../src/app/i18n/ja/index';
import { library as libraryJa } from '../../../src/app/i18n/ja/library';
import { merge as mergeJa } from '../../../src/app/i18n/ja/merge';
import { plot as plotJa } from '../../../src/app/i18n/ja/plot';
import { problemsJa } from '../../../src/app/i18n/ja/problems';
import { chooseLanguage } from '../../../src/app/i18n/language';
import { problemTables } from '../../../src/app/i18n/problem-texts.svelte';
import { problemText } from '../../../src/app/i18n/problems';
import { parseRecipe } from '../../../src/recipe/schema';

/** Every text with its path; functions are called with numbers for arguments. */
function texts(node: unknown, path: string): [string, string][] {
	if (typeof node === 'string') return [[path, node]];
	if (typeof node === 'function') return [[path, String((node as (...values: number[]) => unknown)(11, 22, 33, 44, 55))]];
	return Object.entries(node as Record<string, unknown>).flatMap(([key, value]) => texts(value, path ? `${path}.${key}` : key));
}

const english = new Map(texts({ ...en, library: libraryEn, merge: mergeEn, plot: plotEn }, ''));
const japanese = new Map(texts({ ...ja, library: libraryJa, merge: mergeJa, plot: plotJa }, ''));
/** Names and words that are the same in both languages. */
const SHARED =
	/^(shell\.name|merge\.(precisions|methods\.svd)|plot\.kinds\.lora$|recipe\.(optimizers|losses|samplers)\.|recipe\.fields\.(beta[12]|minSnrGamma)\.label|train\.model\.(families\.|vPrediction)|train\.start\.kinds\.factors|train\.pair\.size|train\.start\.stepsValue|run\.step$|run\.memory$|shell\.runChip$|settings\.languages\.|recipe\.preview\.cfg|recipe\.blockOf|tuning\.[tg]flops)/;

describe('both languages', () => {
	test('say something everywhere', () => {
		expect([...english, ...japanese].filter(([, text]) => text.trim() === '')).toEqual([]);
	});

	test('are both translated', () => {
		const same = [...english].filter(([path, text]) => japanese.get(path) === text && /[a-z]{3}/i.test(text) && !SHARED.test(path));
		expect(same).toEqual([]);
	});

	test('use every value a sentence is given', () => {
		for (const [path, text] of english) {
			const values = (sentence: string) => ['11', '22', '33', '44', '55'].filter((value) => sentence.includes(value));
			expect(values(japanese.get(path) ?? ''), path).toEqual(values(text));
		}
	});

	test('hold no text that no screen shows', () => {
		const folder = join(import.meta.dirname, '../../../src/app');
		const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => /\.(svelte|ts)$/.test(path) && !path.startsWith('i18n'));
		const source = files.map((path) => readFileSync(join(folder, path), 'utf8')).join('\n');
		const unused = [...english.keys()].filter((path) => {
			const parts = path.split('.');
			// A text is reached by its own name, or by its parent's with a key known only at run time.
			return (
				!new RegExp(`\\.${parts.at(-1)}\\b`).test(source) &&
				!new RegExp(`\\.${parts.at(-2)}(\\[|\\))`).test(source) &&
				!new RegExp(`\\.${parts.at(-3)}\\[`).test(source)
			);
		});
		expect(unused).toEqual([]);
	});
});

describe('language choice', () => {
	test('the stored one wins, then the browser’s order, then English', () => {
		expect(chooseLanguage('ja', ['en-US'])).toBe('ja');
		expect(chooseLanguage('xx', ['fr', 'JA-jp', 'en'])).toBe('ja');
		expect(chooseLanguage(null, ['fr-FR', 'de'])).toBe('en');
		expect(chooseLanguage(null, [])).toBe('en');
	});
});

describe('problems', () => {
	test('every finding of the recipe schema has a Japanese text', () => {
		const bad = {
			version: 1,
			name: 'a/b',
			odd: 1,
			passes: { copier: { rank: 0, alpha: 'x', iterations: 1.5, learningRate: 9, blocks: [], loss: 'no', timesteps: { min: 5, max: 5 } } }
		};
		const found = [parseRecipe(bad), parseRecipe(3), parseRecipe({ version: 2 })].flatMap((parsed) => parsed.problems);
		expect(found.length).toBeGreaterThan(8);
		expect(found.filter((problem) => !(problem.code in problemsJa)).map((problem) => problem.code)).toEqual([]);
	});

	test('a code has its text once the table has come; an unknown one falls back to its own message, whatever it is called', async () => {
		const problem = { level: 'error' as const, where: '', values: { name: 'a.png' }, message: 'What happened.' };
		expect(problemText({ ...problem, code: 'picture.empty' }, 'ja')).toBe('What happened.');
		await Promise.all([problemTables.load('ja'), problemTables.load('en')]);
		expect(problemText({ ...problem, code: 'picture.empty' }, 'ja')).toMatch(/^a\.png は/);
		expect(problemText({ ...problem, code: 'never.heard' }, 'ja')).toBe('What happened.');
		expect(problemText({ ...problem, code: 'constructor' }, 'en')).toBe('What happened.');
	});
});
