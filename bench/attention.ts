/**
 * Attention alone: every kernel and shape of tile on the token counts and heads of SD1.5 and SDXL, one JSON line for each dispatch.
 *
 *   npx vite build --ssr bench/attention.ts --outDir dist/bench
 *   node dist/bench/attention.js [--kinds forward,grad_rows,grad_columns] [--shapes sdxl] [--variants own,block] [--check] [--repeats 20]
 *
 * A variant is `own` (what a program takes), columns×subgroups×strips of the subgroup-matrix kernel for wide heads, or without matrices `tile`, `block`, `tight block`. Large
 * shapes are compared with the first variant on the same halves, the small ones of --check with the interpreter; `error` is relative to the largest number.
 * Times are GPU timestamps of a dispatch alone, the best of the repeats, after the card was kept busy for a while. A variant that fails is a line with `failed`.
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
import { matrixTileFits, type AttentionKind } from '../src/kernels/attention-matrix';
import { lower, targetOf } from '../src/kernels/lower';
import { compile, type Program } from '../src/kernels/program';
import { WeightStore } from '../src/kernels/weights';

const { values: args } = parseArgs({
	options: {
		kinds: { type: 'string', default: 'forward,grad_rows,grad_columns' },
		shapes: { type: 'string', default: '' },
		variants: { type: 'string', default: 'tile,block,32x4x1,own' },
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
	shape('small, heads of 24', 70, 101, 2, 24),
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

function variantOf(text: string): AttentionChoice | undefined {
	if (text === 'own') return undefined;
	if (text === 'tile' || text === 'block' || text === 'tight block') return text;
	const [columns, subgroups, strips] = text.split('x').map(Number);
	if (!columns || !subgroups || !strips) throw new Error(`${text} is no variant.`);
	const tile = { columns, subgroups, strips };
	return { forward: tile, grad_rows: tile, grad_columns: tile };
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

// What a kernel computes can be checked on a software adapter, as if it were a GPU.
const gpu = await openGpu(await dawn([...FAST_FLAGS, EXACT_TIMES]), { unclamped: true, ...(args.check ? { software: false } : {}) });
const target = targetOf(gpu);
const kinds = KINDS.filter((kind) => args.kinds.split(',').includes(kind));
const repeats = Number(args.repeats);
line({ adapter: gpu.adapter.description || gpu.adapter.device, subgroupMatrix: gpu.subgroupMatrix, workgroupStorage: target.maxWorkgroupStorage });

interface Time {
	readonly ms: number;
	readonly flops: number;
	readonly shader: string;
}

/** A variant that compiled: its program, and per kind the best time of its dispatches. */
interface Entry {
	readonly text: string;
	readonly fitting: readonly AttentionKind[];
	readonly program: Program;
	readonly weights: WeightStore;
	readonly compileMs: number;
	readonly best: Map<string, Time>;
}

const kindOf = (label: string): AttentionKind =>
	label.startsWith('attentionGrad dq') ? 'grad_rows' : label.startsWith('attentionGrad') ? 'grad_columns' : 'forward';

async function compiled({ graph, feeds }: Made, text: string, fitting: readonly AttentionKind[]): Promise<Entry> {
	const variant = variantOf(text);
	const choice = typeof variant === 'object' ? Object.fromEntries(fitting.map((kind) => [kind, variant[kind]])) : variant;
	const weights = new WeightStore(gpu, 'f16');
	const started = performance.now();
	const program = await compile(gpu, graph, {
		weights,
		factors: [],
		label: 'attention',
		lower: (op) =>
			op.type === 'attention' ? lowerAttention(op, target, choice) : op.type === 'attentionGrad' ? lowerAttentionGrad(op, target, choice) : lower(op, target)
	});
	const compileMs = performance.now() - started;
	for (const [value, data] of feeds) program.write(value, data);
	return { text, fitting, program, weights, compileMs, best: new Map() };
}

async function time({ program, best }: Entry): Promise<void> {
	const sums = new Map<AttentionKind, Time>();
	for (const { family, label, ms, flops, shader } of await program.profile()) {
		if (family !== 'attention') continue;
		const kind = kindOf(label);
		const before = sums.get(kind);
		sums.set(kind, { ms: (before?.ms ?? 0) + ms, flops: (before?.flops ?? 0) + flops, shader: before ? `${before.shader}+${shader}` : shader });
	}
	for (const [kind, sum] of sums) if (sum.ms < (best.get(kind)?.ms ?? Infinity)) best.set(kind, sum);
}

/** Runs without a gap, so that the card's clock goes up and stays there. */
async function warm({ program }: Entry, ms: number): Promise<void> {
	for (const began = performance.now(); performance.now() - began < ms;) await program.run();
}

/** Kinds that a variant has a kernel for; the others are left to the general kernel and not reported. */
function kindsFitting(text: string, quads: number): AttentionKind[] {
	const variant = variantOf(text);
	if (typeof variant !== 'object') return kinds;
	return kinds.filter((kind) => {
		const tile = variant[kind];
		return tile && gpu.subgroupMatrix && matrixTileFits(kind, quads, tile, target);
	});
}

async function measure(shape: Shape, check: boolean): Promise<void> {
	const made = make(shape);
	const names = kinds.flatMap((kind) => RESULTS[kind]);
	const expected = new Map<string, ArrayLike<number>>();
	if (check) {
		const exact = interpret(made.graph, made.feeds, {});
		for (const name of names) expected.set(name, exact.get(made.results[name] as Value) ?? []);
	}
	const texts = args.variants.split(',').filter((text) => kindsFitting(text, shape.width / 4).length > 0);
	const entries = await Promise.all(
		texts.map((text) =>
			compiled(made, text, kindsFitting(text, shape.width / 4)).catch(
				(cause: unknown) => void line({ shape: shape.label, variant: text, failed: String(cause).slice(0, 600) })
			)
		)
	);
	const there = entries.filter((entry) => entry !== undefined);
	const quick = args.tiny || check;
	if (!quick && there[0]) await warm(there[0], 400);
	for (const entry of there) {
		if (!quick) await warm(entry, 40);
		for (let i = 0; i < (quick ? 1 : repeats); i++) await time(entry);
	}
	for (const { text, fitting, program, weights, compileMs, best } of there) {
		await program.run();
		await program.idle();
		gpu.check();
		const data = new Map<string, Float32Array>();
		for (const name of names) data.set(name, await program.read(made.results[name] as Value));
		if (!check && expected.size === 0) for (const [name, numbers] of data) expected.set(name, numbers);
		for (const kind of fitting) {
			const error = Object.fromEntries(RESULTS[kind].map((name) => [name, relativeError(data.get(name) ?? [], expected.get(name) ?? [])]));
			const { ms, flops, shader } = best.get(kind) ?? { ms: NaN, flops: NaN, shader: '' };
			line({ shape: shape.label, kind, variant: text, ms, tflops: flops / ms / 1e9, error, shader, compileMs });
		}
		program.destroy();
		weights.destroy();
	}
}

const tiny = (shape: Shape): Shape => ({ ...shape, queries: Math.min(shape.queries, 256), keys: Math.min(shape.keys, 256) });
if (args.check) for (const small of SMALL) if (wanted(small.label, args.shapes)) await measure(small, true);
if (!args.check) for (const large of LARGE) if (wanted(large.label, args.shapes)) await measure(args.tiny ? tiny(large) : large, false);
gpu.close();
process.exit(0);
