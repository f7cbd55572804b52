/**
 * Small questions about values: how many elements, rows, channels. Everything is channels-last, so a picture `[B, H, W, C]` and
 * tokens `[B, N, C]` are both `[rows, C]` in memory and never need a reshape.
 */
import type { DType, Scale, Value } from './ir';

/** A graph that cannot be built (shapes do not fit) or cannot be run (a value was not fed). The message names the values. */
export class GraphError extends Error {
	override readonly name = 'GraphError';
}

export function elementsOf(shape: readonly number[]): number {
	return shape.reduce((product, size) => product * size, 1);
}

/** The last axis. */
export function channelsOf(value: Value): number {
	return value.shape[value.shape.length - 1] ?? 1;
}

/** Product of all axes but the last. */
export function rowsOf(value: Value): number {
	return elementsOf(value.shape.slice(0, -1));
}

export function batchOf(value: Value): number {
	return value.shape[0] ?? 1;
}

/** Rows of one batch item: H·W of a picture, N of tokens. */
export function rowsPerItem(value: Value): number {
	return rowsOf(value) / batchOf(value);
}

export function bytesPerElement(dtype: DType): number {
	return dtype === 'i8' ? 1 : dtype === 'f16' ? 2 : 4;
}

/** Bytes a value takes in storage. */
export function bytesOf(value: Value): number {
	return elementsOf(value.shape) * bytesPerElement(value.dtype) + (value.dtype === 'i8' ? 4 * rowsOf(value) : 0);
}

/** Output size of a 3×3 convolution with padding 1 along one axis. */
export function convSize(size: number, stride: 1 | 2): number {
	return Math.floor((size - 1) / stride) + 1;
}

/** `name [1, 16, 16, 4]`, for messages. */
export function show(value: Value): string {
	return `'${value.name}' [${value.shape.join(', ')}]`;
}

export function sameShape(a: Value, b: Value): boolean {
	return a.shape.length === b.shape.length && a.shape.every((size, axis) => size === b.shape[axis]);
}

/** Pictures `[B, H, W, C]` only. */
export function picture(value: Value): { batch: number; height: number; width: number; channels: number } {
	const [batch, height, width, channels, ...rest] = value.shape;
	if (batch === undefined || height === undefined || width === undefined || channels === undefined || rest.length > 0) {
		throw new GraphError(`A picture [B, H, W, C] is needed, but ${show(value)} has ${value.shape.length} axes.`);
	}
	return { batch, height, width, channels };
}

/** Whether two scales are the same number whatever the scalars hold. An absent scale is 1. */
export function sameScale(a: Scale | undefined, b: Scale | undefined): boolean {
	return (a?.factor ?? 1) === (b?.factor ?? 1) && a?.scalar?.name === b?.scalar?.name;
}

export function isUnit(scale: Scale | undefined): boolean {
	return scale === undefined || (scale.factor === 1 && scale.scalar === undefined);
}
