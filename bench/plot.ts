/**
 * A plot against the same pictures drawn one by one with `sample`: seconds and pictures a minute, as one JSON line. CPU seconds are this process's own (on a software
 * adapter the "GPU" is in them), so that the ratio means something on a busy machine too.
 *
 *   npx vite build --ssr bench/plot.ts --outDir dist/bench
 *   node dist/bench/plot.js [--steps 4] [--strengths 4] [--seeds 3] [--lora FILE] [--batch N]
 *
 * Start it in the project's folder. Both draw with guidance; the plot draws its bases too, the single calls do not.
 */
import { openAsBlob, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { dawn, FAST_FLAGS } from '../src/gpu/node';
import { openGpu } from '../src/gpu/gpu';
import { conditionerOf } from '../src/jobs/conditioner';
import { openModel } from '../src/jobs/model';
import { PlotSession } from '../src/jobs/plot';
import { drawSample } from '../src/jobs/sampling';
import { expandPlot, missingCells } from '../src/recipe/plot-cells';
import { parsePlot } from '../src/recipe/plot-schema';
import { TrainingControl } from '../src/training/events';

const { values: args } = parseArgs({
	options: {
		steps: { type: 'string', default: '4' },
		strengths: { type: 'string', default: '4' },
		seeds: { type: 'string', default: '3' },
		batch: { type: 'string' },
		lora: { type: 'string', default: 'test/fixtures/mini/reference/difference-adamw.safetensors' }
	}
});

const gpu = await openGpu(await dawn(FAST_FLAGS));
const model = await openModel('bench', 'mini', await openAsBlob('public/models/mini.safetensors'));
const openConditioner = () => Promise.resolve(conditionerOf(model.checkpoint));
const bytes = new Uint8Array(readFileSync(args.lora));
const sha256 = '0'.repeat(64);
const parsed = parsePlot({
	loras: [{ name: 'lora', sha256 }],
	base: { prompt: '1girl, blue hair', steps: Number(args.steps), cfg: 5, sampler: 'ddim' },
	x: { kind: 'strength', values: `0.5-2 [${args.strengths}]` },
	y: { kind: 'seed', values: `1-${args.seeds}` }
});
if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join(' '));
const cells = await expandPlot(parsed.plot, { model: 'mini', resolution: 128 });

async function timed(pictures: number, work: () => Promise<unknown>): Promise<{ pictures: number; seconds: number; perMinute: number; cpuSeconds: number }> {
	const [began, cpu] = [performance.now(), process.cpuUsage()];
	await work();
	const seconds = (performance.now() - began) / 1000;
	const { user, system } = process.cpuUsage(cpu);
	return {
		pictures,
		seconds: Number(seconds.toFixed(2)),
		perMinute: Number(((60 * pictures) / seconds).toFixed(1)),
		cpuSeconds: Number(((user + system) / 1e6).toFixed(2))
	};
}

const control = new TrainingControl();
const emit = (): void => undefined;
const loras = [{ name: 'lora', sha256, blob: new Blob([bytes]) }];
const batch = args.batch === undefined ? {} : { batch: Number(args.batch) };
await model.weights(gpu, 'f16');

const single = await timed(cells.length, async () => {
	for (const { settings } of cells) {
		const strength = settings.networks[0]?.strength ?? 0;
		await drawSample({ gpu, model, storage: 'f16', openConditioner, control, emit }, { ...settings, loras: [{ bytes: bytes.slice().buffer, strength }] });
	}
});
const session = new PlotSession(gpu, model, openConditioner);
const all = await missingCells(cells, () => false, true);
const plot = await timed(all.size, () => session.draw({ cells: [...all.values()], loras, control, emit, ...batch }));
const again = await expandPlot({ ...parsed.plot, y: { kind: 'seed', values: [99] } }, { model: 'mini', resolution: 128 });
const warm = await timed(again.length, () => session.draw({ cells: again.map(({ settings }) => settings), loras, control, emit, ...batch }));
await session.close();
console.log(JSON.stringify({ adapter: gpu.adapter.description || gpu.adapter.device, steps: Number(args.steps), single, plot, warm }));
gpu.close();
process.exit(0);
