/** `utsushi recipe` on files: what it prints, what it writes, what it refuses. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { installationAt } from '../../../src/helper/installation';
import { InputError } from '../../../src/helper/inputError';
import { recipe } from '../../../src/helper/recipe';
import type { RecipeCommand } from '../../../src/helper/recipe-actions';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { decodeRecipeLink } from '../../../src/recipe/link';
import { parseRecipe } from '../../../src/recipe/schema';

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'utsushi-recipe-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

const PRESET = { mode: 'ADDifT', model: 'xl.safetensors', network_rank: '8', network_alpha: '2', train_learning_rate: '2e-4', later: 1 };

async function given(name: string, content: unknown): Promise<string> {
	const path = join(folder, name);
	await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
	return path;
}

async function run(command: Partial<RecipeCommand> & Pick<RecipeCommand, 'action' | 'file'>) {
	let [out, err] = ['', ''];
	const streams = { out: (text: string) => void (out += text), err: (text: string) => void (err += text), terminal: false, columns: () => 80 };
	const context = { streams, installation: installationAt(resolve('.')), onInterrupt: () => () => undefined };
	const exit = await recipe({ name: 'recipe', json: false, ...command }, context);
	return { exit, out, err };
}

describe('utsushi recipe', () => {
	it('imports a preset, names what has no counterpart, and exports it again unchanged', async () => {
		const imported = join(folder, 'imported.json');
		const first = await run({ action: 'import', file: await given('preset.json', PRESET), out: imported });
		expect(first).toMatchObject({ exit: 0, out: '' });
		expect(first.err).toMatch(/later/);
		const parsed = parseRecipe(JSON.parse(await readFile(imported, 'utf8')));
		expect(parsed.ok && parsed.recipe).toMatchObject({
			mode: 'addift',
			model: { family: 'sdxl' },
			passes: { difference: { rank: 8, alpha: 2, learningRate: 2e-4 } }
		});
		const second = await run({ action: 'export', file: imported });
		expect(JSON.parse(second.out)).toEqual(PRESET);
		expect(second.out, 'indented by four').toMatch(/\n {4}"mode"/);
	});

	it('says which fields a preset cannot carry', async () => {
		const file = await given('masked.json', { ...defaultRecipe('sd15', 'addift'), masking: { alpha: true, difference: false, renormalise: false } });
		expect((await run({ action: 'export', file })).err).toMatch(/masking\.alpha/);
	});

	it('makes links that open', async () => {
		const file = await given('recipe.json', { version: 1, name: '口', images: { original: { name: 'x.png', path: '/somewhere/x.png' } } });
		const { out } = await run({ action: 'link', file });
		const back = decodeRecipeLink(out.trim());
		expect(back.ok && back.recipe.name).toBe('口');
		expect(out).not.toContain('somewhere');
	});

	it('checks recipes with the files they name', async () => {
		const fine = await run({ action: 'check', file: await given('fine.json', { version: 1 }) });
		expect(fine).toMatchObject({ exit: 0, out: 'fine.json: fine\n' });
		const bad = await given('bad.json', { version: 1, passes: { difference: { rank: 'x' } } });
		expect(await run({ action: 'check', file: bad })).toMatchObject({ exit: 2, out: expect.stringMatching(/passes\.difference\.rank/) as string });
		const missing = await run({
			action: 'check',
			file: await given('missing.json', { version: 1, images: { target: { name: 'b.png', path: 'b.png' } } }),
			json: true
		});
		expect(JSON.parse(missing.out)).toMatchObject({ ok: false, problems: [{ code: 'path.missing', where: 'images.target' }] });
	});

	it('never replaces a file, and says what is no JSON or no preset', async () => {
		const preset = await given('again.json', PRESET);
		const refused = async (command: Parameters<typeof run>[0]): Promise<string | undefined> =>
			run(command).then(
				() => undefined,
				(error: unknown) => (error instanceof InputError ? error.problems[0]?.code : String(error))
			);
		expect(await refused({ action: 'import', file: preset, out: preset })).toBe('path.exists');
		expect(await refused({ action: 'link', file: await given('broken.json', '{') })).toBe('recipe.notJson');
		expect(await refused({ action: 'import', file: await given('plain.json', { version: 1 }) })).toBe('traintrain.notPreset');
		expect(await refused({ action: 'link', file: join(folder, 'nowhere.json') })).toBe('path.missing');
	});
});
