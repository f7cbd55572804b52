/**
 * Attention alone: every kernel and shape of tile on the token counts and heads of SD1.5 and SDXL, one JSON line for each dispatch.
 *
 *   npx vite build --ssr bench/attention.ts --outDir dist/bench
 *   node dist/bench/attention.js [--kinds forward,grad_rows,grad_columns] [--shapes sdxl] [--variants 64x4x1,tile] [--check] [--repeats 20]
 *
 * A variant is columns×subgroups×strips of the subgroup-matrix kernel, or `tile`, `block`, `tight block` (no matrices). Large shapes are compared with the tile kernel on the same
 * halves, the small ones of --check with the interpreter; `error` is relative to the largest number. Times are GPU timestamps of a dispatch alone, the best of the repeats.
 * A variant that fails is a line with `failed`.
 */
import { parseArgs } from 'node:util';
import { halfBits, halfValue } from '../src/formats/half';
import { openGpu } from '../src/gpu/gpu';
import { dawn, FAST_FLAGS } from '../src/gpu/node';
import { GraphBuilder } from '../src/graph/builder';
import { interpret } from '../src/graph/interpret';
import type { Graph, Value } from '../src/graph/ir';
import { EXACT_TIMES } from '../src/helper/platform';
import { lowerAttention, lowerAttentionGrad, type AttentionChoice } from '../src/kernels/attention';
import { matrixTileFits, type AttentionKind, type MatrixTile } from '../src/kernels/attention-matrix';
import { lower, targetOf } from '../src/kernels/lower';
import { compile } from '../src/kernels/program';
import { WeightStore } from '../src/kernels/weights';

const { values: args } = parseArgs({
	options: {
		kinds: { type: 'string', default: 'forward,grad_rows,grad_columns' },
		shapes: { type: 'string', default: '' },
		variants: { type: 'string', default: 'tile,block,tight block,64x4x1,32x4x1,32x4x2,64x2x1,32x2x1,32x8x1' },
		check: { type: 'boolean', default: false },
		tiny: { type: 'boolean', default: false },
		repeats: { type: 'string', default: '20' }
	}
});

interface Shape {
	readonly label: string;
	readonly batch: number;
	readonly queries: number;
	readonly keys: number;
	readonly heads: number;
	readonly width: number;
}

const shape = (label: string, queries: number, keys: number, heads: number, width: number, batch = 1): Shape => ({ label, batch, queries, keys, heads, width });

const LARGE: readonly Shape[] = [
	shape('sdxl 64² self', 4096, 4096, 10, 64),
	shape('sdxl 32² self', 1024, 1024, 20, 64),
	shape('sdxl 64² cross', 4096, 77, 10, 64),
	shape('sdxl 32² cross', 1024, 77, 20, 64),
	shape('sd15 64² self', 4096, 4096, 8, 40),
	shape('sd15 32² self', 1024, 1024, 8, 80),
	shape('sd15 16² self', 256, 256, 8, 160),
	shape('sd15 64² cross', 4096, 77, 8, 40)
];

const SMALL: readonly Shape[] = [
	shape('small, heads of 8', 100, 100, 2, 8, 2),
	shape('small, heads of 16, 77 keys', 64, 77, 2, 16, 2),
	shape('small, heads of 40', 70, 77, 2, 40),
	shape('small, heads of 64', 130, 197, 2, 64, 2),
	shape('small, heads of 80', 33, 35, 1, 80),
	shape('small, heads of 160', 66, 70, 1, 160)
];

const KINDS: readonly AttentionKind[] = ['forward', 'grad_rows', 'grad_columns'];
const wanted = (name: string, list: string): boolean => list === '' || list.split(',').some((part) => name.includes(part));
const line = (value: unknown): void =>
	void process.stdout.write(`${JSON.stringify(value, (_, x: unknown) => (typeof x === 'number' && !Number.isInteger(x) ? Number(x.toPrecision(4)) : x))}\n`);

function variantOf(text: string): MatrixTile | 'tile' | 'block' | 'tight block' {
	if (text === 'block' || text === 'tight block') return text;
	const [columns, subgroups, strips] = text.split('x').map(Number);
	return columns && subgroups && strips ? { columns, subgroups, strips } : 'tile';
}

interface Made {
	readonly graph: Graph;
	readonly feeds: ReadonlyMap<Value, Float32Array>;
	/** By name of the result: out, lse, dq, dk, dv. */
	readonly results: Readonly<Record<string, Value>>;
}

/** Scores a few units apart, as trained networks have them; all numbers are halves already. */
function make({ batch, queries, keys, heads, width }: Shape): Made {
	const builder = new GraphBuilder({ storage: 'f16' });
	const feeds = new Map<Value, Float32Array>();
	let seed = 1;
	const given = (tokens: number, scale: number): Value => {
		const value = builder.input(`input ${seed++}`, [batch, tokens, heads * width]);
		let state = (seed * 2654435761) >>> 0;
		const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
		feeds.set(
			value,
			Float32Array.from({ length: batch * tokens * heads * width }, () => halfValue(halfBits((next() + next() + next() + next() - 2) * scale)))
		);
		return builder.cast(value, 'f16');
	};
	const [q, k, v, dout] = [given(queries, 2), given(keys, 2), given(keys, 1), given(queries, 1)];
	const out = builder.attention(q, k, v, heads);
	const forward = builder.emitter.ops.find((op) => op.type === 'attention');
	if (!forward) throw new Error('the builder made no attention');
	const fresh = (name: string, like: Value): Value => builder.emitter.value(name, like.shape, 'f16');
	const [dq, dk, dv] = [fresh('dq', q), fresh('dk', k), fresh('dv', v)];
	const { lse, scale } = forward;
	builder.emitter.push({ type: 'attentionGrad', q, k, v, o: out, lse, dout, heads, scale, dq, dk, dv });
	return { graph: builder.finish([out, lse, dq, dk, dv]), feeds, results: { out, lse, dq, dk, dv } };
}

const RESULTS: Readonly<Record<AttentionKind, readonly string[]>> = { forward: ['out', 'lse'], grad_rows: ['dq'], grad_columns: ['dk', 'dv'] };

function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
	let worst = 0;
	let scale = 0;
	for (let i = 0; i < expected.length; i++) {
		const difference = Math.abs((actual[i] ?? NaN) - (expected[i] ?? NaN));
		if (Number.isNaN(difference)) return NaN;
		worst = Math.max(worst, difference);
		scale = Math.max(scale, Math.abs(expected[i] ?? 0));
	}
	return worst / scale;
}

const gpu = await openGpu(await dawn([...FAST_FLAGS, EXACT_TIMES]));
const target = targetOf(gpu);
const kinds = KINDS.filter((kind) => args.kinds.split(',').includes(kind));
const repeats = Number(args.repeats);
line({ adapter: gpu.adapter.description || gpu.adapter.device, subgroupMatrix: gpu.subgroupMatrix, workgroupStorage: target.maxWorkgroupStorage });

/** Results by name, and per kind the best time of its dispatches and their work. */
interface Outcome {
	readonly data: Map<string, Float32Array>;
	readonly times: Map<string, { ms: number; flops: number; bytes: number; shader: string }>;
	readonly compileMs: number;
}

async function attempt({ graph, feeds, results }: Made, choice: AttentionChoice | undefined, names: readonly string[], times: number): Promise<Outcome> {
	const weights = new WeightStore(gpu, 'f16');
	const started = performance.now();
	const program = await compile(gpu, graph, {
		weights,
		factors: [],
		label: 'attention',
		lower: (op, machine) =>
			op.type === 'attention' ? lowerAttention(op, machine, choice) : op.type === 'attentionGrad' ? lowerAttentionGrad(op, machine, choice) : lower(op, machine)
	});
	const compileMs = performance.now() - started;
	try {
		for (const [value, data] of feeds) program.write(value, data);
		const best: Outcome['times'] = new Map();
		// A GPU that is busy in short bursts runs at a fraction of its clock; the queue stays full for a while first.
		if (!args.tiny && !args.check) for (const began = performance.now(); performance.now() - began < 400;) await program.run();
		for (let i = 0; i < times; i++) {
			let nth = 0;
			const sums = new Map<string, { ms: number; flops: number; bytes: number; shader: string }>();
			for (const timing of await program.profile()) {
				if (timing.family !== 'attention') continue;
				const kind = timing.label.startsWith('attentionGrad dq') ? 'grad_rows' : timing.label.startsWith('attentionGrad') ? 'grad_columns' : 'forward';
				nth++;
				const before = sums.get(kind);
				sums.set(kind, {
					ms: (before?.ms ?? 0) + timing.ms,
					flops: (before?.flops ?? 0) + timing.flops,
					bytes: (before?.bytes ?? 0) + timing.bytes,
					shader: before ? `${before.shader}+${timing.shader}` : timing.shader
				});
			}
			if (nth === 0) throw new Error('nothing was timed');
			for (const [kind, sum] of sums) if (sum.ms < (best.get(kind)?.ms ?? Infinity)) best.set(kind, sum);
		}
		await program.run();
		await program.idle();
		gpu.check();
		const data = new Map<string, Float32Array>();
		for (const name of names) data.set(name, await program.read(results[name] as Value));
		return { data, times: best, compileMs };
	} finally {
		program.destroy();
		weights.destroy();
	}
}

async function measure(shape: Shape, check: boolean): Promise<void> {
	const made = make(shape);
	const names = kinds.flatMap((kind) => RESULTS[kind]);
	const expected = new Map<string, ArrayLike<number>>();
	if (check) {
		const exact = interpret(made.graph, made.feeds, {});
		for (const name of names) expected.set(name, exact.get(made.results[name] as Value) ?? []);
	}
	const quads = shape.width / 4;
	for (const text of args.variants.split(',')) {
		const tile = variantOf(text);
		// A kind that this shape of tile does not fit is left to the general kernel and not reported.
		const fitting = kinds.filter((kind) => typeof tile === 'string' || (gpu.subgroupMatrix && matrixTileFits(kind, quads, tile, target)));
		if (fitting.length === 0) continue;
		const choice: AttentionChoice = typeof tile === 'string' ? tile : Object.fromEntries(fitting.map((kind) => [kind, tile]));
		try {
			const { data, times, compileMs } = await attempt(made, choice, names, check ? 1 : repeats);
			if (!check && tile === 'tile') for (const [name, numbers] of data) expected.set(name, numbers);
			for (const kind of fitting) {
				const time = times.get(kind);
				const error = Object.fromEntries(RESULTS[kind].map((name) => [name, relativeError(data.get(name) ?? [], expected.get(name) ?? [])]));
				const { ms, flops, shader } = time ?? { ms: NaN, flops: NaN, shader: '' };
				line({ shape: shape.label, kind, variant: text, ms, tflops: flops / ms / 1e9, error, shader, compileMs });
			}
		} catch (cause) {
			line({ shape: shape.label, kinds: fitting, variant: text, failed: String(cause).slice(0, 600) });
		}
	}
}

const tiny = (shape: Shape): Shape => ({ ...shape, queries: Math.min(shape.queries, 256), keys: Math.min(shape.keys, 256) });
if (args.check) for (const small of SMALL) if (wanted(small.label, args.shapes)) await measure(small, true);
if (!args.check) for (const large of LARGE) if (wanted(large.label, args.shapes)) await measure(args.tiny ? tiny(large) : large, false);
gpu.close();
process.exit(0);
