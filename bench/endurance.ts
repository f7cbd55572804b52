/**
 * A long training of one picture as the app trains it (pass 1 of the difference method, guard, probes and snapshots included), on a full-size or tiny UNet: whether the loss falls, nothing becomes
 * infinite, and nothing grows. A JSON line for every twentieth of the run, and a verdict.
 *
 *   npx vite build --ssr bench/endurance.ts --outDir dist/bench
 *   node dist/bench/endurance.js (--model FILE | --random sd15|sdxl|tiny-sdxl) [--steps 1000] [--size 512] [--rank 16] [--rate 1e-4] [--storage f16|f32] [--base f16|int8] [--gpu-memory GiB] [--label TEXT]
 *
 * Latents and contexts are smooth made-up numbers. Losses of single steps jump with their timesteps; the probe, always at the same noises, is what tells.
 */
import { parseArgs } from 'node:util';
import type { ModelConfig } from '../src/diffusion/config';
import { defaultRecipe } from '../src/recipe/defaults';
import { defaultOptimizer } from '../src/recipe/optimizers';
import { TrainingControl } from '../src/training/events';
import type { TrainingEvent } from '../src/training/events';
import { trainRecipe } from '../src/training/train';
import { line, openBed } from './full/bed';

const { values: args } = parseArgs({
	options: {
		model: { type: 'string' },
		random: { type: 'string' },
		steps: { type: 'string', default: '1000' },
		size: { type: 'string', default: '512' },
		rank: { type: 'string', default: '16' },
		rate: { type: 'string', default: '1e-4' },
		storage: { type: 'string', default: 'f16' },
		base: { type: 'string', default: 'f16' },
		'gpu-memory': { type: 'string' },
		label: { type: 'string', default: '' },
		checked: { type: 'boolean', default: false }
	}
});

const { label, model, random, checked } = args;
const bed = await openBed({ model, random, checked, storage: args.storage === 'f32' ? 'f32' : 'f16', base: args.base === 'int8' ? 'int8' : 'f16' });
const { gpu, live, family, unet, weights } = bed;
const steps = Number(args.steps);
const side = Number(args.size) / 8;

const vae = { prefix: '', channels: 128, channelMult: [1, 2, 4, 4], resBlocks: 2, latentChannels: 4, groups: 32, scale: 0.18215 };
const config: ModelConfig = { family, title: '', prediction: 'epsilon', resolution: Number(args.size), unet, vae, text: [] };
const recipe = defaultRecipe(family, 'difference');
recipe.storage = weights.storage;
recipe.copier.only = true;
recipe.probe.every = Math.max(1, Math.round(steps / 10));
recipe.preview.every = 0;
recipe.saving.snapshotEvery = Math.max(1, Math.round(steps / 10));
const rank = Number(args.rank);
Object.assign(recipe.passes.copier, {
	rank,
	alpha: rank,
	convRank: 0,
	batch: 1,
	iterations: steps,
	learningRate: Number(args.rate),
	optimizer: defaultOptimizer('adamw')
});

const wave = (count: number, period: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(i / period) + 0.3 * Math.sin(i * 1.7));
const picture = wave(side * side * 4, 37);
const conditioning = {
	context: wave(77 * unet.contextDim, 11),
	...(unet.vectorDim > 0 ? { vector: wave(unet.vectorDim, 5) } : {})
};

const losses: number[] = [];
const probes: { step: number; base: number; now: number }[] = [];
const guards: TrainingEvent[] = [];
const samples: { step: number; bytes: number; buffers: number; heap: number; rss: number }[] = [];
const windowSize = Math.max(1, Math.round(steps / 20));
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
let began = 0;

function look(step: number): void {
	globalThis.gc?.();
	const { heapUsed, rss } = process.memoryUsage();
	samples.push({ step, bytes: live.bytes, buffers: live.count, heap: heapUsed, rss });
}

function emit(event: TrainingEvent): void {
	switch (event.type) {
		case 'state':
			if (event.state === 'training') began = performance.now();
			return;
		case 'progress':
			losses.push(event.loss);
			if (event.step % windowSize !== 0) return;
			look(event.step);
			line({ label, step: event.step, loss: mean(losses.slice(-windowSize)), ms: (performance.now() - began) / event.step, ...samples.at(-1) });
			return;
		case 'probe':
			probes.push({ step: event.step, base: event.base, now: event.now });
			line({ label, probe: event.step, base: event.base, now: event.now, verdict: event.verdict });
			return;
		case 'guard':
		case 'warning':
			guards.push(event);
			line({ label, ...event });
			return;
		case 'memory':
			line({ label, memory: event, secondsWeights: bed.secondsWeights });
			return;
		default:
			return;
	}
}

const before = live.bytes;
const latents = { original: picture, target: picture };
const result = await trainRecipe({
	gpu,
	weights,
	config,
	recipe,
	inputs: { kind: 'pairs', buckets: [{ height: side, width: side, pairs: [latents] }], conditioning: { original: conditioning, target: conditioning } },
	gpuMemory: args['gpu-memory'] === undefined ? undefined : Number(args['gpu-memory']) * 2 ** 30,
	control: new TrainingControl(),
	emit,
	version: 'endurance'
});
await gpu.device.queue.onSubmittedWorkDone();
const [first, last] = [samples[Math.min(3, samples.length - 1)], samples.at(-1)];
line({
	label,
	family,
	steps: losses.length,
	msStep: (performance.now() - began) / steps,
	outcome: result.outcome,
	finite: losses.every(Number.isFinite),
	skipped: result.skipped.copier,
	lossFirst: mean(losses.slice(0, windowSize)),
	lossLast: mean(losses.slice(-windowSize)),
	probeFirst: probes[0]?.base,
	probeLast: probes.at(-1)?.now,
	guards: guards.length,
	/** From the fourth look to the last. */
	grownGpuBytes: (last?.bytes ?? 0) - (first?.bytes ?? 0),
	grownBuffers: (last?.buffers ?? 0) - (first?.buffers ?? 0),
	grownHeap: (last?.heap ?? 0) - (first?.heap ?? 0),
	grownRss: (last?.rss ?? 0) - (first?.rss ?? 0),
	leftOnGpu: live.bytes - before
});
// Dawn keeps the process alive while its instance exists.
process.exit(0);
