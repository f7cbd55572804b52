/** The project's own files, as git would see them: everything but dependencies, build output and caches. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../../..');

const SKIPPED = new Set(['.git', '.gpu', '.cache', 'node_modules', 'dist', 'build']);

/** Paths relative to the project, with forward slashes. */
export function projectFiles(folder = ROOT): string[] {
	return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
		if (SKIPPED.has(entry.name)) return [];
		const path = join(folder, entry.name);
		if (entry.isDirectory()) return projectFiles(path);
		return [relative(ROOT, path).replaceAll('\\', '/')];
	});
}

export function read(file: string): string {
	return readFileSync(join(ROOT, file), 'utf8');
}
