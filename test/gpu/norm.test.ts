/** GroupNorm and LayerNorm with their gradients against the interpreter. */
import { describe, expect, it } from 'vitest';
import { Case, compare, everywhere, expectClose } from './compare';

/** Sums of some thousand terms in lanes and trees, a square root, an exponential: what remains in f32 stays under this. */
const TOLERANCE = 64 * 2 ** -24;

interface Shape {
	readonly what: string;
	readonly shape: readonly number[];
	readonly groups: number;
	readonly offset?: number;
}

const shapes: readonly Shape[] = [
	{ what: 'mini, two channels a group', shape: [2, 16, 16, 64], groups: 32 },
	{ what: 'mini, a quad a group', shape: [2, 4, 4, 128], groups: 32 },
	{ what: 'mini skip concat, six channels a group', shape: [1, 8, 8, 192], groups: 32 },
	{ what: 'five channels a group, four groups a block', shape: [1, 3, 5, 160], groups: 32 },
	{ what: 'SD1.5-like, ten channels a group', shape: [1, 8, 8, 320], groups: 32 },
	{ what: 'SD1.5-like skip concat, thirty channels a group', shape: [1, 4, 4, 960], groups: 32 },
	{ what: 'SDXL-like, eighty channels a group', shape: [1, 4, 4, 2560], groups: 32 },
	{ what: 'a large common offset', shape: [1, 16, 16, 64], groups: 32, offset: 64 },
	{ what: 'tall enough for three dispatches', shape: [2, 36, 36, 80], groups: 2 },
	{ what: 'tall, a straddling group and a large common offset', shape: [1, 50, 50, 40], groups: 4, offset: 64 }
];

describe.each(everywhere)('$name', ({ options, storage }) => {
	it.each(shapes)('groupNorm of $what', async ({ shape, groups, offset }) => {
		for (const silu of shape[3] === 64 ? [true, false] : [true]) {
			const made = new Case(storage);
			const { builder } = made;
			const channels = shape[3] ?? 0;
			const x = made.value(shape, 2, offset ?? 0.25);
			const gamma = made.constant([channels], 0.5, 1);
			const beta = made.constant([channels], 0.5);
			const dy = made.value(shape);
			const out = builder.groupNorm(x, gamma, beta, { groups, eps: 1e-5, silu });
			const forward = builder.emitter.ops.find((op) => op.type === 'groupNorm');
			if (!forward) throw new Error('the builder made no groupNorm');
			const dx = made.fresh('dx', shape);
			const residual = silu && shape[0] === 2 ? { residual: made.value(shape) } : {};
			builder.emitter.push({ type: 'groupNormGrad', dy, x, gamma, beta, stats: forward.stats, groups, silu, ...residual, out: dx });
			// With an offset of 64 the differences from the mean start with 64·2^-24 of rounding in x̂.
			await expectClose(options, made, { out, stats: forward.stats, dx }, offset ? 4 * TOLERANCE : TOLERANCE);
		}
	});

	it.each([
		{ what: 'mini', shape: [2, 16, 16, 64] },
		{ what: 'two quads a lane', shape: [1, 77, 256] },
		{ what: 'rows that the lanes do not divide', shape: [1, 9, 200] }
	])('layerNorm of $what', async ({ shape }) => {
		const made = new Case(storage);
		const { builder } = made;
		const channels = shape[shape.length - 1] ?? 0;
		const x = made.value(shape, 2, 0.5);
		const gamma = made.constant([channels], 0.5, 1);
		const beta = made.constant([channels], 0.5);
		const out = builder.layerNorm(x, gamma, beta, 1e-5);
		const forward = builder.emitter.ops.find((op) => op.type === 'layerNorm');
		if (!forward) throw new Error('the builder made no layerNorm');
		const dx = made.fresh('dx', shape);
		const residual = shape[1] === 77 ? { residual: made.value(shape) } : {};
		builder.emitter.push({ type: 'layerNormGrad', dy: made.value(shape), x, gamma, stats: forward.stats, ...residual, out: dx });
		await expectClose(options, made, { out, stats: forward.stats, dx }, TOLERANCE);
	});
});

it('gives the same bits every time', async () => {
	const run = async (): Promise<number[]> => {
		const made = new Case('f16');
		const out = made.builder.groupNorm(made.value([1, 36, 36, 80]), made.constant([80]), made.constant([80]), { groups: 2, eps: 1e-5, silu: true });
		const [result] = await compare({ software: false }, made, [out]);
		return Array.from(result?.actual ?? []);
	};
	expect(await run()).toEqual(await run());
});
