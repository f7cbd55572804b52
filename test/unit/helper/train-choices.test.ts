/** What the command line changes about a training, and what `--resume` finds. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findResumable, quoted, recipeChange, sweepField } from '../../../src/helper/trainChoices';

let folder: string;
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-choices-'));
	await writeFile(join(folder, 'other.safetensors'), 'x');
	await mkdir(join(folder, 'night/.utsushi/first/snapshots'), { recursive: true });
	await mkdir(join(folder, 'night/.utsushi/second/snapshots'), { recursive: true });
	await writeFile(join(folder, 'night/.utsushi/second/snapshots/a.snapshot'), 'x');
	await writeFile(join(folder, 'night/mouth.safetensors'), 'x');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('changes the model and the start of a recipe, and nothing else', async () => {
	const other = join(folder, 'other.safetensors');
	const change = await recipeChange({ model: other, start: other });
	const before = { name: 'n', model: { name: 'mini', family: 'sd15', bundled: 'mini', sha256: 'of the other' } };
	expect(change(before)).toEqual({
		name: 'n',
		model: { name: 'other', family: 'sd15', path: other },
		resumeFrom: { name: 'other.safetensors', path: other }
	});
	expect((await recipeChange({}))(before)).toEqual(before);
	// What is no recipe is the schema's to refuse.
	expect(change('text')).toBe('text');
	await expect(recipeChange({ model: join(folder, 'none.safetensors') })).rejects.toMatchObject({ problems: [{ code: 'path.missing', where: '--model' }] });
});

it('knows short names of fields', () => {
	expect(sweepField('lr')).toBe('passes.difference.learningRate');
	expect(sweepField('dim')).toBe('passes.difference.rank');
	expect(sweepField('passes.copier.rank')).toBe('passes.copier.rank');
	expect(sweepField('constructor')).toBe('constructor');
});

it('finds what was interrupted, by its folder, a snapshot or a file it made', async () => {
	const night = join(folder, 'night');
	expect((await findResumable(night)).nights).toHaveLength(2);
	const bySnapshot = await findResumable(join(night, '.utsushi/second/snapshots/a.snapshot'));
	expect(bySnapshot).toMatchObject({ out: night, nights: [{ snapshots: join(night, '.utsushi/second/snapshots') }] });
	expect(bySnapshot.nights).toHaveLength(1);
	expect(await findResumable(join(night, 'mouth.safetensors'))).toMatchObject({ out: night });
	await expect(findResumable(join(folder, 'none'))).rejects.toMatchObject({ problems: [{ code: 'path.missing' }] });
	await expect(findResumable(join(folder, 'other.safetensors'))).rejects.toMatchObject({
		problems: [{ code: 'path.nothingToResume', message: expect.stringContaining('RECIPE.json --resume') as string }]
	});
});

it('quotes paths for a command line', () => {
	expect(quoted('out/a-1')).toBe('out/a-1');
	expect(quoted('my out')).toBe('"my out"');
});
