/** Imports point only downwards (docs/architecture.md, "Rooms"). */
import { join, posix } from 'node:path/posix';
import { describe, expect, test } from 'vitest';
import { projectFiles, read } from './files';
import { complaint, importsOf, ROOMS } from './rooms';

const sources = projectFiles().filter((file) => file.startsWith('src/') && /\.(ts|svelte)$/.test(file));
const known = new Set(projectFiles());

/** The file of ours a specifier means; undefined for packages. */
function resolveOurs(file: string, specifier: string): string | undefined {
	const bare = specifier.replace(/[?#].*$/, '');
	if (bare.startsWith('/')) return bare.slice(1);
	if (!bare.startsWith('.')) return undefined;
	const path = join(posix.dirname(file), bare);
	return [path, `${path}.ts`, `${path}/index.ts`, `${path}.svelte.ts`].find((name) => known.has(name)) ?? path;
}

describe('imports', () => {
	test('point only at rooms below', () => {
		const complaints = sources.flatMap((file) =>
			importsOf(read(file)).flatMap((item) => {
				const target = resolveOurs(file, item.specifier);
				return complaint(file, item, target?.startsWith('src/') ? target : undefined) ?? [];
			})
		);
		expect(complaints).toEqual([]);
	});

	test('name files that exist', () => {
		const missing = sources.flatMap((file) =>
			importsOf(read(file)).flatMap(({ specifier }) => {
				const target = resolveOurs(file, specifier);
				return target === undefined || known.has(target) || target.includes('*') || known.has(`public/${target}`) ? [] : `${file}: ${specifier}`;
			})
		);
		expect(missing).toEqual([]);
	});

	test('the table has no circle', () => {
		const reach = (room: string, path: string[]): void => {
			expect(path).not.toContain(room);
			for (const next of ROOMS[room]?.imports ?? []) reach(next, [...path, room]);
		};
		for (const room of Object.keys(ROOMS)) reach(room, []);
	});

	test.each([
		['src/app/x.ts', "import { a } from '../gpu/gpu'", 'src/gpu/gpu.ts'],
		['src/app/x.ts', "import { open } from '../storage/db'", 'src/storage/db.ts'],
		['src/graph/x.ts', "import type { Recipe } from '../recipe/recipe'", 'src/recipe/recipe.ts'],
		['src/jobs/x.ts', "export * from '../service/protocol'", 'src/service/protocol.ts'],
		['src/service/x.ts', "new Worker(new URL('../app/worker.ts', import.meta.url))", 'src/app/worker.ts'],
		['src/lora/x.ts', "const a = await import('../training/pass')", 'src/training/pass.ts'],
		['src/formats/x.ts', "import {\n\treadFile,\n\tstat\n} from 'node:fs/promises'", undefined]
	])('%s may not: %s', (file, source, target) => {
		const [first] = importsOf(source);
		expect(first).toBeDefined();
		expect(first && complaint(file, first, target)).toContain(file);
	});

	test.each([
		['src/app/x.ts', "import type { Row } from '../storage/db'", 'src/storage/db.ts'],
		['src/app/x.ts', "const { open } = await import('../storage/db')", 'src/storage/db.ts'],
		['src/formats/node.ts', "import { open } from 'node:fs/promises'", undefined],
		['src/kernels/x.ts', "import { a } from '../gpu/gpu'", 'src/gpu/gpu.ts']
	])('%s may: %s', (file, source, target) => {
		const [first] = importsOf(source);
		expect(first && complaint(file, first, target)).toBeUndefined();
	});
});
