/**
 * How long the VAE takes, on the GPU and on the CPU, how far apart the two are, and what the GPU's share of memory is.
 *
 *   npx vite build --ssr bench/vae.ts --outDir dist/bench
 *   node dist/bench/vae.js MODEL.safetensors [--size 512] [--runs 3] [--on gpu,cpu] [--only encode,decode] [--strip 64] [--keep Infinity] [--plan 512,768,1024]
 *
 * The first run compiles and reads the weights, and is told apart. --plan tells only what the GPU would be asked for, at these sizes. --strip: MiB of a strip's operands. --keep: MiB of a plane that is kept; larger ones are computed whenever they are read.
 * The last line is JSON: seconds of wall clock, and of this process' CPU (which counts software adapters too).
 */
import { parseArgs } from 'node:util';
import { openCheckpoint } from '../src/diffusion/checkpoint';
import { nvNormal, channelsLast } from '../src/diffusion/noise';
import { openVae } from '../src/diffusion/vae';
import { openGpuVae, vaeBytes } from '../src/diffusion/vae-gpu';
import type { Vae } from '../src/diffusion/vae-network';
import { openFileAsBlob } from '../src/formats/node';
import { blobSource } from '../src/formats/source';
import { openGpu } from '../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../src/gpu/node';

const { values: args, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		size: { type: 'string', default: '512' },
		runs: { type: 'string', default: '3' },
		on: { type: 'string', default: 'gpu,cpu' },
		only: { type: 'string', default: 'encode,decode' },
		strip: { type: 'string', default: '64' },
		keep: { type: 'string', default: 'Infinity' },
		plan: { type: 'string' }
	}
});
const [path] = positionals;
if (!path) throw new Error('Which model?');
const [size, runs, strip] = [args.size, args.runs, args.strip].map(Number) as [number, number, number];
const MIB = 2 ** 20;
const limits = { strip: strip * MIB, scores: strip * MIB, keep: Number(args.keep) * MIB };
const checkpoint = await openCheckpoint(blobSource(await openFileAsBlob(path)));
const gpu = await openGpu(await dawn(FAST_FLAGS), { unclamped: true });
console.log(`${gpu.adapter.description || gpu.adapter.device || gpu.adapter.vendor}, ${checkpoint.config.family}, ${size}²`);

const directions = args.only.split(',').filter((name) => name === 'encode' || name === 'decode');
const sides = (args.plan ?? args.size).split(',').map(Number);
const memory: Record<string, Record<string, number>> = {};
for (const side of sides) {
	for (const direction of directions) {
		const began = performance.now();
		const { arenas, otherBytes } = await vaeBytes(gpu, checkpoint, direction, { height: side, width: side }, limits);
		const mib = {
			arenas: Math.round(arenas.reduce((a, b) => a + b, 0) / MIB),
			other: Math.round(otherBytes / MIB),
			planned: Math.round(performance.now() - began)
		};
		memory[`${direction} ${side}`] = mib;
		console.log(`${direction} ${side}²: arenas ${mib.arenas} MiB, weights and inputs ${mib.other} MiB; planned in ${mib.planned} ms`);
	}
}

interface Took {
	readonly first: number;
	readonly seconds: number;
	readonly cpuSeconds: number;
}

/** Smooth shapes with some grain. */
const data = new Uint8ClampedArray(4 * size * size).map((_, i) => 128 + 90 * Math.sin(i / (4 * size) / 29 + (i % 4)) + (Math.imul(i, 2654435761) >>> 27));
const factor = size / 8;
const latent = channelsLast(nvNormal(1, 0, 4 * factor * factor), { height: factor, width: factor, channels: 4 });
const results: Record<string, Took> = {};
const made: Record<string, Float32Array> = {};

async function measure(name: string, vae: Vae): Promise<void> {
	for (const direction of directions) {
		const once = (): Promise<Float32Array> =>
			direction === 'encode' ? vae.latent({ width: size, height: size, data }) : vae.decodePlanes(latent, factor, factor);
		const start = performance.now();
		const cpu = process.cpuUsage();
		made[`${name} ${direction}`] = await once();
		const first = (performance.now() - start) / 1000;
		const cpuFirst = process.cpuUsage(cpu);
		const [from, later] = [performance.now(), process.cpuUsage()];
		for (let i = 1; i < runs; i++) await once();
		const used = runs > 1 ? process.cpuUsage(later) : cpuFirst;
		const count = Math.max(1, runs - 1);
		results[`${name} ${direction}`] = {
			first,
			seconds: runs > 1 ? (performance.now() - from) / 1000 / count : first,
			cpuSeconds: (used.user + used.system) / 1e6 / count
		};
		const { seconds, cpuSeconds } = results[`${name} ${direction}`] as Took;
		console.log(`${name} ${direction}: first ${first.toFixed(2)} s, then ${seconds.toFixed(3)} s (${cpuSeconds.toFixed(2)} s of CPU)`);
	}
	await vae.close();
}

const difference: Record<string, number> = {};
if (args.plan === undefined) {
	const on = args.on.split(',');
	if (on.includes('gpu')) await measure('gpu', openGpuVae(gpu, checkpoint, limits));
	if (on.includes('cpu')) await measure('cpu', openVae(checkpoint));
	for (const direction of directions) {
		const [a, b] = [made[`gpu ${direction}`], made[`cpu ${direction}`]];
		if (!a || !b) continue;
		const most = b.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
		difference[direction] = a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (b[i] ?? 0))), 0) / most;
		console.log(`${direction}: GPU and CPU differ by ${(difference[direction] ?? 0).toExponential(1)} of the largest number`);
	}
}
console.log(JSON.stringify({ adapter: gpu.adapter.description || gpu.adapter.device, family: checkpoint.config.family, size, memory, results, difference }));
gpu.close();
