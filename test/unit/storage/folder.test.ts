import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asStorageError } from '../../../src/storage/errors';
import { openFolder } from '../../../src/storage/node';

describe('a folder of results', () => {
	let parent: string;
	beforeEach(async () => {
		parent = await mkdtemp(join(tmpdir(), 'utsushi-folder-'));
	});
	afterEach(async () => {
		await chmod(parent, 0o700);
		await rm(parent, { recursive: true, force: true });
	});

	it('is made when it is missing and never overwrites', async () => {
		const folder = await openFolder(join(parent, 'a', 'b'));
		expect(await folder.write('x.safetensors', new Uint8Array([1]))).toBe('x.safetensors');
		expect(await folder.write('x.safetensors', new Uint8Array([2]))).toBe('x-2.safetensors');
		expect(await folder.write('x.safetensors', new Uint8Array([3]))).toBe('x-3.safetensors');
		expect([...(await readFile(join(folder.path, 'x.safetensors')))]).toEqual([1]);
		expect([...(await readFile(join(folder.path, 'x-3.safetensors')))]).toEqual([3]);
		expect((await readdir(folder.path)).sort()).toEqual(['x-2.safetensors', 'x-3.safetensors', 'x.safetensors']);
	});

	it.each(['../x', 'a/b', '.hidden', '', '..'])('refuses the name “%s”', async (name) => {
		await expect((await openFolder(parent)).write(name, new Uint8Array(1))).rejects.toMatchObject({ name: 'StorageError' });
		expect(await readdir(parent)).toEqual([]);
	});

	it('says so when the place is a file', async () => {
		await writeFile(join(parent, 'file'), '');
		await expect(openFolder(join(parent, 'file', 'sub'))).rejects.toMatchObject({ name: 'StorageError', where: join(parent, 'file', 'sub') });
	});
});

describe('storage errors', () => {
	it.each([
		[new DOMException('full', 'QuotaExceededError'), 'storage.quota'],
		[Object.assign(new Error('full'), { code: 'ENOSPC' }), 'storage.quota'],
		[Object.assign(new Error('no'), { code: 'EACCES' }), 'storage.unavailable'],
		[new DOMException('gone', 'NotFoundError'), 'storage.missing'],
		[new DOMException('new', 'VersionError'), 'storage.newer'],
		[new Error('odd'), 'storage.failed']
	])('%s is %s', (error, code) => {
		const problem = asStorageError(error, 'mouth.safetensors', 3 * 2 ** 20);
		expect(problem.code).toBe(code);
		expect(problem.cause).toBe(error);
	});

	it('counts the room that is missing', () => {
		const problem = asStorageError(new DOMException('full', 'QuotaExceededError'), 'mouth.safetensors', 3 * 2 ** 20);
		expect(problem.values).toEqual({ megabytes: 3 });
		expect(problem.message).toContain('3 MB');
	});
});
