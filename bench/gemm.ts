/**
 * Matrix products and convolutions alone: kernel configurations × the sizes and forms a training step is made of, one JSON line for each.
 *
 *   npx vite build --ssr bench/gemm.ts --outDir dist/bench
 *   node dist/bench/gemm.js [--sets square,sdxl,sd15] [--kinds tile,matrix] [--storage f16|f32] [--base f16|int8] [--tiles NAME,…] [--forms linear,…] [--best] [--seconds 200]
 *
 * Every result is compared with a slow kernel that reads storage directly (`error` is relative to the largest number); a configuration that fails is a line with `failed`. Times are between
 * two GPU timestamps around many repetitions of one operation (both dispatches of a split one), so small operands come from the cache as they often do in a run. --best tries only what the
 * heuristic chooses.
 */
import { parseArgs } from 'node:util';
import { openGpu } from '../src/gpu/gpu';
import { CHECKED_FLAGS, dawn, FAST_FLAGS } from '../src/gpu/node';
import { EXACT_TIMES } from '../src/helper/platform';
import { lowerGemm, type GemmChoice } from '../src/kernels/gemm';
import { targetOf } from '../src/kernels/lower';
import { FAT_TILES, LANES_TILES, MATRIX_TILES, STAGED_TILES, tileFits } from '../src/kernels/tiles';
import { TimingBed } from '../src/kernels/timing-bed';
import { problems, type Problem } from './gemm/problems';

const { values: args } = parseArgs({
	options: {
		sets: { type: 'string', default: 'square,sdxl,sd15' },
		kinds: { type: 'string', default: 'tile,matrix' },
		storage: { type: 'string', default: 'f16' },
		base: { type: 'string', default: 'f16' },
		tiles: { type: 'string', default: '' },
		forms: { type: 'string', default: '' },
		splits: { type: 'string', default: '0' },
		best: { type: 'boolean', default: false },
		checked: { type: 'boolean', default: false },
		seconds: { type: 'string', default: '600' },
		take: { type: 'string', default: '6' }
	}
});

const until = performance.now() + 1000 * Number(args.seconds);
const line = (value: object): void =>
	void process.stdout.write(`${JSON.stringify(value, (_, x: unknown) => (typeof x === 'number' && !Number.isInteger(x) ? Number(x.toPrecision(4)) : x))}\n`);
const list = (text: string): string[] => text.split(',').filter((part) => part !== '');

const gpu = await openGpu(await dawn([...(args.checked ? CHECKED_FLAGS : FAST_FLAGS), EXACT_TIMES]));
const target = targetOf(gpu);
const kind = { storage: args.storage === 'f32' ? 'f32' : 'f16', base: args.base === 'int8' ? 'int8' : 'f16' } as const;
line({ adapter: gpu.adapter.description || gpu.adapter.device, subgroupMatrix: gpu.subgroupMatrix, workgroupMemory: target.maxWorkgroupStorage, ...kind });

const kinds = list(args.kinds);
const named = list(args.tiles);
const tiles = [...STAGED_TILES, ...MATRIX_TILES, ...LANES_TILES, ...FAT_TILES].filter(
	(tile) =>
		kinds.includes(tile.kind) && tileFits(tile, target) && (named.length === 0 || named.includes(tile.name)) && (tile.kind !== 'matrix' || gpu.subgroupMatrix)
);
const reference: GemmChoice = { tile: FAT_TILES[0] ?? never(), split: 1 };

function never(): never {
	throw new Error('There is no reference kernel.');
}

/** Bands of the result that are compared. */
const BAND = 1 << 14;

async function bands(bed: TimingBed, { op }: Problem): Promise<Float32Array[]> {
	const size = op.m * op.n;
	const count = Math.min(BAND, size);
	return Promise.all([0, Math.floor((size - count) / 8) * 4, size - count].map((start) => bed.read(op.out, start, count)));
}

function difference(actual: readonly Float32Array[], expected: readonly Float32Array[]): number {
	let [worst, scale] = [0, 0];
	expected.forEach((band, i) =>
		band.forEach((x, j) => {
			const off = Math.abs((actual[i]?.[j] ?? NaN) - x);
			if (!(off <= worst)) worst = off;
			scale = Math.max(scale, Math.abs(x));
		})
	);
	return worst / scale;
}

async function sweep(problem: Problem): Promise<void> {
	const bed = new TimingBed(gpu);
	const { op, form, label } = problem;
	const flops = op.terms.reduce((sum, { k }) => sum + 2 * op.m * op.n * k, 0);
	const options = { takeMs: Number(args.take), takes: 2, mostRepeats: 500 };
	try {
		await bed.time(lowerGemm(op, target, reference), { takeMs: 0, takes: 0, mostRepeats: 1 });
		const expected = await bands(bed, problem);
		const choices: (GemmChoice | undefined)[] = [undefined];
		if (!args.best) for (const tile of tiles) for (const split of list(args.splits)) choices.push(split === '0' ? { tile } : { tile, split: Number(split) });
		for (const choice of choices) {
			if (performance.now() > until) return;
			const what = { form, label, flops, tile: choice?.tile.name ?? 'heuristic', split: choice?.split ?? 0 };
			try {
				const dispatches = lowerGemm(op, target, choice);
				await bed.spoil(op.out);
				const { ms, compileMs } = await bed.time(dispatches, options);
				const error = difference(await bands(bed, problem), expected);
				line({
					...what,
					us: ms * 1000,
					tflops: flops / ms / 1e9,
					error,
					compileMs: Math.round(compileMs),
					kernel:
						dispatches[0]?.label.split(' ').slice(-1)[0] === 'slices'
							? dispatches[0].label.split(' ').slice(-4).join(' ')
							: dispatches[0]?.label.split(' ').slice(-1)[0]
				});
			} catch (cause) {
				line({ ...what, failed: String(cause instanceof Error ? cause.message : cause).slice(0, 300) });
				gpu.check();
			}
		}
	} finally {
		bed.destroy();
	}
}

const forms = list(args.forms);
for (const set of list(args.sets)) {
	for (const problem of problems(kind, set)) {
		if (performance.now() > until) break;
		if (forms.length > 0 && !forms.includes(problem.form)) continue;
		await sweep(problem);
	}
}
line({ end: true });
// Dawn keeps the process alive while its instance exists.
process.exit(0);
