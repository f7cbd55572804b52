/**
 * Pictures kept in strips of rows, so that no value is larger than a kernel may bind and a strip's memory is free again as soon as the last that reads it is done.
 * A strip may carry rows above and below that are not the picture's (what a convolution made of rows whose neighbours it did not see): nobody reads those.
 * Batches of one only; forward passes only.
 */
import type { GraphBuilder } from './builder';
import type { RowSpan, Value } from './ir';
import { channelsOf, elementsOf, GraphError, picture, rowsOf, show } from './shape';

export interface Strip {
	/** `[1, top + rows + bottom, W, C]` */
	readonly value: Value;
	/** Row of the picture that the strip begins with. */
	readonly from: number;
	readonly rows: number;
	/** Rows of the value before the first that counts. */
	readonly top: number;
}

export interface StripPlane {
	readonly strips: readonly Strip[];
	readonly height: number;
	readonly width: number;
	readonly channels: number;
}

/** A group norm whose statistics are known. */
export interface KnownNorm {
	readonly moments: Value;
	readonly gamma: Value;
	readonly beta: Value;
	readonly eps: number;
	readonly silu: boolean;
}

const storedRows = ({ value }: Strip): number => picture(value).height;

/** The plane as one value holds it. */
export function planeOf(value: Value): StripPlane {
	const { height, width, channels } = picture(value);
	return { strips: [{ value, from: 0, rows: height, top: 0 }], height, width, channels };
}

/** `[groups, 4]`: statistics of the whole picture, strip by strip; strips may be made one after the other while they are read. */
export function momentsOf(builder: GraphBuilder, { strips, channels }: { strips: Iterable<Strip>; channels: number }, groups: number, name: string): Value {
	if (channels % groups !== 0) throw new GraphError(`moments of ${name}: ${channels} channels do not divide into ${groups} groups.`);
	let before: Value | undefined;
	for (const strip of strips) {
		const skip = [strip.top, storedRows(strip) - strip.top - strip.rows] as const;
		const out = builder.emitter.value(`${name}.moments`, [groups, 4], 'f32');
		builder.emitter.push({ type: 'moments', x: strip.value, skip, groups, ...(before ? { before } : {}), out });
		before = out;
	}
	if (!before) throw new GraphError(`moments of ${name}: there are no strips.`);
	return before;
}

/** Rows `[from, to)` of the picture, `[1, to − from, W, C]`; zeros beyond its edges. A strip that is just that is given as it is. */
export function windowOf(builder: GraphBuilder, plane: StripPlane, from: number, to: number, name: string, norm?: KnownNorm): Value {
	const { strips, width, channels } = plane;
	const same = strips.find((strip) => strip.from === from && strip.rows === to - from && storedRows(strip) === strip.rows);
	if (same && !norm) return same.value;
	const parts: Value[] = [];
	const spans: RowSpan[] = [];
	for (const strip of strips) {
		const [first, end] = [Math.max(from, strip.from), Math.min(to, strip.from + strip.rows)];
		if (first >= end) continue;
		parts.push(strip.value);
		spans.push({ from: first - strip.from + strip.top, to: first - from, rows: end - first });
	}
	const out = builder.emitter.value(`${name}.rows`, [1, to - from, width, channels], 'f32');
	builder.emitter.push({ type: 'window', parts, spans, eps: 0, silu: false, ...norm, out });
	return out;
}

/** The strip that begins and ends where this one does, or such a window. */
export function alikeOf(builder: GraphBuilder, plane: StripPlane, like: { from: number; rows: number; top: number; stored: number }, name: string): Value {
	const same = plane.strips.find(
		(strip) => strip.from === like.from && strip.rows === like.rows && strip.top === like.top && storedRows(strip) === like.stored
	);
	return same?.value ?? windowOf(builder, plane, like.from - like.top, like.from - like.top + like.stored, name);
}

/** x `[1, 2R + 1, W, C]` → `[1, R, W/2, 9·C]`, for a convolution of stride 2 with zeros on the right and at the bottom only. */
export function patchesOf(builder: GraphBuilder, x: Value, name: string): Value {
	const { height, width, channels } = picture(x);
	if (height % 2 !== 1 || width % 2 !== 0) throw new GraphError(`patches of ${show(x)}: an odd number of rows and an even number of columns are needed.`);
	const out = builder.emitter.value(`${name}.patches`, [1, (height - 1) / 2, width / 2, 9 * channels], 'f32');
	builder.emitter.push({ type: 'patches', x, out });
	return out;
}

/**
 * softmax(q·kᵀ/√C)·v for one head of any width: the scores of all queries given are kept. q `[.., C]`, k and v `[T, C]` (T a multiple of 4) of which the first `valid` rows count → `[.., C]`.
 */
export function wideAttention(builder: GraphBuilder, q: Value, k: Value, v: Value, valid: number, name: string): Value {
	const { emitter } = builder;
	const [m, tokens, channels] = [rowsOf(q), rowsOf(k), channelsOf(q)];
	if (elementsOf(k.shape) !== elementsOf(v.shape) || channelsOf(k) !== channels)
		throw new GraphError(`${name}: ${show(q)}, ${show(k)} and ${show(v)} do not fit together.`);
	const scores = emitter.gemm({
		m,
		n: tokens,
		terms: [{ a: q, aMode: { kind: 'rows' }, b: k, bMode: { kind: 'nk' }, k: channels }],
		scale: { factor: channels ** -0.5 },
		out: emitter.value(`${name}.scores`, [m, tokens], 'f32')
	});
	const weights = emitter.value(`${name}.weights`, [m, tokens], 'f32');
	emitter.push({ type: 'softmax', x: scores, valid, out: weights });
	return emitter.gemm({
		m,
		n: channels,
		terms: [{ a: weights, aMode: { kind: 'rows' }, b: v, bMode: { kind: 'kn' }, k: tokens }],
		out: emitter.value(`${name}.mixed`, q.shape, 'f32')
	});
}
