/** Mode LoRA with block BASE on the mini model, from pictures to the strip: the text encoder learns with the UNet, its file says so in kohya's names, and pictures are drawn with it. */
import { openAsBlob } from 'node:fs';
import { expect, it } from 'vitest';
import { openSafetensors } from '../../../src/formats/safetensors';
import { writeSafetensors } from '../../../src/formats/safetensors-writer';
import { bytesSource } from '../../../src/formats/source';
import { conditionerOf } from '../../../src/jobs/conditioner';
import { estimateRun } from '../../../src/jobs/estimate';
import type { Picture, RunEvent } from '../../../src/jobs/events';
import { openModel } from '../../../src/jobs/model';
import { PlotSession } from '../../../src/jobs/plot';
import { runRecipe } from '../../../src/jobs/runner';
import { drawSample } from '../../../src/jobs/sampling';
import { UniformStream } from '../../../src/lora/random';
import { defaultRecipe } from '../../../src/recipe/defaults';
import type { Recipe } from '../../../src/recipe/recipe';
import { expandPlot } from '../../../src/recipe/plot-cells';
import { parsePlot } from '../../../src/recipe/plot-schema';
import { TrainingControl } from '../../../src/training/events';
import { openTestGpu } from '../harness';

const SIDE = 64;
const PROMPT = '1girl, (blue hair:1.2)';
const STEPS = 2;

function picture(seed: number): Picture {
	const noise = new UniformStream(seed, [7, 7]).take(0, 3 * 16);
	const data = new Uint8ClampedArray(4 * SIDE * SIDE).fill(255);
	for (let p = 0; p < SIDE * SIDE; p++) {
		const tile = 4 * Math.floor(p / SIDE / 16) + Math.floor((p % SIDE) / 16);
		for (let c = 0; c < 3; c++) data[4 * p + c] = 255 * (noise[3 * tile + c] ?? 0);
	}
	return { width: SIDE, height: SIDE, data };
}

function recipe(): Recipe {
	const made = defaultRecipe('mini', 'lora');
	made.resolution = { width: SIDE, height: SIDE };
	Object.assign(made.dataset, { bucketStep: 64, minSide: 64 });
	Object.assign(made.passes.difference, { rank: 4, alpha: 4, iterations: 8, batch: 2, blocks: ['BASE', 'OUT11'], learningRate: 2e-2, seed: 5 });
	made.probe.every = 8;
	Object.assign(made.preview, { prompt: PROMPT, negative: 'bad', seeds: [3], strengths: [0, 1], every: 4, steps: STEPS, cfg: 3, sampler: 'ddim' });
	made.saving = { ...made.saving, precision: 'f32' };
	return made;
}

const difference = (a: Picture, b: Picture): number => a.data.reduce((sum, x, i) => sum + Math.abs(x - (b.data[i] ?? 0)), 0) / a.data.length;

it('trains, saves, draws', { timeout: 600_000 }, async () => {
	const gpu = await openTestGpu();
	const model = await openModel('test', 'mini', await openAsBlob('public/models/mini.safetensors'));
	const openConditioner = () => Promise.resolve(conditionerOf(model.checkpoint));
	const events: RunEvent[] = [];
	const of = <T extends RunEvent['type']>(type: T) => events.filter((e): e is Extract<RunEvent, { type: T }> => e.type === type);
	const control = new TrainingControl();
	const environment = { gpu, model, openConditioner, control, emit: (event: RunEvent) => void events.push(event) };
	const pictures = [1, 2].map((seed) => ({ name: `${seed}.png`, picture: picture(seed), text: seed === 1 ? '1girl, blue hair' : 'red hair' }));
	const run = recipe();
	expect(await runRecipe({ recipe: run, pictures }, environment)).toBe('done');

	const [memory] = of('memory');
	const { memory: estimated } = await estimateRun(gpu, model, run, [{ width: SIDE, height: SIDE }]);
	expect(Math.abs(estimated.difference.total / (memory?.allocated ?? 1) - 1)).toBeLessThan(0.02);
	const [base, end] = of('probe');
	expect(base?.now).toBe(base?.base);
	expect(end?.now).toBeLessThan(base?.base ?? 0);

	const bytes = of('file')[0]?.bytes ?? new ArrayBuffer(0);
	const file = await openSafetensors(bytesSource(new Uint8Array(bytes)));
	const text = [...file.tensors.keys()].filter((name) => name.startsWith('lora_te_'));
	expect(text).toHaveLength(3 * 24);
	expect(text).toContain('lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight');
	expect(text).toContain('lora_te_text_model_encoder_layers_3_mlp_fc2.alpha');
	for (const name of text.filter((one) => one.endsWith('lora_up.weight')))
		expect(
			(await file.readFloat32(name)).some((x) => x !== 0),
			name
		).toBe(true);

	// Drawn again from the file, the strip's pictures come out; without the text encoder's part they do not.
	const settings = { prompt: PROMPT, negative: 'bad', seed: 3, steps: STEPS, cfg: 3, sampler: 'ddim' as const, width: SIDE, height: SIDE };
	const sample = (lora: ArrayBuffer, strength: number) => drawSample({ ...environment, storage: 'f16' }, { ...settings, loras: [{ bytes: lora, strength }] });
	const cell = (strength: number): Picture => of('stripCell').find((one) => one.strength === strength)?.picture ?? picture(0);
	const live = of('preview').at(-1)?.picture ?? picture(0);
	const again = await sample(bytes, 1);
	expect(difference(again, cell(1))).toBeLessThan(0.02);
	expect(live.data.length).toBe(again.data.length);
	const half = await Promise.all(
		[...file.tensors].flatMap(([name, { shape }]) =>
			name.startsWith('lora_te_') ? [] : [file.readFloat32(name).then((data) => ({ name, dtype: 'F32' as const, shape, data }))]
		)
	);
	const without = await sample(writeSafetensors(half, {}).slice().buffer, 1);
	expect(difference(without, again)).toBeGreaterThan(0.2);

	// A plot applies it as well, at any strength; at 0 nothing is changed but for the rounding of halves.
	const parsed = parsePlot({ loras: [{ name: 'x', sha256: 'c'.repeat(64) }], base: settings, x: { kind: 'strength', loras: ['x'], values: [0, 1] } });
	if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('\n'));
	const cells = (await expandPlot(parsed.plot, { model: 'mini', resolution: SIDE })).map(({ settings: one }) => one);
	const session = new PlotSession(gpu, model, openConditioner);
	const drawn = new Map<number, Picture>();
	await session.draw({
		cells,
		loras: [{ name: 'x', sha256: 'c'.repeat(64), blob: new Blob([bytes]) }],
		control,
		emit: (event) => event.type === 'plotCell' && drawn.set(event.index, event.picture)
	});
	const plotted = (strength: number): Picture => drawn.get(cells.findIndex(({ networks }) => (networks[0]?.strength ?? 0) === strength)) ?? picture(0);
	expect(difference(plotted(1), again)).toBeLessThan(0.5);
	expect(difference(plotted(0), cell(0))).toBeLessThan(0.5);
	await session.close();
	model.release();
});
