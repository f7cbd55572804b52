/** Both passes end to end on the smallest model, a few steps each: falling loss, events in order, files that load, stops that keep what they should. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unetModules } from '../../../src/diffusion/unet-layout';
import type { Gpu } from '../../../src/gpu/gpu';
import type { WeightStore } from '../../../src/kernels/weights';
import { loadLora } from '../../../src/lora/load';
import { selectModules } from '../../../src/lora/modules';
import { defaultRecipe } from '../../../src/recipe/defaults';
import type { Recipe } from '../../../src/recipe/recipe';
import { trainDifference } from '../../../src/training/difference';
import { TrainingControl } from '../../../src/training/events';
import type { TrainingEvent } from '../../../src/training/events';
import { openTestGpu, randomFloats } from '../harness';
import { NANO, nanoLatents, nanoWeights } from '../nano';

let gpu: Gpu;
let weights: WeightStore;
const latents = nanoLatents(8);
const context = randomFloats(77 * NANO.unet.contextDim, 78);

beforeAll(async () => {
	gpu = await openTestGpu();
	weights = await nanoWeights(gpu, 'f16');
});
afterAll(() => weights.destroy());

/** The last two blocks of the smallest model. */
const BLOCKS = ['OUT02', 'OUT03'] as const;

function recipe(change: (recipe: Recipe) => void = () => undefined): Recipe {
	const made = defaultRecipe('mini');
	for (const pass of [made.passes.copier, made.passes.difference]) {
		Object.assign(pass, {
			rank: 6,
			alpha: 6,
			iterations: 12,
			batch: 1,
			blocks: [...BLOCKS],
			learningRate: 5e-3,
			schedule: { kind: 'constant', warmup: 0 },
			timesteps: { min: 300, max: 320 }
		});
	}
	made.passes.copier.seed = 11;
	made.passes.difference.seed = 12;
	made.passes.difference.convRank = 2;
	made.passes.difference.convAlpha = 2;
	made.saving = { everySteps: 5, snapshotEvery: 0, precision: 'f16', keepCopier: true };
	made.probe.every = 6;
	made.preview.every = 0;
	change(made);
	return made;
}

async function train(made: Recipe, onEvent: (event: TrainingEvent, control: TrainingControl) => void = () => undefined) {
	const events: TrainingEvent[] = [];
	const control = new TrainingControl();
	const emit = (event: TrainingEvent) => {
		events.push(event);
		onEvent(event, control);
	};
	const result = await trainDifference({
		gpu,
		weights,
		config: NANO,
		recipe: made,
		latents,
		conditioning: { context },
		control,
		emit,
		version: 'test'
	});
	const of = <T extends TrainingEvent['type']>(type: T) => events.filter((e): e is Extract<TrainingEvent, { type: T }> => e.type === type);
	return { result, of };
}

describe('the difference method', { timeout: 900_000 }, () => {
	it('trains both passes, reports every step and hands out files that load', async () => {
		const { result, of } = await train(recipe());
		expect(result).toMatchObject({ outcome: 'done', seeds: { copier: 11, difference: 12 }, skipped: { copier: 0, difference: 0 } });
		for (const pass of ['copier', 'difference'] as const) {
			const steps = of('progress').filter((e) => e.pass === pass);
			expect(steps.map((e) => e.step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
			expect(steps.every((e) => e.loss > 0 && e.learningRate === 5e-3)).toBe(true);
			const probes = of('probe').filter((e) => e.pass === pass);
			expect(probes.map((e) => e.step)).toEqual([0, 6, 12]);
			expect(probes[0]?.now).toBe(probes[0]?.base);
			expect(probes[2]?.now).toBeLessThan((probes[0]?.base ?? 0) * 0.98);
		}
		for (const memory of of('memory')) expect(memory.allocated).toBe(memory.planned);
		const files = of('file');
		expect(files.map((e) => [e.role, e.name, e.step])).toEqual([
			['copier', 'difference_copy.safetensors', 12],
			['intermediate', 'difference_5steps.safetensors', 5],
			['intermediate', 'difference_10steps.safetensors', 10],
			['result', 'difference.safetensors', 12]
		]);
		const saved = await loadLora(new Uint8Array(files[3]?.bytes ?? new ArrayBuffer(0)), unetModules(NANO.unet));
		expect(saved.metadata).toMatchObject({ ss_output_name: 'difference', ss_seed: '12', ss_steps: '12', ss_network_dim: '6' });
		const chosen = selectModules(unetModules(NANO.unet), { rank: 6, alpha: 6, convRank: 2, convAlpha: 2, blocks: BLOCKS });
		expect(chosen.length).toBeGreaterThan(20);
		expect(saved.modules.map(({ path }) => path).sort()).toEqual(chosen.map(({ path }) => path).sort());
		expect(saved.modules.every((m) => m.up.some((x) => x !== 0))).toBe(true);
		expect(result.network?.length).toBe(chosen.length);
	});

	it('repeats bit by bit, and a probe or a file in between changes nothing', async () => {
		const short = recipe((r) => {
			r.passes.copier.iterations = r.passes.difference.iterations = 6;
			r.saving.everySteps = 0;
			r.probe.every = 0;
		});
		const watched = structuredClone(short);
		watched.saving.everySteps = 2;
		watched.probe.every = 3;
		const [plain, observed] = [await train(short), await train(watched)];
		expect(observed.result.network).toEqual(plain.result.network);
		expect(observed.of('progress').map((e) => e.loss)).toEqual(plain.of('progress').map((e) => e.loss));
	});

	it('a stop keeps nothing, stop-and-save what there is', async () => {
		const long = recipe((r) => {
			r.passes.copier.iterations = 2;
			r.passes.difference.iterations = 100_000;
			r.saving = { everySteps: 0, snapshotEvery: 0, precision: 'f16', keepCopier: false };
			r.probe.every = 0;
		});
		const stopAt = (save: boolean) => (event: TrainingEvent, control: TrainingControl) => {
			if (event.type === 'progress' && event.pass === 'difference' && event.step >= 3) control.stop(save);
		};
		const stopped = await train(long, stopAt(false));
		expect(stopped.result).toMatchObject({ outcome: 'stopped', network: undefined });
		expect(stopped.of('file')).toEqual([]);
		const saved = await train(long, stopAt(true));
		expect(saved.result.outcome).toBe('stopped');
		const [file] = saved.of('file');
		expect(file?.role).toBe('result');
		expect(file?.name).toBe(`difference_${file?.step ?? 0}steps.safetensors`);
		expect(file?.step).toBeGreaterThanOrEqual(3);
	});

	it('keeps the copier when stop-and-save comes in the first pass', async () => {
		const { result, of } = await train(
			recipe((r) => (r.passes.copier.iterations = 100_000)),
			(event, control) => event.type === 'progress' && control.stop(true)
		);
		expect(result.network).toBeUndefined();
		expect(of('file').map((e) => e.role)).toEqual(['copier']);
	});
});
