/**
 * Where a `WeightStore` puts its tensors, and what that takes, known before anything is loaded: buffers of one size are filled first-fit, larger tensors have buffers of their own, and a buffer
 * whose tensors are all known when the first of them comes in ends with the last of them.
 */
import { ALIGNMENT, alignUp } from '../gpu/buffers';
import { quantised, quantisedPlaces, type Base } from './int8';
import { countOf } from './weights-plan';

const CHUNK = 32 << 20;

export interface Chunk {
	/** What fits; once there is a buffer, its bytes. */
	size: number;
	used: number;
	buffer?: Promise<GPUBuffer>;
}

export function tensorBytes(shape: readonly number[], storage: 'f16' | 'f32', base: Base): number {
	const count = countOf(shape);
	return alignUp(quantised(shape, base) ? quantisedPlaces(count).end : count * (storage === 'f16' ? 2 : 4), 16);
}

/** Room for so many bytes, in a new chunk where the others have none. */
export function findRoom(chunks: Chunk[], bytes: number): { chunk: Chunk; offset: number } {
	let chunk = chunks.find(({ used, size }) => alignUp(used, ALIGNMENT) + bytes <= size);
	if (!chunk) chunks.push((chunk = { size: Math.max(bytes, CHUNK), used: 0 }));
	const offset = alignUp(chunk.used, ALIGNMENT);
	chunk.used = offset + bytes;
	return { chunk, offset };
}

/** @param shapes of tensors that are reserved together, in their order */
export function weightBytes(shapes: Iterable<readonly number[]>, storage: 'f16' | 'f32', base: Base = 'f16'): number {
	const chunks: Chunk[] = [];
	for (const shape of shapes) findRoom(chunks, tensorBytes(shape, storage, base));
	return chunks.reduce((sum, { used }) => sum + used, 0);
}
