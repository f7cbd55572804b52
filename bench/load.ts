/**
 * How fast a checkpoint gets onto the GPU, beside a plain sequential read of the same file, and what the process needs for it. One JSON line.
 *
 *   npx vite build --ssr bench/load.ts --outDir dist/bench
 *   node dist/bench/load.js FILE [--storage f16|f32] [--base f16|int8] [--rounds 2] [--host]
 *
 * Both are measured in turns on a file that was read once before, so that both find it in the system's cache (or neither, where it does not fit). `ratio` is the loader's rate by the plain rate, both
 * by the bytes they read, on the clock; `processorSeconds` are those of all threads. `--host` leaves the GPU out: a device that takes everything and does nothing, so that only reading and converting is timed. `memory` is the most JavaScript held at once (heap and array buffers) beyond what it held before; `rss` counts the driver's buffers too, with a software adapter all of them.
 */
import { open } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { openCheckpoint } from '../src/diffusion/checkpoint';
import { UNET_PREFIX } from '../src/diffusion/recognise';
import { unetConstants } from '../src/diffusion/unet-layout';
import { loadUnetWeights } from '../src/diffusion/weights';
import { blobSource } from '../src/formats/source';
import { openFileAsBlob } from '../src/formats/node';
import { openGpu } from '../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../src/gpu/node';
import { WeightStore } from '../src/kernels/weights';
import { countingGpu } from './full/counting';

const { values: args, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		storage: { type: 'string', default: 'f16' },
		base: { type: 'string', default: 'f16' },
		rounds: { type: 'string', default: '2' },
		host: { type: 'boolean', default: false }
	}
});
const [path] = positionals;
if (path === undefined) throw new Error('Name a checkpoint.');

const PIECE = 16 << 20;

async function plainRead(file: string): Promise<{ bytes: number; seconds: number }> {
	const handle = await open(file, 'r');
	const piece = new Uint8Array(PIECE);
	const started = performance.now();
	let bytes = 0;
	try {
		for (;;) {
			const { bytesRead } = await handle.read(piece, 0, PIECE, bytes);
			if (bytesRead === 0) break;
			bytes += bytesRead;
		}
	} finally {
		await handle.close();
	}
	return { bytes, seconds: (performance.now() - started) / 1000 };
}

/** Processor seconds of this process so far, all threads: what a busy machine does not change much. */
const processor = (): number => {
	const { user, system } = process.cpuUsage();
	return (user + system) / 1e6;
};

const used = (): { memory: number; rss: number } => {
	const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
	return { memory: heapUsed + arrayBuffers, rss };
};

const gpu = args.host ? countingGpu().gpu : await openGpu(await dawn(FAST_FLAGS));
// As the app and the command line read it.
const checkpoint = await openCheckpoint(blobSource(await openFileAsBlob(path)));
const names = unetConstants(checkpoint.config.unet).map(({ name }) => UNET_PREFIX + name);
const unetBytes = names.reduce((sum, name) => sum + (checkpoint.file.tensors.get(name)?.length ?? 0), 0);

async function load(): Promise<{ seconds: number; memory: number; rss: number; gpuBytes: number }> {
	globalThis.gc?.();
	const before = used();
	let most = before;
	const look = (): void => {
		const now = used();
		most = { memory: Math.max(most.memory, now.memory), rss: Math.max(most.rss, now.rss) };
	};
	const store = new WeightStore(gpu, args.storage === 'f32' ? 'f32' : 'f16', args.base === 'int8' ? 'int8' : 'f16');
	const started = performance.now();
	await loadUnetWeights(checkpoint, store, look);
	await gpu.device.queue.onSubmittedWorkDone();
	const seconds = (performance.now() - started) / 1000;
	const gpuBytes = store.bytes;
	store.destroy();
	return { seconds, memory: most.memory - before.memory, rss: most.rss - before.rss, gpuBytes };
}

await plainRead(path);
const rounds = [];
for (let i = 0; i < Number(args.rounds); i++) {
	const begun = processor();
	const plain = await plainRead(path);
	const between = processor();
	const loaded = await load();
	const processorSeconds = { plain: between - begun, load: processor() - between };
	const plainRate = plain.bytes / plain.seconds;
	const rate = unetBytes / loaded.seconds;
	rounds.push({
		plainSeconds: plain.seconds,
		plainGBs: plainRate / 1e9,
		loadSeconds: loaded.seconds,
		loadGBs: rate / 1e9,
		ratio: rate / plainRate,
		processorSeconds,
		...loaded
	});
}
process.stdout.write(`${JSON.stringify({ adapter: gpu.adapter.description, storage: args.storage, base: args.base, unetBytes, rounds })}\n`);
// Dawn keeps the process alive while its instance exists.
process.exit(0);
