import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

export default defineConfig({
	plugins: [svelte()],
	test: {
		projects: [
			{ extends: true, test: { name: 'unit', include: ['test/unit/**/*.test.ts'], environment: 'node' } },
			{ extends: true, test: { name: 'gpu', include: ['test/gpu/**/*.test.ts'], environment: 'node', testTimeout: 300_000, fileParallelism: false } },
			{ extends: true, test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], environment: 'node', testTimeout: 600_000, fileParallelism: false } }
		]
	}
});
