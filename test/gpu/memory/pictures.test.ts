/**
 * A whole run with the VAE on the GPU (forced here, software adapters leave it to the CPU): a tiny SDXL with a VAE from another file. What the estimate says of encoding,
 * training with live previews and the pictures at the end is what they take.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { countBuffers, type LiveBuffers } from '../../../bench/full/live';
import { writeSafetensors, type TensorData } from '../../../src/formats/safetensors-writer';
import { openGpu, type Gpu } from '../../../src/gpu/gpu';
import { dawn } from '../../../src/gpu/node';
import { conditionerOf, type Conditioner } from '../../../src/jobs/conditioner';
import { estimateRun } from '../../../src/jobs/estimate';
import type { Picture, RunEvent } from '../../../src/jobs/events';
import { openConditionerOn } from '../../../src/jobs/gpu-conditioner';
import { openModel, type OpenModel } from '../../../src/jobs/model';
import { runRecipe } from '../../../src/jobs/runner';
import { encodeOn } from '../../../src/jobs/vae-room';
import { defaultRecipe } from '../../../src/recipe/defaults';
import { defaultOptimizer } from '../../../src/recipe/optimizers';
import type { Recipe } from '../../../src/recipe/recipe';
import { TrainingControl } from '../../../src/training/events';
import { tinySdxlBytes } from '../../unit/diffusion/tiny-sdxl';

const SIDE = 32;

let gpu: Gpu;
let live: LiveBuffers;
let model: OpenModel;
let recipe: Recipe;

const tiny = (): Blob => new Blob([tinySdxlBytes().slice().buffer]);

/** The model's VAE in a file of its own; its pictures have no red. */
async function withoutRed(): Promise<Blob> {
	const { checkpoint } = await openModel('own', 'tiny', tiny());
	const tensors: TensorData[] = [];
	const { prefix } = checkpoint.config.vae;
	for (const [name, { shape }] of checkpoint.file.tensors) {
		if (!name.startsWith(prefix)) continue;
		const data = await checkpoint.file.readFloat32(name);
		tensors.push({
			name: name.slice(prefix.length),
			dtype: 'F32',
			shape,
			data: name.endsWith('decoder.conv_out.bias') ? data.map((v, i) => (i === 0 ? -9 : v)) : data
		});
	}
	return new Blob([writeSafetensors(tensors).slice().buffer]);
}

beforeAll(async () => {
	gpu = await openGpu(await dawn());
	encodeOn(gpu);
	live = countBuffers(gpu.device);
	model = await openModel('m', 'tiny', tiny(), await withoutRed());
	recipe = defaultRecipe('sdxl', 'addift');
	Object.assign(recipe.passes.difference, { rank: 2, alpha: 2, iterations: 2, batch: 1, seed: 3, optimizer: defaultOptimizer('lion') });
	Object.assign(recipe.preview, { every: 1, steps: 1, cfg: 3, seeds: [5], strengths: [1] });
	recipe.probe.every = 0;
	recipe.saving.snapshotEvery = 0;
});
afterAll(() => {
	model.release();
	gpu.close();
});

const shade = (step: number): Picture => ({
	width: SIDE,
	height: SIDE,
	data: new Uint8ClampedArray(4 * SIDE * SIDE).map((_, i) => (i % 4 === 3 ? 255 : (i * step) % 251))
});

interface Seen {
	/** The most that was alive while pictures were encoded, in the pass, and while the last ones were drawn. */
	readonly peaks: Record<'encode' | 'pass' | 'strip', number>;
	readonly previews: Picture[];
	readonly strip: Picture[];
	/** Calls of the CPU's VAE. */
	readonly onCpu: string[];
}

async function run(): Promise<Seen> {
	const seen: Seen = { peaks: { encode: 0, pass: 0, strip: 0 }, previews: [], strip: [], onCpu: [] };
	let phase: keyof Seen['peaks'] | undefined;
	const enter = (next: typeof phase): void => {
		if (next === phase) return;
		if (phase) seen.peaks[phase] = live.peakBytes;
		live.resetPeak();
		phase = next;
	};
	const emit = (event: RunEvent): void => {
		if (event.type === 'state')
			enter(
				event.state === 'encoding'
					? 'encode'
					: event.state === 'compiling' || event.state === 'training'
						? 'pass'
						: event.state === 'sampling'
							? 'strip'
							: phase
			);
		if (event.type === 'preview') seen.previews.push(event.picture);
		if (event.type === 'stripCell') seen.strip.push(event.picture);
	};
	const watched = (): Promise<Conditioner> => {
		const opened = conditionerOf(model.checkpoint);
		return Promise.resolve({
			...opened,
			encodePicture: (...given) => (seen.onCpu.push('encode'), opened.encodePicture(...given)),
			decode: (...given) => (seen.onCpu.push('decode'), opened.decode(...given))
		});
	};
	const environment = { gpu, model, openConditioner: () => openConditionerOn(gpu, model, watched), control: new TrainingControl(), emit };
	expect(await runRecipe({ recipe, original: shade(3), target: shade(5) }, environment)).toBe('done');
	enter(undefined);
	return seen;
}

it('takes what the estimate says while it encodes, trains with previews and draws', async () => {
	const free = await estimateRun(gpu, model, recipe, [{ width: SIDE, height: SIDE }]);
	expect(free.pictures).toMatchObject({ encode: { on: 'gpu' }, preview: 'gpu', strip: { on: 'gpu' } });
	expect(free.problems).toEqual([]);

	expect(live.bytes, 'nothing was allocated').toBe(0);
	const seen = await run();
	expect(seen.onCpu).toEqual([]);
	expect([seen.previews.length, seen.strip.length]).toEqual([2, 1]);
	for (const { data } of [...seen.previews, ...seen.strip]) {
		const of = (channel: number): number => Math.max(...data.filter((_, i) => i % 4 === channel));
		expect([of(0) === 0, of(1) > 0], 'the decoder is the other file’s').toEqual([true, true]);
	}
	const said = { encode: free.pictures.encode?.total ?? 0, pass: free.memory.difference.total, strip: free.pictures.strip?.total ?? 0 };
	for (const phase of ['encode', 'pass', 'strip'] as const) expect(Math.abs(seen.peaks[phase] / said[phase] - 1), phase).toBeLessThan(0.05);
	expect(free.pictures.most).toBe(Math.max(...Object.values(said)));
});
