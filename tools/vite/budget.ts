/**
 * The weight of the first load: the page's own script with everything it imports statically, and the worker it starts, gzipped, must
 * stay under 200 KB. What comes with a model (the conditioning worker, ONNX Runtime, the tokenizer's merges) does not count.
 * Also counts the ONNX Runtime binaries: one variant is enough, a second one would double what the offline copy downloads.
 */
import { gzipSync } from 'node:zlib';
import type { Plugin, Rolldown } from 'vite';

const LIMIT_BYTES = 200_000;
const WORKER = /(^|\/)worker-[^/]*\.js$/;
const RUNTIME = /(^|\/)ort-wasm[^/]*\.wasm$/;

/** The chunk and all chunks it needs before it can run. */
export function staticClosure(entry: string, importsOf: (file: string) => readonly string[]): Set<string> {
	const seen = new Set<string>();
	const open = [entry];
	for (let file = open.pop(); file !== undefined; file = open.pop()) {
		if (seen.has(file)) continue;
		seen.add(file);
		open.push(...importsOf(file));
	}
	return seen;
}

export function budget(): Plugin {
	return {
		name: 'utsushi-budget',
		apply: (_config, env) => env.command === 'build' && !env.isSsrBuild,
		writeBundle(_options, bundle) {
			const chunks = new Map<string, Rolldown.OutputChunk>();
			const runtimes: string[] = [];
			let bytes = 0;
			for (const [file, item] of Object.entries(bundle)) {
				if (item.type === 'chunk') chunks.set(file, item);
				else if (RUNTIME.test(file)) runtimes.push(file);
				// Vite hands the entry of a worker over as a finished asset.
				else if (WORKER.test(file)) bytes += gzipSync(item.source).length;
			}
			const entry = [...chunks.values()].find((chunk) => chunk.isEntry);
			if (entry === undefined) return;
			for (const file of staticClosure(entry.fileName, (name) => chunks.get(name)?.imports ?? [])) bytes += gzipSync(chunks.get(file)?.code ?? '').length;
			const size = `${(bytes / 1000).toFixed(1)} KB of gzipped JavaScript`;
			if (bytes >= LIMIT_BYTES)
				this.error(`The first load needs ${size}; the budget is ${LIMIT_BYTES / 1000} KB. Import what is not needed at once with import().`);
			if (runtimes.length > 1)
				this.error(`The build holds ${runtimes.length} variants of ONNX Runtime (${runtimes.join(', ')}); import 'onnxruntime-web/wasm' everywhere.`);
			console.log(`first load: ${size} (budget ${LIMIT_BYTES / 1000} KB)`);
		}
	};
}
