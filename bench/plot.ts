/**
 * A plot against the same pictures drawn one by one with `sample`, and how long a merged preview takes to follow its slider: seconds by phase, as one JSON line.
 * CPU seconds are this process's own (on a software adapter the "GPU" is in them), so that ratios mean something on a busy machine too.
 *
 *   npx vite build --ssr bench/plot.ts --outDir dist/bench
 *   node dist/bench/plot.js [--only single|plot|redraw] [--steps 4] [--strengths 4] [--seeds 3] [--batches 1,4] [--redraws 3] [--loras FILE,FILE]
 *
 * Start it in the project's folder; each part says on stderr what it took as soon as it is done, so that a run that is cut off has told something. Single pictures and the
 * plot draw with guidance; the plot draws its bases too. `--null`: on Dawn's adapter that computes nothing, so that what is left is this computer's own work (planning,
 * recording, uploading, decoding).
 */
import { openAsBlob, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { openGpu } from '../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../src/gpu/node';
import { conditionerOf, type Conditioner } from '../src/jobs/conditioner';
import { openModel } from '../src/jobs/model';
import { PlotSession, type PlotWork } from '../src/jobs/plot';
import { drawSample } from '../src/jobs/sampling';
import { tellCores } from '../src/onnx/session';
import { expandPlot, missingCells, type CellSettings, type PlotCell } from '../src/recipe/plot-cells';
import { parsePlot } from '../src/recipe/plot-schema';
import { TrainingControl } from '../src/training/events';

const { values: args } = parseArgs({
	options: {
		only: { type: 'string' },
		steps: { type: 'string', default: '4' },
		strengths: { type: 'string', default: '4' },
		seeds: { type: 'string', default: '3' },
		batches: { type: 'string', default: '' },
		redraws: { type: 'string', default: '3' },
		null: { type: 'boolean', default: false },
		loras: { type: 'string', default: ['adamw', 'lion', 'conv'].map((kind) => `test/fixtures/mini/reference/difference-${kind}.safetensors`).join() }
	}
});

tellCores(availableParallelism());
const gpu = await openGpu(await dawn(args.null ? ['backend=null', ...FAST_FLAGS] : FAST_FLAGS), args.null ? { software: false } : {});
const model = await openModel('bench', 'mini', await openAsBlob('public/models/mini.safetensors'));
const files = args.loras.split(',').map((path, i) => ({ name: `lora${i}`, sha256: String(i).repeat(64), bytes: readFileSync(path) }));
const loras = files.map(({ name, sha256, bytes }) => ({ name, sha256, blob: new Blob([new Uint8Array(bytes)]) }));
const control = new TrainingControl();

/** Seconds by the clock and of this process' CPU. Where decoding goes on beside sampling, the clock counts both and the CPU goes to whichever ends next. */
type Phases = Record<string, [number, number]>;

interface Taken {
	pictures: number;
	seconds: number;
	perMinute: number;
	cpuSeconds: number;
	phases: Phases;
}

const round = (x: number): number => Number(x.toFixed(3));

async function timed(label: string, pictures: number, work: (add: (phase: string, milliseconds: number) => void) => Promise<unknown>): Promise<Taken> {
	const phases: Phases = {};
	const cpuNow = (): number => {
		const { user, system } = process.cpuUsage();
		return (user + system) / 1e6;
	};
	const [began, cpu] = [performance.now(), cpuNow()];
	let last = cpu;
	await work((phase, milliseconds) => {
		const [clock, used] = phases[phase] ?? [0, 0];
		const now = cpuNow();
		phases[phase] = [clock + milliseconds / 1000, used + now - last];
		last = now;
	});
	const seconds = (performance.now() - began) / 1000;
	const taken = {
		pictures,
		seconds: round(seconds),
		perMinute: round((60 * pictures) / seconds),
		cpuSeconds: round(cpuNow() - cpu),
		phases: Object.fromEntries(Object.entries(phases).map(([phase, [clock, used]]) => [phase, [round(clock), round(used)] satisfies [number, number]]))
	};
	console.error(label, JSON.stringify(taken));
	return taken;
}

async function cellsOf(plot: object): Promise<PlotCell[]> {
	const parsed = parsePlot({ base: { prompt: '1girl, blue hair', steps: Number(args.steps), cfg: 5, sampler: 'ddim' }, ...plot });
	if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join(' '));
	return expandPlot(parsed.plot, { model: 'mini', resolution: 128 });
}

const one = { name: 'lora0', sha256: loras[0]?.sha256 };
const openConditioner = (): Promise<Conditioner> => Promise.resolve(conditionerOf(model.checkpoint));
const results: Record<string, unknown> = { adapter: args.null ? 'null' : gpu.adapter.description || gpu.adapter.device, steps: Number(args.steps) };
const wanted = (part: string): boolean => args.only === undefined || args.only === part;
results.weights = (await timed('weights', 0, () => model.weights(gpu, 'f16'))).seconds;

const cells = await cellsOf({
	loras: [one],
	x: { kind: 'strength', values: `0.5-2 [${args.strengths}]` },
	y: { kind: 'seed', values: `1-${args.seeds}` }
});

/** What one call of `sample` spends where, by the states it reports and around the conditioner. */
async function single(settings: CellSettings, add: (phase: string, milliseconds: number) => void): Promise<void> {
	let [phase, since] = ['read', performance.now()];
	const enter = (next: string): void => {
		add(phase, performance.now() - since);
		[phase, since] = [next, performance.now()];
	};
	const strength = settings.networks[0]?.strength ?? 0;
	await drawSample(
		{
			gpu,
			model,
			storage: 'f16',
			control,
			openConditioner: async () => {
				const real = await openConditioner();
				return { ...real, decode: (...given) => (enter('decode'), real.decode(...given)) };
			},
			emit: (event) => {
				if (event.type === 'state' && event.detail === undefined)
					enter(event.state === 'encoding' ? 'encode' : event.state === 'compiling' ? 'compile' : 'sample');
			}
		},
		{ ...settings, loras: [{ bytes: new Uint8Array(files[0]?.bytes ?? []).buffer, strength }] }
	);
	enter('');
}

if (wanted('single')) {
	// The first one compiles what the others find compiled.
	results.firstSingle = await timed('first single', 1, async (add) => single({ ...(cells[0]?.settings as CellSettings), seed: 77 }, add));
	results.single = await timed('single', cells.length, async (add) => {
		for (const { settings } of cells) await single(settings, add);
	});
}

const draw = (session: PlotSession, settings: readonly CellSettings[], add: PlotWork['onTime'], batch?: number): Promise<unknown> =>
	session.draw({ cells: settings, loras, control, emit: () => undefined, ...(add ? { onTime: add } : {}), ...(batch ? { batch } : {}) });

if (wanted('plot')) {
	const all = [...(await missingCells(cells, () => false, true)).values()];
	for (const batch of args.batches === '' ? [undefined] : args.batches.split(',').map(Number)) {
		const session = new PlotSession(gpu, model, openConditioner);
		const label = `plot${batch ? `, batch ${batch}` : ''}`;
		const cold = await timed(label, all.length, (add) => draw(session, all, add, batch));
		const again = (
			await cellsOf({
				loras: [one],
				x: { kind: 'strength', values: `0.5-2 [${args.strengths}]` },
				y: { kind: 'seed', values: `91-${90 + Number(args.seeds)}` }
			})
		).map(({ settings }) => settings);
		const warm = await timed(`${label}, warm`, again.length, (add) => draw(session, again, add, batch));
		results[label] = { cold, warm };
		await session.close();
	}
}

if (wanted('redraw')) {
	// The merge screen draws the parts side by side; a plot over dimensions merges them.
	for (const [label, dimension] of [
		['redraw, side by side', null],
		['redraw, merged into dimension 8', { kind: 'fixed', rank: 8 } as const]
	] as const) {
		const session = new PlotSession(gpu, model, openConditioner);
		const at = (ratio: number, seed: number): CellSettings => {
			const { width, height, prompt, negative, steps, cfg, sampler } = cells[0]?.settings as CellSettings;
			const parts = loras.map(({ sha256 }, i) => ({ sha256, ratio: dimension ? ratio - 0.1 * i : 1, blocks: null }));
			const networks = dimension
				? [{ parts, dimension, strength: 1 }]
				: parts.map((part, i) => ({ parts: [part], dimension: null, strength: ratio - 0.1 * i }));
			return { width, height, prompt, negative, steps, cfg, sampler, seed, networks };
		};
		const first = await timed(`${label}: first`, 1, (add) => draw(session, [at(0.6, 1)], add));
		const previews = await timed(`${label}: previews`, Number(args.redraws), async (add) => {
			for (let i = 0; i < Number(args.redraws); i++) await draw(session, [at(0.6, 2 + i)], add);
		});
		const redraws = await timed(`${label}: redraws`, Number(args.redraws), async (add) => {
			for (let i = 0; i < Number(args.redraws); i++) await draw(session, [at(0.5 - 0.05 * i, 1)], add);
		});
		results[label] = { first, previews, redraws, wall: round(redraws.seconds / previews.seconds), cpu: round(redraws.cpuSeconds / previews.cpuSeconds) };
		await session.close();
	}
}
console.log(JSON.stringify(results));
gpu.close();
process.exit(0);
