/**
 * Chooses tiles by measurement: a few sizes of each form of product that training is made of, every tile that this GPU can run, the quickest wins.
 *
 * Bounded in time: classes come in order of what they weigh in a step of SDXL, and whatever the budget does not reach keeps the heuristic. Results are remembered by adapter, driver or
 * browser, and kernels (`TuningCache`), and never change what is computed, only how it is cut into tiles.
 */
import { sourcesHash } from '../gpu/shaders';
import type { Gpu } from '../gpu/gpu';
import type { AMode, GemmOp, GemmTerm, Value, ValueKind } from '../graph/ir';
import { formOf, lowerGemm, type GemmChoice } from './gemm';
import { targetOf } from './lower';
import { allTiles, chooseTile, tilesFor, type Tile } from './tiles';
import { TimingBed } from './timing-bed';
import type { TunedClass, Tuning } from './tune-table';

/** Where results are kept between sessions: IndexedDB in a browser, a file in Node. */
export interface TuningCache {
	read(key: string): Promise<string | undefined>;
	write(key: string, text: string): Promise<void>;
}

interface TuneOptions {
	readonly budgetMs: number;
	readonly storage: 'f32' | 'f16';
	/** Classes done, of so many. Returning false ends the measurement with what there is. */
	readonly onProgress?: (done: number, total: number) => boolean;
}

/** What a measurement holds for; `platform` names the driver or browser. */
export function tuningKey(gpu: Gpu, storage: 'f32' | 'f16', platform: string): string {
	const { vendor, architecture, device, description } = gpu.adapter;
	const names = allTiles().map(({ name }) => name);
	return [
		vendor,
		architecture,
		device,
		description,
		platform,
		storage,
		gpu.subgroupMatrix ? 'matrices' : '',
		sourcesHash(/^(gemm|half|single|int8)/),
		names.join(' ')
	].join(' | ');
}

type Size = readonly [form: 'linear' | 'gradient' | 'narrow' | 'factor' | 'conv' | 'conv gradient', m: number, n: number, k: number];

/** By weight in a step of SDXL; for convolutions n and k/9 are channels and m a square. */
const SIZES: readonly Size[] = [
	['linear', 1024, 1280, 1280],
	['gradient', 1024, 1280, 10240],
	['linear', 1024, 10240, 1280],
	['linear', 1024, 1280, 5120],
	['gradient', 1024, 1280, 1280],
	['conv', 4096, 640, 5760],
	['conv gradient', 4096, 640, 5760],
	['linear', 4096, 640, 640],
	['gradient', 4096, 640, 640],
	['narrow', 1024, 16, 1280],
	['factor', 16, 1280, 1024],
	['factor', 1280, 16, 1024],
	['linear', 4096, 5120, 640],
	['conv', 16384, 320, 2880],
	['conv', 1024, 1280, 11520],
	['linear', 256, 1280, 1280],
	['linear', 77, 1280, 2048]
];

/** For adapters that take a second for what a GPU does in a millisecond. */
const SMALL_SIZES: readonly Size[] = [
	['linear', 64, 64, 64],
	['gradient', 64, 64, 64],
	['narrow', 64, 16, 64]
];

let ids = 0;
const value = (name: string, shape: readonly number[], dtype: 'f32' | 'f16', kind: ValueKind = 'intermediate'): Value => ({
	id: --ids,
	name,
	shape,
	dtype,
	kind
});

function operation([form, m, n, k]: Size, storage: 'f32' | 'f16'): GemmOp {
	const out = value('y', [m, n], form === 'factor' ? 'f32' : storage);
	const rows: AMode = { kind: 'rows' };
	const side = Math.sqrt(m);
	const term = (): GemmTerm => {
		switch (form) {
			case 'linear':
				return { a: value('x', [m, k], storage), aMode: rows, b: value('w', [n, k], storage, 'constant'), bMode: { kind: 'nk' }, k };
			case 'gradient':
				return { a: value('x', [m, k], storage), aMode: rows, b: value('w', [k, n], storage, 'constant'), bMode: { kind: 'kn' }, k };
			case 'narrow':
				return { a: value('x', [m, k], storage), aMode: rows, b: value('w', [n, k], 'f32', 'parameter'), bMode: { kind: 'nk' }, k };
			case 'factor':
				return { a: value('g', [k, m], storage), aMode: { kind: 'cols' }, b: value('x', [k, n], storage), bMode: { kind: 'kn' }, k };
			case 'conv': {
				const channels = k / 9;
				const aMode: AMode = { kind: 'conv', stride: 1, upsample: false, height: side, width: side, channels };
				return { a: value('x', [1, side, side, channels], storage), aMode, b: value('w', [n, k], storage, 'constant'), bMode: { kind: 'nk' }, k };
			}
			case 'conv gradient': {
				const channels = k / 9;
				const aMode: AMode = { kind: 'convTransposed', stride: 1, height: side, width: side, channels };
				return {
					a: value('dy', [1, side, side, channels], storage),
					aMode,
					b: value('w', [channels, 9 * n], storage, 'constant'),
					bMode: { kind: 'convWeightTransposed', channels: n },
					k
				};
			}
		}
	};
	return { type: 'gemm', m, n, terms: [term()], out };
}

async function measureClass(gpu: Gpu, size: Size, storage: 'f32' | 'f16', warmMs: number): Promise<TunedClass | undefined> {
	const [, m, n, k] = size;
	const op = operation(size, storage);
	const target = targetOf(gpu);
	const plain = { ...target, tuning: undefined };
	const form = formOf(op.terms);
	const problem = { m, n, k, halves: storage === 'f16', form };
	const usual = chooseTile(problem, plain);
	const tiles: Tile[] = [usual, ...tilesFor(problem, plain).filter((tile) => tile !== usual)];
	const bed = new TimingBed(gpu);
	try {
		const lowered = tiles.map((tile): { tile: Tile; choice: GemmChoice } => ({ tile, choice: { tile } }));
		const dispatches = lowered.map(({ choice }) => lowerGemm(op, plain, choice));
		await Promise.all(dispatches.map((list) => bed.compile(list)));
		const times = await bed.time(dispatches, { takeMs: 2, mostRepeats: 200, rounds: 2, warmMs });
		const rate = (ms: number): number => (2 * m * n * k) / ms / 1e9;
		const first = times[0] ?? Infinity;
		let winner = 0;
		times.forEach((ms, i) => {
			if (ms < (times[winner] ?? Infinity)) winner = i;
		});
		return {
			form,
			m,
			n,
			k,
			best: { tile: tiles[winner]?.name ?? usual.name, tflops: rate(times[winner] ?? first) },
			heuristic: { tile: usual.name, tflops: rate(first) }
		};
	} finally {
		bed.destroy();
	}
}

/** Measures until the budget is used up; the last class that was begun is finished. */
export async function measureTuning(gpu: Gpu, key: string, options: TuneOptions): Promise<Tuning> {
	const sizes = gpu.adapter.software ? SMALL_SIZES : SIZES;
	const started = performance.now();
	const classes: TunedClass[] = [];
	for (const [i, size] of sizes.entries()) {
		if (performance.now() - started > options.budgetMs || options.onProgress?.(i, sizes.length) === false) break;
		const measured = await measureClass(gpu, size, options.storage, gpu.adapter.software ? 0 : i === 0 ? 300 : 60);
		if (measured) classes.push(measured);
	}
	return { key, seconds: (performance.now() - started) / 1000, classes };
}

/** What was measured before for this key; undefined where there is nothing, or nothing that can be read. */
export async function rememberedTuning(cache: TuningCache, key: string): Promise<Tuning | undefined> {
	const text = await cache.read(key).catch(() => undefined);
	if (text === undefined) return undefined;
	try {
		const parsed = JSON.parse(text) as Tuning;
		return parsed.key === key && Array.isArray(parsed.classes) ? parsed : undefined;
	} catch {
		return undefined;
	}
}

export async function rememberTuning(cache: TuningCache, tuning: Tuning): Promise<void> {
	await cache.write(tuning.key, JSON.stringify(tuning));
}
