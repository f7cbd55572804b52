/**
 * Makes the built app a page that works offline: writes the content security policy into index.html and builds the service worker
 * (`src/app/sw.ts`) last, when every file of the app lies in the output folder and can be listed with its SHA-256.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { build, type Plugin } from 'vite';
import { metaPolicy } from '../../src/service/headers.ts';

const WORKER = 'src/app/sw.ts';

/** Every file under `folder`, as `[path relative to the folder, SHA-256 in base64]`, in a stable order. */
export async function listFiles(folder: string): Promise<[string, string][]> {
	const entries = await readdir(folder, { recursive: true, withFileTypes: true });
	const paths = entries.filter((entry) => entry.isFile()).map((entry) => resolve(entry.parentPath, entry.name));
	const files = await Promise.all(
		paths.map(async (path): Promise<[string, string]> => {
			const hash = createHash('sha256').update(await readFile(path));
			return [path.slice(resolve(folder).length + 1).replaceAll('\\', '/'), hash.digest('base64')];
		})
	);
	return files.filter(([path]) => path !== 'sw.js').sort(([a], [b]) => (a < b ? -1 : 1));
}

export function offline(): Plugin {
	let folder = '';
	let failed = false;
	return {
		name: 'utsushi-offline',
		apply: (_config, env) => env.command === 'build' && !env.isSsrBuild,
		configResolved(config) {
			folder = resolve(config.root, config.build.outDir);
		},
		transformIndexHtml: () => [{ tag: 'meta', attrs: { 'http-equiv': 'Content-Security-Policy', content: metaPolicy() }, injectTo: 'head-prepend' }],
		buildEnd(error) {
			failed = error !== undefined;
		},
		closeBundle: {
			order: 'post',
			sequential: true,
			async handler() {
				if (failed) return;
				const files = await listFiles(folder);
				await build({
					configFile: false,
					publicDir: false,
					logLevel: 'warn',
					define: { __FILES__: JSON.stringify(files) },
					build: {
						outDir: folder,
						emptyOutDir: false,
						target: 'es2022',
						rolldownOptions: { input: WORKER, output: { format: 'iife', entryFileNames: 'sw.js' } }
					}
				});
			}
		}
	};
}
