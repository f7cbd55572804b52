/** Shader texts in the built app travel without comments and indentation, which are half their weight. WGSL has no strings, so `//` always starts a comment. */
import { readFile } from 'node:fs/promises';
import type { Plugin } from 'vite';

const SHADER = /\.wesl\?raw$/;

export function compact(text: string): string {
	return text
		.split('\n')
		.map((line) => line.replace(/\/\/.*$/, '').trim())
		.filter((line) => line !== '')
		.join('\n');
}

export function shaders(): Plugin {
	return {
		name: 'utsushi-shaders',
		enforce: 'pre',
		apply: 'build',
		load: {
			filter: { id: SHADER },
			async handler(id) {
				return `export default ${JSON.stringify(compact(await readFile(id.replace(/\?raw$/, ''), 'utf8')))}`;
			}
		}
	};
}
