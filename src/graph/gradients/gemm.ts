/**
 * Reverse rule of the gemm y = s·Σ A·Bᵀ + bias + rowBias + residual, for the terms the forward side makes (B stored `[N, K]`; `[K, N]` where two factors are
 * multiplied out).
 *
 * With g = s·dy `[M, N]`:
 * - dA = g·B (`rows`, B read as `[K, N]`); for a convolution dA gathers g at the output pixels each input pixel took part in,
 *   against the weight with its channel axes swapped; read upsampled, it is taken at the upsampled size and summed over 2×2 pixels;
 * - dB = gᵀ·A, A being rows or convolution patches; slices of B's columns come back as one concat;
 * - rowBias: the sum over the rows of an item; residual: dy itself.
 * An adapter needs nothing of its own: hs = s·x·Aᵀ and y += hs·Bᵀ are two gemms, so dB = dyᵀ·hs, dhs = s·dy·B, dA = dhsᵀ·x.
 */
import type { GemmOp, GemmTerm, Value } from '../ir';
import { batchOf, channelsOf, GraphError, isUnit, rowsOf, show } from '../shape';
import type { GradientContext } from './context';

/** dA, given to the term's left value. */
function leftGradient(op: GemmOp, term: GemmTerm, g: Value, context: GradientContext): void {
	const { emitter } = context;
	const { a, b, k, aMode } = term;
	const column = term.bColumn === undefined ? {} : { bColumn: term.bColumn };
	if (aMode.kind === 'rows') {
		const bMode: GemmTerm['bMode'] = { kind: term.bMode.kind === 'kn' ? 'nk' : 'kn' };
		const terms: GemmTerm[] = [{ a: g, aMode: { kind: 'rows' }, b, bMode, k: op.n, ...column }];
		context.give(a, emitter.gemm({ m: op.m, n: k, terms, out: context.fresh(a) }));
		return;
	}
	if (aMode.kind !== 'conv') throw new GraphError(`${show(op.out)}: there is no gradient of a gradient.`);
	const grow = aMode.upsample ? 2 : 1;
	const { stride, channels } = aMode;
	const [height, width] = [aMode.height * grow, aMode.width * grow];
	const terms: GemmTerm[] = [
		{ a: g, aMode: { kind: 'convTransposed', stride, height, width, channels: op.n }, b, bMode: { kind: 'convWeightTransposed', channels }, k: 9 * op.n }
	];
	const m = batchOf(a) * height * width;
	if (!aMode.upsample) {
		context.give(a, emitter.gemm({ m, n: channels, terms, out: context.fresh(a) }));
		return;
	}
	const full = emitter.gemm({ m, n: channels, terms, out: emitter.value(`d.${a.name}.upsampled`, [batchOf(a), height, width, channels], a.dtype) });
	const out = context.fresh(a);
	emitter.push({ type: 'sumPool2x2', x: full, out });
	context.give(a, out);
}

/** dB, given to the term's columns of the right value. */
function rightGradient(op: GemmOp, term: GemmTerm, g: Value, context: GradientContext): void {
	const { emitter } = context;
	const { a, b, k, aMode, bMode } = term;
	if (bMode.kind === 'kn' && aMode.kind === 'rows') {
		const terms: GemmTerm[] = [{ a, aMode: { kind: 'cols' }, b: g, bMode: { kind: 'kn' }, k: op.m }];
		context.give(b, emitter.gemm({ m: k, n: op.n, terms, out: context.fresh(b) }));
		return;
	}
	if (bMode.kind !== 'nk' || (aMode.kind !== 'rows' && aMode.kind !== 'conv')) throw new GraphError(`${show(op.out)}: there is no gradient of a gradient.`);
	const whole = k === channelsOf(b);
	const out = whole ? context.fresh(b) : emitter.value(`d.${b.name}.part`, [op.n, k], b.kind === 'parameter' ? 'f32' : b.dtype);
	const read: GemmTerm['bMode'] = aMode.kind === 'rows' ? { kind: 'kn' } : { ...aMode, kind: 'convPatches' };
	emitter.gemm({ m: op.n, n: k, terms: [{ a: g, aMode: { kind: 'cols' }, b: a, bMode: read, k: op.m }], out });
	if (whole) context.give(b, out);
	else context.giveChannels(b, term.bColumn ?? 0, out);
}

export function gemm(op: GemmOp, dy: Value, context: GradientContext): void {
	const { emitter } = context;
	const { bias, rowBias, residual, scale } = op;
	if (residual && context.wants(residual)) context.give(residual, dy);
	if (bias) context.refuse(bias, 'biases are frozen');
	if (rowBias && context.wants(rowBias)) {
		if (rowsOf(rowBias) !== batchOf(dy)) throw new GraphError(`The row bias ${show(rowBias)} must have one row per item of ${show(op.out)}.`);
		const out = context.fresh(rowBias);
		emitter.push({ type: 'rowSum', x: dy, out });
		context.give(rowBias, out);
	}
	if (!op.terms.some((term) => context.wants(term.a) || context.wants(term.b))) return;
	let g = dy;
	if (scale && !isUnit(scale)) {
		g = emitter.value(`${dy.name}.scaled`, dy.shape, dy.dtype);
		emitter.push({ type: 'scale', x: dy, scale, out: g });
	}
	for (const term of op.terms) {
		if (context.wants(term.b)) rightGradient(op, term, g, context);
		if (context.wants(term.a)) leftGradient(op, term, g, context);
	}
}
