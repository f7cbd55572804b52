/** The library's twin on a disk: a folder into which results are written, whole or not at all, and never over something older. */
import { access, constants, link, mkdir, open, rename, rm, unlink } from 'node:fs/promises';
import { basename, join, parse } from 'node:path';
import { asStorageError, StorageError } from './errors';

export interface Folder {
	readonly path: string;
	/** The name it got: `name`, or `name-2`, `name-3`… when that exists. */
	write(name: string, bytes: Uint8Array): Promise<string>;
	/** The same for what is made piece by piece: when `make` fails, nothing is left. */
	stream(name: string, make: (sink: (bytes: Uint8Array) => Promise<void>) => Promise<void>): Promise<string>;
}

/** `a.safetensors`, 2 → `a-2.safetensors`. */
function numbered(name: string, n: number): string {
	if (n === 1) return name;
	const { name: stem, ext } = parse(name);
	return `${stem}-${n}${ext}`;
}

function isTaken(error: unknown): boolean {
	return error instanceof Error && 'code' in error && error.code === 'EEXIST';
}

function hasNoLinks(error: unknown): boolean {
	return error instanceof Error && 'code' in error && (error.code === 'EPERM' || error.code === 'ENOTSUP' || error.code === 'ENOSYS');
}

/** Gives the finished file its name without ever replacing one: a hard link fails where a rename would overwrite. */
async function claim(from: string, to: string): Promise<void> {
	try {
		await link(from, to);
		await unlink(from);
	} catch (error) {
		if (!hasNoLinks(error)) throw error;
		// File systems without hard links (exFAT): take the name first, then move over our own empty file.
		await (await open(to, 'wx')).close();
		await rename(from, to);
	}
}

/** Makes the folder when needed; one that cannot be written to is refused now, not when the first result is there. Errors: `StorageError`. */
export async function openFolder(path: string): Promise<Folder> {
	try {
		await mkdir(path, { recursive: true });
		await access(path, constants.W_OK);
	} catch (error) {
		throw asStorageError(error, path);
	}
	const stream: Folder['stream'] = async (name, make) => {
		if (name === '' || name !== basename(name) || name.startsWith('.')) throw new StorageError('storage.failed', name, `“${name}” is not a plain file name.`);
		const partial = join(path, `.${name}.${process.pid}.part`);
		let bytes = 0;
		let writing = false;
		try {
			const file = await open(partial, 'w').catch((error: unknown) => {
				throw asStorageError(error, name);
			});
			try {
				await make(async (piece) => {
					bytes += piece.byteLength;
					writing = true;
					await file.writeFile(piece);
					writing = false;
				});
				writing = true;
				await file.sync();
			} finally {
				await file.close();
			}
			for (let n = 1; ; n++) {
				try {
					await claim(partial, join(path, numbered(name, n)));
					return numbered(name, n);
				} catch (error) {
					if (!isTaken(error)) throw error;
				}
			}
		} catch (error) {
			await rm(partial, { force: true });
			// What the maker refuses is its own error, not one of the disk.
			throw writing ? asStorageError(error, name, bytes) : error;
		}
	};
	return { path, stream, write: (name, bytes) => stream(name, (sink) => sink(bytes)) };
}
