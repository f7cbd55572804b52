/**
 * One configuration for everything: the app (`vite build`), the command line (`vite build --ssr src/helper/cli.ts`) and the tests (vitest).
 * Shaders and other text enter through Vite in all three, so the code is the same in a tab, in Node and in a test.
 */
import { availableParallelism } from 'node:os';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { budget } from './tools/vite/budget.ts';
import { offline } from './tools/vite/offline.ts';
import { shaders } from './tools/vite/shaders.ts';

const WORKERS = Math.max(2, availableParallelism() - 1);

export default defineConfig(({ isSsrBuild }) => ({
	// Relative, so that the built app may lie in any folder of a static host.
	base: './',
	plugins: [svelte({ configFile: false }), shaders(), budget(), offline()],
	publicDir: isSsrBuild ? false : 'public',
	worker: { format: 'es', plugins: () => [shaders()], rolldownOptions: { checks: { pluginTimings: false } } },
	build: {
		outDir: isSsrBuild ? 'dist/cli' : 'dist/app',
		target: isSsrBuild ? 'node20' : 'es2022',
		// The content security policy knows no inline scripts; files also keep the precache honest.
		assetsInlineLimit: 0,
		modulePreload: { polyfill: false },
		chunkSizeWarningLimit: 800,
		reportCompressedSize: false,
		rolldownOptions: { checks: { pluginTimings: false } }
	},
	test: {
		// Two at a time even on two cores: tests wait for browsers and for kernels to compile. More would only take the software adapter's threads from each other.
		projects: [
			{
				extends: true,
				test: { name: 'unit', include: ['test/unit/**/*.test.ts'], environment: 'node', testTimeout: 180_000, hookTimeout: 60_000, maxWorkers: WORKERS }
			},
			{
				extends: true,
				test: { name: 'gpu', include: ['test/gpu/**/*.test.ts'], environment: 'node', testTimeout: 300_000, hookTimeout: 60_000, maxWorkers: 2 }
			},
			{
				extends: true,
				test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], environment: 'node', testTimeout: 300_000, hookTimeout: 60_000, maxWorkers: 2 }
			}
		]
	}
}));
