/**
 * How long a merge takes: LoRAs of rank 32 on all 722 modules of SDXL (synthetic numbers, true shapes), merged to rank 8 by SVD; then once more with other ratios, which
 * reuses what does not depend on them.
 *
 *   npx vite build --ssr bench/merge.ts --outDir dist/bench
 *   node dist/bench/merge.js [--gpu] [--stored f16|f32] [--loras 3] [--rank 32] [--to 8] [--every 1]
 *
 * --gpu: on the adapter, whatever the rule in `lora/merge-gpu.ts` says. --stored: as what the files hold the factors; f32 goes to the GPU as twice the bytes. --every N takes each N-th module only. The last line is JSON: seconds of wall clock, and of this process' CPU
 * (which counts software adapters too).
 */
import { parseArgs } from 'node:util';
import { unetModules } from '../src/diffusion/unet-layout';
import { floatsToHalves, halvesToFloats } from '../src/formats/half';
import { openGpu } from '../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../src/gpu/node';
import { MergeSession } from '../src/lora/merge';
import type { Stack } from '../src/lora/merge-files';
import { isTransformerModule } from '../src/lora/modules';

const { values: args } = parseArgs({
	options: {
		gpu: { type: 'boolean', default: false },
		stored: { type: 'string', default: 'f16' },
		loras: { type: 'string', default: '3' },
		rank: { type: 'string', default: '32' },
		to: { type: 'string', default: '8' },
		every: { type: 'string', default: '1' }
	}
});
const [loras, rank, to, every] = [args.loras, args.rank, args.to, args.every].map(Number) as [number, number, number, number];

const SDXL = {
	inChannels: 4,
	outChannels: 4,
	modelChannels: 320,
	channelMult: [1, 2, 4],
	resBlocks: 2,
	depths: [0, 2, 10],
	middleDepth: 10,
	linearProjection: true,
	contextDim: 2048,
	vectorDim: 2816,
	groups: 32,
	heads: { width: 64 }
} as const;

/** One pool of numbers that halves hold, from which every factor takes a stretch of its own. */
const pool = new Float32Array(1 << 23);
let state = 1;
for (let i = 0; i < pool.length; i++) {
	state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
	pool[i] = Math.round((state / 2 ** 31 - 1) * 1024) / 1024;
}
const halves = floatsToHalves(pool);
let next = 0;
function stretch(length: number): { from: number; to: number } {
	next = (next * 7 + 104729) % (pool.length - length);
	const from = next;
	return { from, to: from + length };
}

const modules = unetModules(SDXL).filter(({ path }) => isTransformerModule(path));
const stacks = modules
	.filter((_, i) => i % every === 0)
	.map(({ path, block, inFeatures, outFeatures }): Stack => ({
		name: path,
		part: 'unet',
		block,
		rows: outFeatures,
		columns: inFeatures,
		kernel: [],
		parts: Array.from({ length: loras }, (_, lora) => {
			const [down, up] = [stretch(rank * inFeatures), stretch(rank * outFeatures)];
			const cut = <T>(numbers: { subarray(from: number, to: number): T }): Promise<{ down: T; up: T }> =>
				Promise.resolve({ down: numbers.subarray(down.from, down.to), up: numbers.subarray(up.from, up.to) });
			// As from a file: halves are widened when floats are asked for.
			const widened = async (): Promise<{ down: Float32Array; up: Float32Array }> => {
				const pair = await cut(halves);
				return { down: halvesToFloats(pair.down), up: halvesToFloats(pair.up) };
			};
			const inHalves = args.stored === 'f16';
			return { lora, rank, scale: 1, load: inHalves ? widened : () => cut(pool), ...(inHalves ? { loadHalves: () => cut(halves) } : {}) };
		})
	}));

const gpu = args.gpu ? await openGpu(await dawn(FAST_FLAGS)) : undefined;
const session = new MergeSession([], { family: 'sdxl', stacks });
const results: Record<string, { seconds: number; cpuSeconds: number }> = {};
for (const [label, ratio] of [
	['first', 0.6],
	['other ratios', 0.4]
] as const) {
	const [started, cpu] = [performance.now(), process.cpuUsage()];
	const { report } = await session.merge(
		{
			name: 'bench',
			method: 'svd',
			dimension: { kind: 'fixed', rank: to },
			convDimension: null,
			precision: 'f16',
			parts: Array.from({ length: loras }, (_, i) => ({ name: String(i), ratio: ratio + 0.1 * i, blocks: null }))
		},
		gpu ? { gpu, force: true } : {}
	);
	const used = process.cpuUsage(cpu);
	results[label] = { seconds: (performance.now() - started) / 1000, cpuSeconds: (used.user + used.system) / 1e6 };
	console.log(
		`${label}: ${report.modules} modules on the ${report.device === 'gpu' ? (gpu?.adapter.description ?? 'GPU') : 'CPU'}, keeps ${((report.kept ?? 0) * 100).toFixed(1)} %`
	);
}
console.log(JSON.stringify({ modules: stacks.length, loras, rank, to, device: gpu?.adapter.description ?? 'cpu', ...results }));
gpu?.close();
