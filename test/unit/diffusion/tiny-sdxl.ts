/** The tiny SDXL-shaped checkpoint of `tools/synthetic`, made anew, and what diffusers and transformers make of it (`tools/fixtures/sdxl.py`). */
import { openCheckpoint, type Checkpoint } from '../../../src/diffusion/checkpoint';
import { openSafetensors, type SafetensorsFile } from '../../../src/formats/safetensors';
import { bytesSource } from '../../../src/formats/source';
import { checkpointPieces } from '../../../tools/synthetic/checkpoint.mjs';
import { checkpointTensors, type Tensor } from '../../../tools/synthetic/layout.mjs';
import { bytesOf } from './golden';

/** The prompts of the fixture. */
export const GIRL = 'a girl, smile';
export const WEIGHTED = '(red:1.3) hair, [blue] eyes BREAK a hat';
/** Original height and width, crop from top and left, target height and width. */
export const SIZES = [
	{ original: [64, 64], crop: [0, 0], target: [64, 64] },
	{ original: [1216, 832], crop: [16, 8], target: [96, 64] }
] as const;

export function tinySdxlBytes(type = 'f16', more: Tensor[] = []): Uint8Array<ArrayBuffer> {
	return new Uint8Array(Buffer.concat([...checkpointPieces([...checkpointTensors('tiny'), ...more], { type, seed: 1 })]));
}

export function tinySdxl(type?: string): Promise<Checkpoint> {
	return openCheckpoint(bytesSource(tinySdxlBytes(type)));
}

export function sdxlVectors(): Promise<SafetensorsFile> {
	return openSafetensors(bytesSource(bytesOf('test/fixtures/diffusion/sdxl.safetensors')));
}
