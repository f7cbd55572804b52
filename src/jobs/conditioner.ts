/**
 * The frozen networks around the UNet (text encoder, VAE), run by ONNX Runtime. A conditioner is opened when it is needed and closed
 * before training, because what it holds would be missing there; in a browser it lives in a worker of its own, which gives the memory back.
 */
import { openCheckpoint, type Checkpoint } from '../diffusion/checkpoint';
import { openTextEncoder, type Progress, type TextConditioning } from '../diffusion/text';
import { openVae } from '../diffusion/vae';
import { blobSource } from '../formats/source';
import type { Arenas } from '../kernels/arenas';
import type { Picture } from './events';

/** Where a picture is to be encoded or decoded: on the GPU as it was planned (in arenas that are free meanwhile, or its own), or on the CPU. */
export type Place = { readonly version: number; readonly arenas?: Arenas } | 'cpu';

export interface Conditioner {
	/** Captions: the text as it is, cut off after 75 tokens. Context `[77, C]` and pooled vector of each. Many at once cost little more than one. */
	encodeText(prompts: readonly string[], onProgress?: Progress): Promise<TextConditioning[]>;
	/** Prompts as WebUI reads them (emphasis, BREAK, any length): context `[77·k, C]` and pooled vector of each. */
	encodePrompts(prompts: readonly string[], onProgress?: Progress): Promise<TextConditioning[]>;
	/** The posterior mean, scaled, `[h, w, 4]`. @param place absent: wherever there is room */
	encodePicture(picture: Picture, onProgress?: Progress, place?: Place): Promise<Float32Array>;
	/** @param latent `[h, w, 4]`, scaled @param place absent: wherever there is room */
	decode(latent: Float32Array, height: number, width: number, onProgress?: Progress, place?: Place): Promise<Picture>;
	/** Gives the memory back; the conditioner is of no use afterwards. */
	close(): Promise<void>;
}

/** The same conditioner made from the files alone, for a worker that is sent nothing else. */
export async function openConditionerOf(blob: Blob, vae?: Blob): Promise<Conditioner> {
	return conditionerOf(await openCheckpoint(blobSource(blob), vae && blobSource(vae)));
}

export function conditionerOf(checkpoint: Checkpoint): Conditioner {
	const text = openTextEncoder(checkpoint);
	const vae = openVae(checkpoint);
	return {
		async encodeText(prompts, onProgress) {
			const { context, pooled } = await text.condition(prompts, onProgress);
			const cut = (all: Float32Array, i: number): Float32Array => all.slice((i * all.length) / prompts.length, ((i + 1) * all.length) / prompts.length);
			return prompts.map((_, i) => ({ context: cut(context, i), pooled: cut(pooled, i) }));
		},
		encodePrompts: (prompts, onProgress) => text.weighted(prompts, onProgress),
		encodePicture: (picture, onProgress) => vae.latent(picture, undefined, onProgress),
		decode: (latent, height, width, onProgress) => vae.decode(latent, height, width, onProgress),
		async close() {
			await text.close();
			await vae.close();
		}
	};
}
