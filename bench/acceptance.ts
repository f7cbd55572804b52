/**
 * Trains a reference run of the mini model from scratch and scores it on the twelve faces of its reference: one JSON line.
 *
 *   npx vite build --ssr bench/acceptance.ts --outDir dist/bench
 *   node dist/bench/acceptance.js [--run difference-adamw|difference-lion|difference-conv|addift-adamw|addift-adamw-30|addift-lion|addift-conv] [--mouth a] [--view front|left|right] [--storage f16|f32] [--batch 12] [--seed N]
 *                                 [--out DIR] [--lora FILE] [--fast] [--flags dawn,flags]
 *
 * --seed N draws the copier with N and the difference with N + 1 instead of the preset's 11 and 12, to see how much of a score is luck.
 * --lora judges a file instead of training (the copier's scores are then left out). --fast runs Dawn without validation and robustness. --out keeps the LoRA, the loss
 * curve and a picture: upper row without, lower row with the LoRA. Start it in the project's folder.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fromPlanes } from '../src/diffusion/vae-network';
import { unetModules } from '../src/diffusion/unet-layout';
import { encodePng } from '../src/formats/png';
import { openGpu } from '../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../src/gpu/node';
import { loadLora } from '../src/lora/load';
import { TrainingControl } from '../src/training/events';
import type { TrainingEvent } from '../src/training/events';
import { frozenNetwork } from '../src/training/network';
import { trainRecipe } from '../src/training/train';
import { Lab } from './acceptance/lab';
import { ADDIFT_RUNS, addiftRecipe, runRecipe, RUNS, VIEWS } from './acceptance/runs';
import type { AddiftRunName, RunName, View } from './acceptance/runs';

function oneOf<T extends string>(value: string, options: readonly T[], what: string): T {
	const found = options.find((option) => option === value);
	if (!found) throw new Error(`${what} is "${value}"; choose one of ${options.join(', ')}.`);
	return found;
}

const { values: args } = parseArgs({
	options: {
		run: { type: 'string', default: 'difference-adamw' },
		view: { type: 'string', default: 'front' },
		mouth: { type: 'string', default: 'a' },
		storage: { type: 'string', default: 'f16' },
		batch: { type: 'string', default: '12' },
		out: { type: 'string' },
		lora: { type: 'string' },
		flags: { type: 'string' },
		seed: { type: 'string' },
		fast: { type: 'boolean', default: false }
	}
});

const round = (x: number): number => Number(x.toFixed(4));

function grid(rows: readonly (readonly Float32Array[])[], side: number): Uint8Array {
	const columns = Math.max(...rows.map((row) => row.length));
	const data = new Uint8ClampedArray(4 * columns * side * rows.length * side);
	rows.forEach((row, r) =>
		row.forEach((planes, c) => {
			const picture = fromPlanes(planes, side, side);
			for (let y = 0; y < side; y++) data.set(picture.data.subarray(4 * y * side, 4 * (y + 1) * side), 4 * ((r * side + y) * columns * side + c * side));
		})
	);
	return encodePng({ width: columns * side, height: rows.length * side, data });
}

/** Trains, says how it goes on stderr, and keeps the files and the losses. */
const isAddift = (run: RunName | AddiftRunName): run is AddiftRunName => run in ADDIFT_RUNS;

async function train(lab: Lab, run: RunName | AddiftRunName, view: View, storage: 'f16' | 'f32', keep: (name: string, data: Uint8Array | string) => void) {
	const losses: string[] = ['pass,step,loss,average,rate'];
	const probes: Record<string, { base: number; now: number; verdict: string }> = {};
	const seconds = { copier: 0, difference: 0 };
	let began = performance.now();
	let memory = {};
	const emit = (event: TrainingEvent): void => {
		if (event.type === 'state' && event.state === 'training') began = performance.now();
		if (event.type === 'memory') memory = { ...memory, [event.pass]: event.allocated };
		if (event.type === 'probe') probes[event.pass] = { base: round(event.base), now: round(event.now), verdict: event.verdict };
		if (event.type === 'file') keep(event.name, new Uint8Array(event.bytes));
		if (event.type !== 'progress') return;
		seconds[event.pass] = (performance.now() - began) / 1000;
		losses.push([event.pass, event.step, event.loss, event.lossAverage, event.learningRate].join(','));
		if (event.step % 50 === 0 || event.step === event.steps)
			process.stderr.write(`${event.pass} ${event.step}/${event.steps} loss ${event.lossAverage.toFixed(5)} ${event.stepsPerSecond.toFixed(2)} it/s\n`);
	};
	const recipe = isAddift(run) ? addiftRecipe(run, view, args.mouth, storage) : runRecipe(run, view, storage);
	if (args.seed !== undefined) {
		recipe.passes.copier.seed = Number(args.seed);
		recipe.passes.difference.seed = Number(args.seed) + 1;
	}
	const pair = { original: await lab.latent(`${view}/closed.png`), target: await lab.latent(`${view}/${args.mouth}.png`) };
	const { config } = lab.checkpoint;
	const result = await trainRecipe({
		gpu: lab.gpu,
		weights: lab.weights,
		config,
		recipe,
		inputs: { kind: 'pairs', buckets: [{ height: 16, width: 16, pairs: [pair] }], conditioning: { original: lab.empty, target: lab.empty } },
		control: new TrainingControl(),
		emit,
		version: 'acceptance'
	});
	keep('losses.csv', `${losses.join('\n')}\n`);
	if (!result.network) throw new Error('Training ended without a network.');
	return { network: result.network, copier: result.copier, report: { seconds, probes, skipped: result.skipped, memory } };
}

async function main(): Promise<void> {
	const run = oneOf(args.run, [...Object.keys(RUNS), ...Object.keys(ADDIFT_RUNS)] as (RunName | AddiftRunName)[], '--run');
	const view = oneOf(args.view, VIEWS, '--view');
	const storage = oneOf(args.storage, ['f16', 'f32'] as const, '--storage');
	const gpu = await openGpu(await dawn(args.flags?.split(',') ?? (args.fast ? FAST_FLAGS : undefined)));
	const lab = await Lab.open(gpu, storage);
	const keep = (name: string, data: Uint8Array | string): void => {
		if (!args.out) return;
		mkdirSync(args.out, { recursive: true });
		writeFileSync(join(args.out, name), data);
	};
	const report: Record<string, unknown> = {
		run: args.lora ?? run,
		view,
		storage,
		adapter: gpu.adapter.description || gpu.adapter.device,
		f16: gpu.f16,
		reference: isAddift(run) ? ADDIFT_RUNS[run].reference : RUNS[run].reference
	};
	const trained = args.lora ? undefined : await train(lab, run, view, storage, keep);
	const modules = trained?.network ?? (await loadLora(new Uint8Array(readFileSync(args.lora ?? '')), unetModules(lab.checkpoint.config.unet))).modules;
	const difference = await frozenNetwork(gpu, 'difference', modules);
	const copier = trained?.copier && (await frozenNetwork(gpu, 'copier', trained.copier));
	const denoiser = await lab.denoiser(copier ? [copier, difference] : [difference], Number(args.batch));
	const { effect, before, after } = await lab.faces(denoiser, view, args.mouth);
	report['effect'] = Object.fromEntries(Object.entries(effect).map(([key, value]) => [key, typeof value === 'number' ? round(value) : value]));
	if (trained) Object.assign(report, trained.report);
	if (copier) {
		const copy = await lab.copyQuality(denoiser, [1, 0], `${view}/closed.png`);
		const both = await lab.copyQuality(denoiser, [1, 1], `${view}/a.png`);
		Object.assign(report, { copierPsnr: round(copy.mean), copierPsnrLeast: round(copy.least), bothPsnr: round(both.mean) });
	}
	keep('faces.png', grid([before, after], 128));
	process.stdout.write(`${JSON.stringify(report)}\n`);
	keep('report.json', `${JSON.stringify(report, null, '\t')}\n`);
	denoiser.destroy();
	await lab.close();
	gpu.close();
}

await main();
// Dawn keeps the process alive while its instance exists.
process.exit(0);
