/** Where this copy of Utsushi keeps its parts. `root` is the package's folder; the app is built into `dist/app`, which also has the bundled files. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Installation {
	readonly version: string;
	/** Folder of the package. */
	readonly root: string;
	/** The built app. */
	readonly app: string;
	/** A file that comes with Utsushi, e.g. `models/mini.safetensors`. */
	bundled(path: string): string;
}

function versionOf(root: string): string {
	const manifest: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
	return typeof manifest === 'object' && manifest !== null && 'version' in manifest && typeof manifest.version === 'string' ? manifest.version : 'unknown';
}

export function installationAt(root: string): Installation {
	const app = join(root, 'dist', 'app');
	return {
		version: versionOf(root),
		root,
		app,
		bundled(path) {
			const built = join(app, path);
			return existsSync(built) ? built : join(root, 'public', path);
		}
	};
}
