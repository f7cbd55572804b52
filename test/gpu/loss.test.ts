/** Losses and their gradients against the interpreter. */
import { describe, it } from 'vitest';
import { Case, everywhere, expectClose } from './compare';

const kinds = ['mse', 'l1', 'smoothL1'] as const;

describe.each(everywhere)('$name', ({ options, storage }) => {
	it.each([{ shape: [2, 16, 16, 4] }, { shape: [3, 5, 7, 4] }])('losses of $shape and their gradients', async ({ shape }) => {
		const made = new Case(storage);
		const { builder } = made;
		const pred = made.value(shape, 2);
		const target = made.single(shape, 2);
		const weight = made.given([shape[0] ?? 1], [0.5, 1.25, 2].slice(0, shape[0]));
		const mask = made.single(shape.slice(0, 3), 1);
		const outputs = Object.fromEntries(
			kinds.flatMap((kind) => {
				const out = made.fresh(`${kind} gradient`, shape);
				const maskedOut = made.fresh(`${kind} masked gradient`, shape);
				const gradient = { type: 'lossGrad', kind, pred, target, weight, scale: { factor: 8, scalar: builder.scalar('lossScale') } } as const;
				builder.emitter.push({ ...gradient, out });
				builder.emitter.push({ ...gradient, mask, out: maskedOut });
				return [
					[kind, builder.loss(kind, pred, target, weight)],
					[`${kind} masked`, builder.loss(kind, pred, target, weight, mask)],
					[`${kind} gradient`, out],
					[`${kind} masked gradient`, maskedOut]
				];
			})
		);
		// The mean of some 1000 terms, in 256 lanes and a tree: a dozen roundings.
		await expectClose(options, made, outputs, 16 * 2 ** -24, { lossScale: 64 });
	});
});
