/**
 * Kernels that touch every number once: add, multiply, scale, cast, SiLU, GEGLU, moving channels, resampling, row sums, time embedding, noising.
 *
 * Rule: shapes travel in `params`, only storage types and the kind of operation are baked, so the whole network shares a few pipelines.
 * One invocation per quad of channels; every channel count is a multiple of 4 (checked here, with the value's name).
 */
import type {
	AddOp,
	CastOp,
	ConcatOp,
	GegluGradOp,
	GegluOp,
	MultiplyOp,
	NoisedOp,
	RowSumOp,
	ScaleOp,
	SiluGradOp,
	SiluOp,
	SinusoidOp,
	SliceOp,
	SumPool2x2Op,
	Upsample2xOp,
	Value
} from '../graph/ir';
import type { Binding, Dispatch, Scratch, Slot, Target } from './dispatch';
import { bytesOf, elementsOf, flatWorkgroups, halves, labelOf, packParams, read, scaleParams, write, type Lowerings } from './lowering';

const WORKGROUP = 256;
const FAMILY = 'pointwise';

const channelsOf = (value: Value): number => value.shape[value.shape.length - 1] ?? 1;
const batchOf = (value: Value): number => value.shape[0] ?? 1;
const totalBytes = (bindings: readonly Binding[]): number => bindings.reduce((sum, { slot }) => sum + bytesOf(slot), 0);

/** Elements in quads; throws when they do not divide. */
export function quadsOf(slot: Slot): number {
	const elements = elementsOf(slot);
	if (elements % 4 !== 0) throw new Error(`${'scratch' in slot ? slot.scratch : slot.name} has ${elements} elements, not a multiple of 4.`);
	return elements / 4;
}

/** Channels in quads; throws when they do not divide. */
export function quadColumns(value: Value): number {
	const channels = channelsOf(value);
	if (channels % 4 !== 0) throw new Error(`${value.name} [${value.shape.join(', ')}] has ${channels} channels, not a multiple of 4.`);
	return channels / 4;
}

interface Flat {
	readonly shader: string;
	readonly label: string;
	readonly conditions: Readonly<Record<string, boolean>>;
	readonly bindings: readonly Binding[];
	readonly params: ArrayBuffer;
	/** Invocations. */
	readonly count: number;
	/** Floating-point operations per invocation. */
	readonly work: number;
	readonly family?: string;
	readonly bytes?: number;
}

/** A dispatch of one invocation per quad. */
export function flatDispatch(flat: Flat, target: Target): Dispatch {
	const workgroup = Math.min(WORKGROUP, target.maxWorkgroupInvocations);
	return {
		shader: flat.shader,
		conditions: flat.conditions,
		constants: { WORKGROUP: workgroup },
		bindings: flat.bindings,
		params: flat.params,
		workgroups: flatWorkgroups(flat.count, workgroup, target),
		label: flat.label,
		family: flat.family ?? FAMILY,
		flops: flat.count * flat.work,
		bytes: flat.bytes ?? totalBytes(flat.bindings)
	};
}

/** `out = x · scale`, which between two storages is a cast. */
function scaled(type: string, x: Value, out: Value, scale: ScaleOp['scale'], target: Target): Dispatch {
	if (x.dtype === 'u32' || out.dtype === 'u32') throw new Error(`${type} ${out.name}: whole numbers are not converted on the GPU.`);
	const quads = quadsOf(out);
	return flatDispatch(
		{
			shader: 'elementwise',
			label: labelOf(type, out),
			conditions: halves(target, { x, out }),
			bindings: [read(x), write(out)],
			params: packParams(quads, ...scaleParams(scale)),
			count: quads,
			work: 4
		},
		target
	);
}

function lowerScale(op: ScaleOp, target: Target): Dispatch[] {
	return [scaled('scale', op.x, op.out, op.scale, target)];
}

function lowerCast(op: CastOp, target: Target): Dispatch[] {
	return [scaled('cast', op.x, op.out, { factor: 1 }, target)];
}

function lowerAdd({ a, b, out }: AddOp, target: Target): Dispatch[] {
	// A value is never bound twice in one dispatch: a + a is 2·a.
	if (a === b) return [scaled('add', a, out, { factor: 2 }, target)];
	const quads = quadsOf(out);
	const conditions = { ...halves(target, { x: a, other: b, out }), add: true };
	return [
		flatDispatch(
			{
				shader: 'elementwise',
				label: labelOf('add', out),
				conditions,
				bindings: [read(a), read(b), write(out)],
				params: packParams(quads),
				count: quads,
				work: 4
			},
			target
		)
	];
}

function lowerMultiply({ a, b, out }: MultiplyOp, target: Target): Dispatch[] {
	if (a === b) throw new Error(`multiply ${out.name}: squares are not lowered; a value is never bound twice.`);
	const quads = quadsOf(out);
	const conditions = { ...halves(target, { x: a, other: b, out }), multiply: true };
	const bindings = [read(a), read(b), write(out)];
	return [
		flatDispatch({ shader: 'elementwise', label: labelOf('multiply', out), conditions, bindings, params: packParams(quads), count: quads, work: 4 }, target)
	];
}

function lowerSilu({ x, out }: SiluOp, target: Target): Dispatch[] {
	const quads = quadsOf(out);
	const conditions = { ...halves(target, { x, out }), silu: true };
	return [
		flatDispatch(
			{ shader: 'elementwise', label: labelOf('silu', out), conditions, bindings: [read(x), write(out)], params: packParams(quads), count: quads, work: 24 },
			target
		)
	];
}

function lowerSiluGrad({ x, dy, out }: SiluGradOp, target: Target): Dispatch[] {
	const quads = quadsOf(out);
	const conditions = { ...halves(target, { x, other: dy, out }), silu_grad: true };
	return [
		flatDispatch(
			{
				shader: 'elementwise',
				label: labelOf('siluGrad', out),
				conditions,
				bindings: [read(x), read(dy), write(out)],
				params: packParams(quads),
				count: quads,
				work: 40
			},
			target
		)
	];
}

function lowerGeglu({ x, out }: GegluOp, target: Target): Dispatch[] {
	const quads = quadsOf(out);
	const conditions = halves(target, { x, out });
	const params = packParams(quads, quadColumns(out));
	return [
		flatDispatch({ shader: 'geglu', label: labelOf('geglu', out), conditions, bindings: [read(x), write(out)], params, count: quads, work: 160 }, target)
	];
}

function lowerGegluGrad({ x, dy, out }: GegluGradOp, target: Target): Dispatch[] {
	const quads = quadsOf(dy);
	const conditions = { ...halves(target, { x, dy, out }), gradient: true };
	const params = packParams(quads, quadColumns(dy));
	return [
		flatDispatch(
			{ shader: 'geglu', label: labelOf('gegluGrad', out), conditions, bindings: [read(x), read(dy), write(out)], params, count: quads, work: 340 },
			target
		)
	];
}

/** Two parts per dispatch, each into its own range of the result. */
function lowerConcat({ parts, out }: ConcatOp, target: Target): Dispatch[] {
	const columns = quadColumns(out);
	const rows = elementsOf(out) / channelsOf(out);
	const dispatches: Dispatch[] = [];
	let start = 0;
	for (let index = 0; index < parts.length;) {
		const a = parts[index];
		if (!a) break;
		const next = parts[index + 1];
		// The same value twice cannot be bound twice: then one at a time.
		const b = next && next !== a ? next : undefined;
		const aColumns = quadColumns(a);
		const bColumns = b ? quadColumns(b) : 0;
		const quads = rows * (aColumns + bColumns);
		dispatches.push(
			flatDispatch(
				{
					shader: 'channels',
					label: labelOf('concat', out),
					conditions: b ? { ...halves(target, { a, b, out }), pair: true } : halves(target, { a, out }),
					bindings: b ? [read(a), read(b), write(out)] : [read(a), write(out)],
					params: packParams(quads, aColumns, bColumns, aColumns, 0, columns, start),
					count: quads,
					work: 0,
					bytes: bytesOf(a) + (b ? bytesOf(b) : 0) + (bytesOf(out) * (aColumns + bColumns)) / columns
				},
				target
			)
		);
		start += aColumns + bColumns;
		index += b ? 2 : 1;
	}
	if (start !== columns) throw new Error(`concat ${out.name}: the parts have ${start * 4} channels, the result ${columns * 4}.`);
	return dispatches;
}

function lowerSlice({ x, start, out }: SliceOp, target: Target): Dispatch[] {
	if (start % 4 !== 0) throw new Error(`slice ${out.name} starts at channel ${start}, not a multiple of 4.`);
	const quads = quadsOf(out);
	const columns = quadColumns(out);
	return [
		flatDispatch(
			{
				shader: 'channels',
				label: labelOf('slice', out),
				conditions: halves(target, { a: x, out }),
				bindings: [read(x), write(out)],
				params: packParams(quads, columns, 0, quadColumns(x), start / 4, columns, 0),
				count: quads,
				work: 0,
				bytes: 2 * bytesOf(out)
			},
			target
		)
	];
}

/** `small` is the picture with fewer pixels: x when upsampling, out when pooling. */
function resampled(type: string, small: Value, x: Value, out: Value, pool: boolean, target: Target): Dispatch[] {
	const quads = quadsOf(small);
	const width = small.shape[2] ?? 1;
	const conditions = { ...halves(target, { x, out }), pool };
	const params = packParams(quads, width, quadColumns(small));
	return [
		flatDispatch(
			{ shader: 'resample', label: labelOf(type, out), conditions, bindings: [read(x), write(out)], params, count: quads, work: pool ? 12 : 0 },
			target
		)
	];
}

function lowerUpsample({ x, out }: Upsample2xOp, target: Target): Dispatch[] {
	return resampled('upsample2x', x, x, out, false, target);
}

function lowerSumPool({ x, out }: SumPool2x2Op, target: Target): Dispatch[] {
	return resampled('sumPool2x2', out, x, out, true, target);
}

/** Rows beyond this are first summed in chunks, so that a tall picture still fills the machine. */
const ROW_SUM_CHUNK = 512;

function lowerRowSum({ x, out }: RowSumOp, target: Target): Dispatch[] {
	const columns = quadColumns(out);
	const batch = batchOf(out);
	const rows = quadsOf(x) / columns / batch;
	const lanes = target.software ? 1 : 16;
	const sum = (from: Slot, to: Slot, height: number, chunk: number): Dispatch => {
		const chunks = Math.ceil(height / chunk);
		return {
			shader: 'row_sum',
			conditions: { ...halves(target, { x: from, out: to }), software: target.software },
			constants: { COLUMNS: 16, LANES: lanes },
			bindings: [read(from), write(to)],
			params: packParams(height, chunk, chunks, columns),
			workgroups: [Math.ceil(columns / 16), batch * chunks, 1],
			label: labelOf('rowSum', out),
			family: FAMILY,
			flops: elementsOf(from),
			bytes: bytesOf(from) + bytesOf(to)
		};
	};
	if (rows <= ROW_SUM_CHUNK || target.software) return [sum(x, out, rows, rows)];
	const chunks = Math.ceil(rows / ROW_SUM_CHUNK);
	const partial: Scratch = { scratch: 'rowSum.partial', elements: batch * chunks * columns * 4, dtype: 'f32' };
	return [sum(x, partial, rows, ROW_SUM_CHUNK), sum(partial, out, chunks, chunks)];
}

function lowerSinusoid({ t, out }: SinusoidOp, target: Target): Dispatch[] {
	const dim = channelsOf(out);
	if (dim % 8 !== 0) throw new Error(`sinusoid ${out.name}: ${dim} channels, not a multiple of 8.`);
	const quads = quadsOf(out) / 2;
	const params = packParams(quads, dim / 8);
	return [
		flatDispatch(
			{
				shader: 'sinusoid',
				label: labelOf('sinusoid', out),
				conditions: halves(target, { out }),
				bindings: [read(t), write(out)],
				params,
				count: quads,
				work: 200
			},
			target
		)
	];
}

function lowerNoised({ x0, noise, coef, out }: NoisedOp, target: Target): Dispatch[] {
	const quads = quadsOf(out);
	const params = packParams(quads, quads / batchOf(out), quadsOf(x0));
	const bindings = [read(x0), read(noise), read(coef), write(out)];
	return [
		flatDispatch(
			{ shader: 'noised', label: labelOf('noised', out), conditions: halves(target, { x0, noise, out }), bindings, params, count: quads, work: 12 },
			target
		)
	];
}

export const pointwise = {
	add: lowerAdd,
	multiply: lowerMultiply,
	scale: lowerScale,
	cast: lowerCast,
	silu: lowerSilu,
	siluGrad: lowerSiluGrad,
	geglu: lowerGeglu,
	gegluGrad: lowerGegluGrad,
	concat: lowerConcat,
	slice: lowerSlice,
	upsample2x: lowerUpsample,
	sumPool2x2: lowerSumPool,
	rowSum: lowerRowSum,
	sinusoid: lowerSinusoid,
	noised: lowerNoised
} satisfies Partial<Lowerings>;
