/** The mini model and PyTorch's numbers for it. */
import { readFileSync } from 'node:fs';
import { openCheckpoint, type Checkpoint } from '../../../src/diffusion/checkpoint';
import { openSafetensors, type SafetensorsFile } from '../../../src/formats/safetensors';
import { bytesSource } from '../../../src/formats/source';

const root = new URL('../../../', import.meta.url);

export function bytesOf(path: string): Uint8Array {
	return readFileSync(new URL(path, root));
}

export function miniCheckpoint(): Promise<Checkpoint> {
	return openCheckpoint(bytesSource(bytesOf('public/models/mini.safetensors')));
}

export function goldenVectors(): Promise<SafetensorsFile> {
	return openSafetensors(bytesSource(bytesOf('test/fixtures/mini/reference/vectors.safetensors')));
}

/** ‖actual − expected‖ / ‖expected‖; NaN when sizes differ. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
	if (actual.length !== expected.length) return NaN;
	let difference = 0;
	let size = 0;
	for (let i = 0; i < expected.length; i++) {
		const e = expected[i] ?? 0;
		difference += ((actual[i] ?? 0) - e) ** 2;
		size += e ** 2;
	}
	return Math.sqrt(difference / size);
}
