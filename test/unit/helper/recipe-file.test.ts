import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodePng } from '../../../src/formats/png';
import { InputError } from '../../../src/helper/inputError';
import { installationAt } from '../../../src/helper/installation';
import { loadRecipe } from '../../../src/helper/recipeFile';
import { crc32 } from '../../support/png';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const installation = installationAt(root);

describe('a recipe on disk', () => {
	let folder: string;
	beforeAll(async () => {
		folder = await mkdtemp(join(tmpdir(), 'utsushi-recipe-'));
		await mkdir(join(folder, 'pictures'));
		await copyFile(join(root, 'public/samples/front/closed.png'), join(folder, 'pictures/closed.png'));
		await copyFile(join(root, 'public/samples/front/a.png'), join(folder, 'pictures/a.png'));
		await writeFile(join(folder, 'empty.png'), '');
		await writeFile(join(folder, 'not.png'), 'this is text, not a picture');
		await writeFile(join(folder, 'huge.png'), hugePng());
	});
	afterAll(() => rm(folder, { recursive: true, force: true }));

	/** A PNG whose header claims 12,000 × 12,000 pixels. */
	function hugePng(): Uint8Array {
		const png = encodePng({ width: 1, height: 1, data: new Uint8ClampedArray([0, 0, 0, 255]) });
		const view = new DataView(png.buffer, png.byteOffset);
		view.setUint32(16, 12_000);
		view.setUint32(20, 12_000);
		view.setUint32(29, crc32(png.subarray(12, 29)));
		return png;
	}
	const base = {
		version: 1,
		model: { name: 'mini', family: 'mini', bundled: 'mini' },
		images: { original: { name: 'closed', path: 'pictures/closed.png' }, target: { name: 'a', path: 'pictures/a.png' } }
	};
	const load = async (recipe: unknown) => {
		const path = join(folder, 'recipe.json');
		await writeFile(path, typeof recipe === 'string' ? recipe : JSON.stringify(recipe));
		return loadRecipe(path, installation);
	};
	const refused = async (recipe: unknown): Promise<string[]> => {
		const error: unknown = await load(recipe).catch((thrown: unknown) => thrown);
		expect(error).toBeInstanceOf(InputError);
		return error instanceof InputError ? error.problems.map(({ level, code, where }) => `${level} ${code} ${where}`) : [];
	};

	it('finds pictures beside itself and bundled files in the installation', async () => {
		const loaded = await load(base);
		expect(loaded.original).toMatchObject({ width: 128, height: 128 });
		expect(loaded.modelFile).toMatch(/models[\\/]mini\.safetensors$/);
		expect(loaded.warnings).toEqual([]);
		const bundled = await load({ ...base, images: { original: { name: 'c', bundled: 'front/closed.png' }, target: { name: 'a', bundled: 'front/a.png' } } });
		expect(bundled.target?.data).toEqual(loaded.target?.data);
	});

	it('names everything that is wrong with files at once', async () => {
		const images = { original: { name: 'x', path: 'gone.png' }, target: { name: 'y', path: 'empty.png' } };
		expect(await refused({ ...base, model: { name: 'm', family: 'mini', path: 'gone.safetensors' }, images })).toEqual([
			'error path.missing model',
			'error path.missing images.original',
			'error file.empty images.target'
		]);
	});

	it.each([
		['not.png', 'file.not-png'],
		['huge.png', 'file.too-large'],
		['pictures', 'path.folder']
	])('refuses %s as a picture', async (path, code) => {
		expect(await refused({ ...base, images: { ...base.images, target: { name: 't', path } } })).toEqual([`error ${code} images.target`]);
	});

	it('refuses bad values by field', async () => {
		expect(await refused({ ...base, passes: { copier: { rank: 0 }, difference: { learningRate: 'abc' } } })).toEqual([
			'error recipe.tooSmall passes.copier.rank',
			'error recipe.notNumber passes.difference.learningRate'
		]);
	});

	it('only warns of an alpha above the rank', async () => {
		const { warnings } = await load({ ...base, passes: { difference: { rank: 4, alpha: 8 } } });
		expect(warnings).toMatchObject([{ level: 'warning', code: 'recipe.alphaAboveRank', where: 'passes.difference.alpha' }]);
	});

	it('notices another picture under the same name', async () => {
		const original = { ...base.images.original, sha256: '0'.repeat(64) };
		expect((await load({ ...base, images: { ...base.images, original } })).warnings).toMatchObject([{ code: 'images.changed', where: 'images.original' }]);
	});

	it('refuses what is no recipe', async () => {
		expect(await refused('{ "version": 1,')).toEqual(['error recipe.notJson recipe']);
		expect(await refused([])).toEqual(['error recipe.notObject ']);
		await expect(loadRecipe(join(folder, 'none.json'), installation)).rejects.toMatchObject({ problems: [{ code: 'path.missing', where: 'recipe' }] });
	});
});
