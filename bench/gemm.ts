/**
 * Matrix products and convolutions alone: kernel configurations × the sizes and forms a training step is made of, one JSON line for each.
 *
 *   npx vite build --ssr bench/gemm.ts --outDir dist/bench
 *   node dist/bench/gemm.js [--sets square,sdxl,sd15] [--kinds tile,matrix,strip] [--plain] [--splits 1,2,3] [--storage f16|f32] [--base f16|int8] [--tiles NAME,…] [--forms linear,…] [--best] [--seconds 200]
 *
 * Everything is compiled first. Every result is compared with a slow kernel that reads storage directly (`error` is relative to the largest number); a configuration that fails is a line
 * with `failed`. Then all configurations of a problem run back to back after a warm-up, between GPU timestamps around many repetitions of the operation (both dispatches of a split one), so
 * small operands come from the cache as they often do in a run. `gauge` lines are one kernel always the same: if they differ, the GPU's clock moved. --best tries only what the heuristic chooses, --plain as
 * if there were no subgroup matrices. Of --splits (0: as the heuristic would) those that would make thousands of workgroups are left out.
 */
import { parseArgs } from 'node:util';
import { openGpu } from '../src/gpu/gpu';
import { CHECKED_FLAGS, dawn, FAST_FLAGS } from '../src/gpu/node';
import { EXACT_TIMES } from '../src/helper/platform';
import type { GemmOp } from '../src/graph/ir';
import type { Dispatch, Target } from '../src/kernels/dispatch';
import { lowerGemm, type GemmChoice } from '../src/kernels/gemm';
import { targetOf } from '../src/kernels/lower';
import { allTiles, coverOf, FAT_TILES, tileFits, type Tile } from '../src/kernels/tiles';
import { TimingBed } from '../src/kernels/timing-bed';
import { linear, problems, type Problem } from './gemm/problems';

const { values: args } = parseArgs({
	options: {
		sets: { type: 'string', default: 'square,sdxl,sd15' },
		kinds: { type: 'string', default: 'tile,matrix,strip' },
		storage: { type: 'string', default: 'f16' },
		base: { type: 'string', default: 'f16' },
		tiles: { type: 'string', default: '' },
		forms: { type: 'string', default: '' },
		splits: { type: 'string', default: '0' },
		best: { type: 'boolean', default: false },
		plain: { type: 'boolean', default: false },
		checked: { type: 'boolean', default: false },
		seconds: { type: 'string', default: '600' },
		take: { type: 'string', default: '3' },
		warm: { type: 'string', default: '300' }
	}
});

const until = performance.now() + 1000 * Number(args.seconds);
const line = (value: object): void =>
	void process.stdout.write(`${JSON.stringify(value, (_, x: unknown) => (typeof x === 'number' && !Number.isInteger(x) ? Number(x.toPrecision(4)) : x))}\n`);
const list = (text: string): string[] => text.split(',').filter((part) => part !== '');

const gpu = await openGpu(await dawn([...(args.checked ? CHECKED_FLAGS : FAST_FLAGS), EXACT_TIMES]));
const target: Target = { ...targetOf(gpu), ...(args.plain ? { subgroupMatrix: false } : {}) };
const kind = { storage: args.storage === 'f32' ? 'f32' : 'f16', base: args.base === 'int8' ? 'int8' : 'f16' } as const;
line({ adapter: gpu.adapter.description || gpu.adapter.device, subgroupMatrix: gpu.subgroupMatrix, workgroupMemory: target.maxWorkgroupStorage, ...kind });

const kinds = list(args.kinds);
const named = list(args.tiles);
const tiles = allTiles().filter(
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

interface Candidate {
	readonly choice: GemmChoice | undefined;
	readonly dispatches: readonly Dispatch[];
}

/** Narrow tiles for narrow results, wide ones for wide. */
function suits(tile: Tile, { m, n }: GemmOp): boolean {
	const { rows, columns } = coverOf(tile);
	const narrow = Math.min(m, n) <= 32;
	return narrow ? rows <= Math.max(64, 2 * m) && columns <= Math.max(64, 2 * n) : Math.min(rows, columns) >= 32;
}

/** Workgroups beyond which nothing is gained by more. */
const MANY = 1000;

/** What can compute a problem: the heuristic's choice, then every tile. */
function candidatesFor({ op }: Problem): Candidate[] {
	const choices: (GemmChoice | undefined)[] = [undefined];
	for (const tile of args.best ? [] : tiles.filter((one) => suits(one, op))) {
		const { rows, columns } = coverOf(tile);
		const groups = Math.ceil(op.m / rows) * Math.ceil(op.n / columns);
		const splits = tile.kind === 'tile' || tile.kind === 'matrix' ? list(args.splits).map(Number) : [1];
		for (const split of splits) if (split <= 1 || split * groups <= MANY) choices.push(split === 0 ? { tile } : { tile, split });
	}
	return choices.flatMap((choice) => {
		try {
			return [{ choice, dispatches: lowerGemm(op, target, choice) }];
		} catch {
			return [];
		}
	});
}

const gauge = linear({ storage: 'f16', base: 'f16' }, 4096, 4096, 4096).op;
const gaugeBed = new TimingBed(gpu);

/** One kernel always the same, after a warm-up: tells whether the GPU's clock has stayed what it was. */
async function readGauge(): Promise<void> {
	const [ms = 0] = await gaugeBed.time([lowerGemm(gauge, target)], { takeMs: 10, rounds: 2, mostRepeats: 100, warmMs: Number(args.warm) });
	line({ gauge: (2 * 4096 ** 3) / ms / 1e9 });
}

async function sweep(problem: Problem): Promise<void> {
	const bed = new TimingBed(gpu);
	const { op, form, label } = problem;
	const flops = op.terms.reduce((sum, { k }) => sum + 2 * op.m * op.n * k, 0);
	try {
		await bed.run(lowerGemm(op, target, reference));
		const expected = await bands(bed, problem);
		const right: (Candidate & { error: number })[] = [];
		for (const candidate of candidatesFor(problem)) {
			const what = { form, label, tile: candidate.choice?.tile.name ?? 'heuristic', split: candidate.choice?.split ?? 0 };
			try {
				await bed.clear(op.out);
				await bed.run(candidate.dispatches);
				right.push({ ...candidate, error: difference(await bands(bed, problem), expected) });
			} catch (cause) {
				line({ ...what, failed: String(cause instanceof Error ? cause.message : cause).slice(0, 300) });
				gpu.check();
			}
		}
		const times = await bed.time(
			right.map(({ dispatches }) => dispatches),
			{ takeMs: Number(args.take), rounds: 3, mostRepeats: 300, warmMs: Number(args.warm) }
		);
		right.forEach(({ choice, dispatches, error }, i) => {
			const ms = times[i] ?? NaN;
			const kernel = (dispatches[0]?.label ?? '').replace(/^gemm .*×\d+ /, '');
			line({ form, label, tile: choice?.tile.name ?? 'heuristic', split: choice?.split ?? 0, us: ms * 1000, tflops: flops / ms / 1e9, error, kernel });
		});
	} finally {
		bed.destroy();
	}
}

const forms = list(args.forms);
const wanted = list(args.sets)
	.flatMap((set) => problems(kind, set))
	.filter(({ form }) => forms.length === 0 || forms.includes(form));
const compiling = performance.now();
const failures = new Map<string, string>();
await Promise.all(
	wanted.flatMap((problem) =>
		candidatesFor(problem).map(({ choice, dispatches }) =>
			gaugeBed.compile(dispatches).catch((cause: unknown) => failures.set(`${problem.form} ${choice?.tile.name ?? ''}`, String(cause).slice(0, 300)))
		)
	)
);
line({ compileSeconds: (performance.now() - compiling) / 1000, failures: [...failures] });
if (Number(args.warm) > 0) await readGauge();
for (const problem of wanted) {
	if (performance.now() > until) break;
	await sweep(problem);
}
if (Number(args.warm) > 0) await readGauge();
line({ end: true });
// Dawn keeps the process alive while its instance exists.
process.exit(0);
