/** Attention forward and backward against the interpreter, which makes the whole token × token matrix in float64. */
import { expect, it } from 'vitest';
import type { Value } from '../../src/graph/ir';
import { Case, compare, everywhere, HALF_ULP, type Storage } from './compare';
import { nullGpu, openTestGpu, prepareGraph } from './harness';

/** Scores up to about ten, exponentials within a few ULP of theirs, sums of up to 256 terms. */
const TOLERANCE = 128 * 2 ** -24;

interface Shape {
	readonly what: string;
	readonly batch: number;
	readonly queries: number;
	readonly keys: number;
	readonly heads: number;
	readonly width: number;
	readonly sharp?: number;
	readonly causal?: true;
}

const shapes: readonly Shape[] = [
	{ what: 'mini self attention, heads of 8', batch: 2, queries: 100, keys: 100, heads: 2, width: 8 },
	{ what: 'mini cross attention, heads of 16, 77 keys', batch: 2, queries: 64, keys: 77, heads: 2, width: 16 },
	{ what: 'causal, heads of 12', batch: 2, queries: 77, keys: 77, heads: 2, width: 12, causal: true },
	{ what: 'causal, heads of 44', batch: 1, queries: 77, keys: 77, heads: 2, width: 44, causal: true },
	{ what: 'a single query and key, heads of 4', batch: 1, queries: 1, keys: 1, heads: 3, width: 4 },
	{ what: 'SD1.5-like, heads of 40, 77 keys', batch: 1, queries: 70, keys: 77, heads: 2, width: 40 },
	{ what: 'SDXL-like, heads of 64', batch: 1, queries: 65, keys: 97, heads: 2, width: 64, sharp: 4 },
	{ what: 'SD1.5-like, heads of 80', batch: 1, queries: 33, keys: 35, heads: 1, width: 80 },
	{ what: 'many queries, few keys: gradients in slices', batch: 2, queries: 520, keys: 19, heads: 2, width: 24 },
	{ what: 'SD1.5-like, heads of 160', batch: 1, queries: 66, keys: 33, heads: 1, width: 160 }
];

/** q, k, v and what differentiation asks for, with the values to look at. */
function attend(
	{ batch, queries, keys, heads, width, sharp, causal }: Shape,
	storage: Storage
): { made: Case; out: Value; lse: Value; dq: Value; dk: Value; dv: Value } {
	const made = new Case(storage);
	const { builder } = made;
	const channels = heads * width;
	const q = made.value([batch, queries, channels], sharp ?? 2);
	const k = made.value([batch, keys, channels], sharp ?? 2);
	const v = made.value([batch, keys, channels]);
	const dout = made.value([batch, queries, channels]);
	const out = builder.attention(q, k, v, heads, causal);
	const forward = builder.emitter.ops.find((op) => op.type === 'attention');
	if (!forward) throw new Error('the builder made no attention');
	const [dq, dk, dv] = [made.fresh('dq', q.shape), made.fresh('dk', k.shape), made.fresh('dv', v.shape)];
	const { lse, scale } = forward;
	builder.emitter.push({ type: 'attentionGrad', q, k, v, o: out, lse, dout, heads, scale, ...(causal ? { causal } : {}), dq, dk, dv });
	return { made, out, lse, dq, dk, dv };
}

/**
 * Software adapters compile these kernels for seconds each, so on them every width runs once and every machine at least once; a real GPU runs
 * everything. What is left out is still compiled by the null device below.
 */
const SLOW_SUBSET: Readonly<Record<string, readonly number[]>> = {
	'software kernels, f32': [8, 12, 16, 64],
	'software kernels, f16': [8],
	'software kernels without shader-f16, f16': [8],
	'GPU kernels, f32': [44],
	'GPU kernels without shader-f16, f16': [24]
};
const slow = (await openTestGpu()).adapter.software;
const cases = everywhere.flatMap((machine) =>
	shapes
		.filter(({ width }) => !slow || SLOW_SUBSET[machine.name]?.includes(width))
		.map((shape) => ({ ...machine, shape, title: `${machine.name}: ${shape.what}` }))
);

it.each(cases)('$title', async ({ options, storage, shape }) => {
	const { made, out, lse, dq, dk, dv } = attend(shape, storage);
	// D is taken from the stored output: in halves it carries that rounding, spread over a row's gradient.
	const stored = storage === 'f16' ? HALF_ULP : 0;
	const results = await compare(options, made, [out, lse, dq, dk, dv]);
	const allowed = [TOLERANCE + stored, TOLERANCE, TOLERANCE + 2 * stored, TOLERANCE + 2 * stored, TOLERANCE + 2 * stored];
	results.forEach(({ error }, i) => expect(error, ['out', 'lse', 'dq', 'dk', 'dv'][i]).toBeLessThanOrEqual(allowed[i] ?? 0));
});

it.each(everywhere)('compiles for every width: $name', async ({ options, storage }) => {
	const gpu = await nullGpu(options);
	for (const shape of shapes) {
		const { made, out, lse, dq, dk, dv } = attend(shape, storage);
		const bench = await prepareGraph(gpu, made.builder.finish([out, lse, dq, dk, dv]), made.feeds);
		bench.destroy();
		gpu.check();
	}
});

it('does not overflow where scores are huge', async () => {
	const made = new Case('f32');
	const q = made.single([1, 5, 8], 100);
	const out = made.builder.attention(q, made.single([1, 9, 8], 100), made.single([1, 9, 8]), 1);
	const [result] = await compare({ software: true }, made, [out]);
	// Scores reach some ten thousand: their last bit is 1e-3, and so is the error of the weights.
	expect(result?.error).toBeLessThanOrEqual(4e-3);
});
