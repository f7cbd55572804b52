/**
 * The frozen networks around the UNet (text encoder, VAE), run by ONNX Runtime. A conditioner is opened when it is needed and closed
 * before training, because what it holds would be missing there; in a browser it lives in a worker of its own, which gives the memory back.
 */
import { openCheckpoint, type Checkpoint } from '../diffusion/checkpoint';
import { openTextEncoder } from '../diffusion/text';
import { openVae } from '../diffusion/vae';
import { blobSource } from '../formats/source';
import type { Picture } from './events';

export interface Conditioner {
	/** Contexts `[n, 77, C]` of captions: the text as it is, cut off after 75 tokens. */
	encodeText(prompts: readonly string[]): Promise<Float32Array>;
	/** Contexts of prompts as WebUI reads them (emphasis, BREAK, any length): `[77·k, C]` each. */
	encodePrompts(prompts: readonly string[]): Promise<Float32Array[]>;
	/** The posterior mean, scaled, `[h, w, 4]`. */
	encodePicture(picture: Picture): Promise<Float32Array>;
	/** @param latent `[h, w, 4]`, scaled */
	decode(latent: Float32Array, height: number, width: number): Promise<Picture>;
	/** Gives the memory back; the conditioner is of no use afterwards. */
	close(): Promise<void>;
}

/** The same conditioner made from the file alone, for a worker that is sent nothing else. */
export async function openConditionerOf(blob: Blob): Promise<Conditioner> {
	return conditionerOf(await openCheckpoint(blobSource(blob)));
}

export function conditionerOf(checkpoint: Checkpoint): Conditioner {
	const text = openTextEncoder(checkpoint);
	const vae = openVae(checkpoint);
	return {
		encodeText: (prompts) => text.encode(prompts),
		encodePrompts: async (prompts) => (await text.weighted(prompts)).map(({ context }) => context),
		encodePicture: (picture) => vae.latent(picture),
		decode: (latent, height, width) => vae.decode(latent, height, width),
		async close() {
			await text.close();
			await vae.close();
		}
	};
}
