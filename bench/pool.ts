/**
 * Two trainers on threads of one process, both on this computer's adapter, as a helper has them on a computer with two GPUs: one training each, alone and side by side.
 *
 *   npm run build:cli && npx vite build --ssr bench/pool.ts --outDir dist/bench && node dist/bench/pool.js [--root FOLDER] [--steps N]
 *
 * Prints one line of JSON: for how long both trained their steps at the same time, and whether the results have the bits of a run that was alone.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { poolOf } from '../src/helper/pool';
import { startThread, threadClient } from '../src/helper/threads';
import { PROTOCOL_VERSION } from '../src/service/protocol';
import { trainLittle } from './helper/little';

const { values } = parseArgs({ options: { root: { type: 'string' }, steps: { type: 'string' } } });
const root = resolve(values.root ?? resolve(import.meta.dirname, '../..'));
const steps = Number(values.steps ?? 60);
const folder = await mkdtemp(join(tmpdir(), 'utsushi-bench-'));

const trainer = (n: number) => threadClient(() => startThread({ root, config: folder, folder: join(folder, String(n)), adapter: null }));
const pool = poolOf([trainer(1), trainer(2)]);
const { adapter } = await pool.request({ type: 'hello', version: PROTOCOL_VERSION });
const model = await pool.request({ type: 'openModel', source: { kind: 'bundled', id: 'mini', url: '' } });

/** When each run trained its steps, milliseconds. */
const spans = new Map<string, { first: number; last: number }>();
const train = (run: string, count = steps): Promise<string> =>
	trainLittle(pool, run, model, { steps: count }, ({ event, time }) => {
		if (event.type !== 'progress') return;
		const span = spans.get(run) ?? { first: time, last: time };
		spans.set(run, { first: span.first, last: time });
	});

// Both have the model and the kernels afterwards.
await Promise.all([train('first', 2), train('second', 2)]);
const began = Date.now();
const alone = await train('alone');
const aloneSeconds = (Date.now() - began) / 1e3;
const beganBoth = Date.now();
const both = await Promise.all([train('left'), train('right')]);
const bothSeconds = (Date.now() - beganBoth) / 1e3;
const [left, right] = [spans.get('left'), spans.get('right')];
const overlap = left && right ? Math.min(left.last, right.last) - Math.max(left.first, right.first) : 0;
console.log(
	JSON.stringify({
		adapter: adapter?.description,
		steps,
		aloneSeconds,
		bothSeconds,
		overlapMilliseconds: overlap,
		sameBits: both.every((bits) => bits === alone)
	})
);
pool.close();
await rm(folder, { recursive: true, force: true });
process.exit(0);
