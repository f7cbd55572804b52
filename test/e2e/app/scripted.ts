/**
 * A trainer for looking at screens: answers like the real one and tells a run's story at once, from formulas instead of a GPU.
 * `?story=` picks how far the story goes: `training` stops in the second pass, `done` (default) goes to the end, `failed` breaks off.
 * Only tests load it.
 */
import type { Picture, Problem, RunEvent } from '../../../src/jobs/events';
import { blobSource } from '../../../src/formats/source';
import { writeSafetensors } from '../../../src/formats/safetensors-writer';
import { fileBytes } from '../../../src/recipe/advice';
import type { CellSettings } from '../../../src/recipe/plot-cells';
import { firstPictures, livePictures } from '../../../src/recipe/previews';
import type { Recipe } from '../../../src/recipe/recipe';
import { adviseRate, ramp } from '../../../src/training/finder';
import { inspectFile } from '../../../src/service/inspect';
import { Lab } from '../../../src/service/lab';
import type { EventMessage, ModelInfo, ReplyOf, Request, TrainerClient, TrainRequest } from '../../../src/service/protocol';

const MODEL: ModelInfo = {
	modelId: 'scripted',
	name: 'mini',
	family: 'mini',
	predictionType: 'epsilon',
	resolution: 128,
	unetParameters: 10_393_092,
	fileBytes: 31_741_718,
	modules: { linear: 192, conv: 278 },
	blocks: []
};

const memory = (activations: number) => ({
	weights: 20_786_184,
	activations,
	factors: 7_372_800,
	optimizer: 3_686_400,
	staging: 4_194_304,
	total: 36_039_688 + activations
});

/** Between the two pictures: at 0 the first, at 1 the second, beyond on both sides. */
function blend(a: Picture, b: Picture, amount: number): Picture {
	const data = new Uint8ClampedArray(a.data.length);
	for (let i = 0; i < data.length; i++) data[i] = (a.data[i] ?? 0) + ((b.data[i] ?? 0) - (a.data[i] ?? 0)) * amount;
	return { width: a.width, height: a.height, data };
}

function noisy(picture: Picture, amount: number): Picture {
	const data = picture.data.map((value, i) => (i % 4 === 3 ? 255 : value + (((i * 2654435761) >>> 24) - 128) * amount));
	return { ...picture, data };
}

function loss(step: number, steps: number, from: number, to: number): number {
	const jump = Math.abs(Math.sin(step * 91.7) * Math.cos(step * 17.3));
	return (to + (from - to) * Math.exp((-5 * step) / steps)) * (0.45 + 1.4 * jump);
}

function* story({ recipe, ...pair }: TrainRequest, until: string): Generator<RunEvent> {
	const { original, target } = pair;
	if (!original || !target) throw new Error('The story needs two pictures.');
	yield { type: 'state', state: 'encoding' };
	yield { type: 'state', state: 'compiling', pass: 'copier', fraction: 1 };
	for (const pass of ['copier', 'difference'] as const) {
		const steps = recipe.passes[pass].iterations;
		const last = until === 'training' && pass === 'difference' ? Math.round(steps * 0.42) : steps;
		const rate = pass === 'copier' ? 1.84 : 1.42;
		yield { type: 'memory', pass, planned: 412_876_800, allocated: 412_876_800 };
		yield { type: 'state', state: 'training', pass };
		if (pass === 'copier') for (const { seed } of firstPictures(recipe.preview)) yield { type: 'preview', pass, step: 0, seed, strength: 1, picture: original };
		let broken = pass === 'copier';
		for (let step = 1; step <= last; step++) {
			if (broken && step === 40) {
				// Once: the guard goes back and halves the rate.
				yield { type: 'guard', pass, step, action: 'rollback', reason: 'loss', to: 20, factor: 0.5, value: 7.42, limit: 6 };
				broken = false;
				step = 21;
			}
			const value = pass === 'copier' ? loss(step, steps, 0.02, 0.0023) : loss(step, steps, 0.0072, 0.0032);
			const left = (pass === 'copier' ? (steps - step) / 1.84 + recipe.passes.difference.iterations / 1.42 : (steps - step) / 1.42) | 0;
			yield {
				type: 'progress',
				pass,
				step,
				steps,
				loss: value,
				lossAverage: value,
				learningRate: broken ? 2e-3 : 1e-3,
				stepsPerSecond: rate,
				etaSeconds: left
			};
			if (step % recipe.saving.snapshotEvery === 0) yield { type: 'snapshot', pass, step, bytes: 1_200_000, milliseconds: 4 };
			if (step % recipe.probe.every === 0) {
				const now = 0.0026 + 0.011 * Math.exp((-4 * step) / steps);
				const bands = [0, 1, 2, 3].map((band) => ({ min: 250 * band, max: 250 * band + 250, base: 0.0138, now: now * (0.6 + 0.2 * band) }));
				yield { type: 'probe', pass, step, base: 0.0138, now, bands, verdict: step / steps > 0.7 ? 'converged' : 'learning' };
			}
			if (step === 1 || step % recipe.preview.every === 0) {
				for (const { seed, strength } of livePictures(recipe.preview)) {
					const share = pass === 'copier' ? 0 : strength * Math.min(1, (1.6 * step) / steps);
					const picture = noisy(blend(original, target, share), pass === 'copier' ? Math.max(0, 0.6 - step / steps) : 0.02);
					yield { type: 'preview', pass, step, seed, strength, picture };
				}
			}
			if (until === 'failed' && pass === 'difference' && step === 60) {
				const problem: Problem = {
					level: 'error',
					code: 'gpu.lost',
					where: 'gpu',
					values: {},
					message: 'The graphics driver was reset, so the run stopped at step 60. Start again; a smaller batch helps when the GPU is shared.'
				};
				yield { type: 'ended', outcome: 'failed', problem };
				return;
			}
		}
		if (until === 'training' && pass === 'difference') return;
	}
	yield { type: 'state', state: 'saving' };
	yield { type: 'file', role: 'intermediate', name: `${recipe.name}_100s.safetensors`, step: 100, bytes: file(recipe) };
	yield { type: 'file', role: 'result', name: `${recipe.name}.safetensors`, step: recipe.passes.difference.iterations, bytes: file(recipe) };
	yield { type: 'state', state: 'sampling' };
	for (const seed of recipe.preview.seeds) {
		for (const strength of recipe.preview.strengths)
			yield { type: 'stripCell', seed, strength, picture: blend(original, target, Math.max(-0.3, Math.min(1.4, strength))) };
	}
	yield { type: 'ended', outcome: 'done' };
}

function file(recipe: Recipe): ArrayBuffer {
	const data = new Float32Array(64);
	const bytes = writeSafetensors([{ name: 'lora_unet_x.lora_up.weight', dtype: 'F32', shape: [64], data: new Uint8Array(data.buffer) }], {
		ss_output_name: recipe.name,
		ss_network_dim: String(recipe.passes.difference.rank),
		'modelspec.architecture': 'stable-diffusion-v1/lora'
	});
	return bytes.slice().buffer;
}

/** What each training was asked to go on with, in order: tests look here. */
const asked: unknown[] = [];
Object.assign(globalThis, { asked });

/** A face whose mouth opens with the strength; its colours come from the seed. */
function face({ seed, networks, width, height }: CellSettings): Picture {
	const strength = networks.reduce((sum, network) => sum + network.strength, 0);
	const data = new Uint8ClampedArray(4 * width * height);
	const inside = (x: number, y: number, cx: number, cy: number, rx: number, ry: number): boolean => ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1;
	const hue = [(seed * 53) % 160, (seed * 91) % 160, (seed * 137) % 160];
	for (let i = 0; i < width * height; i++) {
		const [x, y] = [(i % width) / width, Math.floor(i / width) / height];
		const mouth = inside(x, y, 0.5, 0.7, 0.1, 0.02 + 0.06 * Math.max(0, strength));
		const eye = inside(x, y, 0.38, 0.48, 0.05, 0.08) || inside(x, y, 0.62, 0.48, 0.05, 0.08);
		const skin = inside(x, y, 0.5, 0.55, 0.3, 0.36);
		const colour = mouth ? [150, 40, 50] : eye ? hue : skin ? [248, 222, 205] : y < 0.5 ? hue : [235 - 20 * Math.max(0, strength - 1), 240, 245];
		data.set([...colour, 255], 4 * i);
	}
	return { width, height, data };
}

const TUNED: ReplyOf['tuning']['classes'] = [
	{ form: 'rows nk', m: 1024, n: 1280, k: 1280, best: { tile: 'tile-128x64x16-8x8', tflops: 9.1 }, heuristic: { tile: 'tile-128x128x16-8x8', tflops: 7 } },
	{ form: 'cols kn', m: 16, n: 1280, k: 1024, best: { tile: 'tile-16x128x16-4x4', tflops: 0.05 }, heuristic: { tile: 'tile-16x128x16-4x4', tflops: 0.05 } }
];

export function scriptedTrainer(until: string): TrainerClient {
	const listeners = new Set<(message: EventMessage) => void>();
	/** Files are looked into and merged by the real code: neither needs a GPU. */
	const lab = new Lab();
	const answer = (request: Request): ReplyOf[Request['type']] | Promise<ReplyOf[Request['type']]> => {
		switch (request.type) {
			case 'hello': {
				const description = 'NVIDIA GeForce RTX 3080';
				return {
					version: 1,
					adapter: {
						vendor: 'nvidia',
						architecture: 'ampere',
						description,
						isFallback: false,
						features: ['subgroups'],
						maxBufferSize: 2 ** 32,
						maxBindingSize: 2 ** 31
					},
					problem: null
				};
			}
			case 'openModel':
				return MODEL;
			case 'estimate':
				return {
					problems: [],
					memory: { copier: memory(340_000_000), difference: memory(376_000_000) },
					dispatches: 1462,
					fileBytes: fileBytes(request.request.recipe)
				};
			case 'train': {
				asked.push(request.keep ?? null);
				let seq = 0;
				for (const event of story(request.request, until))
					for (const listener of listeners) listener({ run: request.run, seq: seq++, time: Date.now() + 251_000, event });
				return null;
			}
			case 'findRate': {
				const points = ramp(1e-6, 1e-1, 80).map((rate, i) => ({ rate, ratio: (rate > 2e-2 ? 30 : 1 / (1 + 300 * rate)) * Math.exp(0.2 * Math.sin(37 * i)) }));
				for (const listener of listeners) listener({ run: request.run, seq: 0, time: Date.now(), event: { type: 'ratePoints', points } });
				return adviseRate(points) ?? null;
			}
			case 'plot': {
				const { cells } = request.request;
				const emit = (event: RunEvent, seq: number): void => {
					for (const listener of listeners) listener({ run: request.run, seq, time: Date.now(), event });
				};
				emit({ type: 'state', state: 'sampling' }, 0);
				cells.forEach((cell, index) => emit({ type: 'plotCell', index, picture: face(cell) }, index + 1));
				return { outcome: 'done', drawn: cells.length, compiled: 1 };
			}
			case 'inspect':
				return inspectFile(request.name, blobSource(request.blob));
			case 'tuning':
				return { classes: request.measure ? TUNED : [], seconds: request.measure ? 6.25 : 0 };
			case 'compareLoras':
				return lab.compare(request.files);
			case 'merge':
				return lab.merge(request.run, request.request, () => undefined);
			default:
				return null;
		}
	};
	return {
		request: <R extends Request>(request: R) =>
			new Promise<ReplyOf[R['type']]>((resolve, reject) =>
				setTimeout(() => Promise.resolve(answer(request)).then((reply) => resolve(reply as ReplyOf[R['type']]), reject), 20)
			),
		subscribe(listener) {
			listeners.add(listener);
			return () => listeners.delete(listener);
		},
		close: () => listeners.clear()
	};
}
