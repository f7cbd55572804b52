/** Elementwise operations and operations that only move or sum numbers, in float64. */
import type {
	AddOp,
	CastOp,
	ConcatOp,
	GegluGradOp,
	GegluOp,
	GeluGradOp,
	GeluOp,
	MultiplyOp,
	RowSumOp,
	ScaleOp,
	SiluGradOp,
	SiluOp,
	SliceOp,
	SumPool2x2Op,
	Upsample2xOp
} from '../ir';
import { batchOf, channelsOf, picture, rowsOf, rowsPerItem } from '../shape';
import type { Tensors } from './tensors';

export function sigmoid(x: number): number {
	return 1 / (1 + Math.exp(-x));
}

/** erf to full double precision: (2/√π)·e^(−x²)·Σ 2ⁿx^(2n+1)/(2n+1)!!, all terms of one sign (Abramowitz & Stegun 7.1.6). */
export function erf(x: number): number {
	if (Math.abs(x) > 6) return Math.sign(x);
	let term = x;
	let sum = x;
	for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
		term *= (2 * x * x) / (2 * n + 1);
		sum += term;
	}
	return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** Φ(x), the normal distribution's cumulative function: gelu(x) = x·Φ(x). */
function normalCdf(x: number): number {
	return 0.5 * (1 + erf(x / Math.SQRT2));
}

export function silu(op: SiluOp, tensors: Tensors): void {
	const x = tensors.get(op.x);
	tensors.make(op.out).set(x.map((value) => value * sigmoid(value)));
}

export function siluGrad(op: SiluGradOp, tensors: Tensors): void {
	const x = tensors.get(op.x);
	const dy = tensors.get(op.dy);
	const out = tensors.make(op.out);
	x.forEach((value, i) => {
		const gate = sigmoid(value);
		out[i] = (dy[i] as number) * gate * (1 + value * (1 - gate));
	});
}

export function geglu(op: GegluOp, tensors: Tensors): void {
	const x = tensors.get(op.x);
	const out = tensors.make(op.out);
	const channels = channelsOf(op.out);
	for (let i = 0; i < out.length; i++) {
		const at = Math.floor(i / channels) * 2 * channels + (i % channels);
		const gate = x[at + channels] as number;
		out[i] = (x[at] as number) * gate * normalCdf(gate);
	}
}

/** dvalue = dy·gelu(gate), dgate = dy·value·(Φ(gate) + gate·φ(gate)). */
export function gegluGrad(op: GegluGradOp, tensors: Tensors): void {
	const x = tensors.get(op.x);
	const dy = tensors.get(op.dy);
	const out = tensors.make(op.out);
	const channels = channelsOf(op.dy);
	for (let i = 0; i < dy.length; i++) {
		const at = Math.floor(i / channels) * 2 * channels + (i % channels);
		const gate = x[at + channels] as number;
		out[at] = (dy[i] as number) * gate * normalCdf(gate);
		out[at + channels] = (dy[i] as number) * (x[at] as number) * geluSlope(gate);
	}
}

/** Φ(x) + x·φ(x). */
function geluSlope(x: number): number {
	return normalCdf(x) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
}

export function gelu(op: GeluOp, tensors: Tensors): void {
	const x = tensors.get(op.x);
	tensors.make(op.out).set(x.map((value) => value * normalCdf(value)));
}

export function geluGrad(op: GeluGradOp, tensors: Tensors): void {
	const dy = tensors.get(op.dy);
	const slopes = tensors.get(op.x).map(geluSlope);
	tensors.make(op.out).set(slopes.map((slope, i) => slope * (dy[i] as number)));
}

export function add(op: AddOp, tensors: Tensors): void {
	const a = tensors.get(op.a);
	const b = tensors.get(op.b);
	tensors.make(op.out).set(a.map((value, i) => value + (b[i] as number)));
}

export function multiply(op: MultiplyOp, tensors: Tensors): void {
	const a = tensors.get(op.a);
	const b = tensors.get(op.b);
	tensors.make(op.out).set(a.map((value, i) => value * (b[i] as number)));
}

export function scale(op: ScaleOp, tensors: Tensors): void {
	const factor = tensors.scale(op.scale);
	tensors.make(op.out).set(tensors.get(op.x).map((value) => value * factor));
}

export function cast(op: CastOp, tensors: Tensors): void {
	tensors.make(op.out).set(tensors.get(op.x));
}

export function concat(op: ConcatOp, tensors: Tensors): void {
	const out = tensors.make(op.out);
	const channels = channelsOf(op.out);
	let column = 0;
	for (const part of op.parts) {
		const data = tensors.get(part);
		const width = channelsOf(part);
		for (let row = 0; row < rowsOf(part); row++) out.set(data.subarray(row * width, (row + 1) * width), row * channels + column);
		column += width;
	}
}

export function slice(op: SliceOp, tensors: Tensors): void {
	const x = tensors.get(op.x);
	const out = tensors.make(op.out);
	const channels = channelsOf(op.x);
	const width = channelsOf(op.out);
	for (let row = 0; row < rowsOf(op.x); row++) out.set(x.subarray(row * channels + op.start, row * channels + op.start + width), row * width);
}

/** Calls back with the first element of every fine pixel and of the coarse pixel it belongs to. */
function eachPixel(fine: { batch: number; height: number; width: number; channels: number }, visit: (fine: number, coarse: number) => void): void {
	const { batch, height, width, channels } = fine;
	for (let row = 0; row < batch * height; row++) {
		for (let x = 0; x < width; x++) visit((row * width + x) * channels, ((row >> 1) * (width >> 1) + (x >> 1)) * channels);
	}
}

export function upsample2x(op: Upsample2xOp, tensors: Tensors): void {
	const x = tensors.get(op.x);
	const out = tensors.make(op.out);
	const size = picture(op.out);
	eachPixel(size, (fine, coarse) => out.set(x.subarray(coarse, coarse + size.channels), fine));
}

export function sumPool2x2(op: SumPool2x2Op, tensors: Tensors): void {
	const x = tensors.get(op.x);
	const out = tensors.make(op.out);
	const size = picture(op.x);
	eachPixel(size, (fine, coarse) => {
		for (let c = 0; c < size.channels; c++) out[coarse + c] = (out[coarse + c] as number) + (x[fine + c] as number);
	});
}

export function rowSum(op: RowSumOp, tensors: Tensors): void {
	const x = tensors.get(op.x);
	const out = tensors.make(op.out);
	const channels = channelsOf(op.x);
	const rows = rowsPerItem(op.x);
	for (let b = 0; b < batchOf(op.x); b++) {
		for (let row = 0; row < rows; row++) {
			for (let c = 0; c < channels; c++) out[b * channels + c] = (out[b * channels + c] as number) + (x[(b * rows + row) * channels + c] as number);
		}
	}
}
