#!/usr/bin/env node
// Starts the built command line, or says how to build it.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const built = new URL('../dist/cli/cli.js', import.meta.url);

if (!existsSync(built)) {
	console.error(`Utsushi is not built yet. Run “npm ci && npm run build” in ${root} first.`);
	process.exit(1);
}
const { main } = await import(built.href);
const code = await main(process.argv.slice(2), root);
// Dawn keeps the process alive; leave once everything is written.
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((resolve) => stream.write('', resolve))));
process.exit(code);
