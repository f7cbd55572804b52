/** Files as Blobs, also beyond 2^32 bytes: a sparse file takes no room on the disk. */
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openFileAsBlob } from '../../../src/formats/node';
import { blobSource } from '../../../src/formats/source';

let folder: string;
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), 'utsushi-blob-'));
});
afterAll(() => rm(folder, { recursive: true }));

it('reads any range of a file of 5 GiB', async () => {
	const path = join(folder, 'sparse');
	const size = 5 * 2 ** 30;
	const far = 2 ** 32 + 12_345;
	const handle = await open(path, 'w');
	await handle.truncate(size);
	await handle.write(Uint8Array.of(1, 2, 3), 0, 3, far);
	await handle.close();
	const blob = await openFileAsBlob(path);
	expect(blob.size).toBe(size);
	expect(Array.from(await blobSource(blob).read(far - 1, 5))).toEqual([0, 1, 2, 3, 0]);
	expect(blob.slice(-10).size).toBe(10);
	expect(blob.slice(size - 4, size + 4).size).toBe(4);
	expect(blob.slice(9, 3).size).toBe(0);
});

it('is a Blob in every way that is used', async () => {
	const path = join(folder, 'text');
	await writeFile(path, 'うつし utsushi');
	const blob = await openFileAsBlob(path);
	expect(blob).toBeInstanceOf(Blob);
	expect(await blob.text()).toBe('うつし utsushi');
	expect(await new Response(blob.stream()).text()).toBe('うつし utsushi');
	expect(await blob.slice(10, 17).text()).toBe('utsushi');
	expect(await blob.slice(10).slice(1, 3).text()).toBe('ts');
	expect(await new Response(blob.slice(3, 3).stream()).text()).toBe('');
	await writeFile(path, 'short');
	await expect(blob.text()).rejects.toThrow(/shorter/);
	await expect(openFileAsBlob(join(folder, 'nothing'))).rejects.toThrow(/ENOENT/);
});
