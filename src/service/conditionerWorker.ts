/** Entry of the worker in which ONNX Runtime runs the frozen networks. Ending this worker is the only way to get its memory back. */
import * as Comlink from 'comlink';
import { openConditionerOf, type Conditioner } from '../jobs/conditioner';
import type { Picture } from '../jobs/events';
import type { Progress, TextConditioning } from '../diffusion/text';

declare const self: DedicatedWorkerGlobalScope;

let opened: Promise<Conditioner> | undefined;

function conditioner(): Promise<Conditioner> {
	if (!opened) throw new Error('The conditioner has no model yet.');
	return opened;
}

const remote = {
	async open(blob: Blob, vae?: Blob): Promise<void> {
		opened = openConditionerOf(blob, vae);
		await opened;
	},
	encodeText: async (prompts: string[], onProgress?: Progress): Promise<TextConditioning[]> => (await conditioner()).encodeText(prompts, onProgress),
	encodePrompts: async (prompts: string[], onProgress?: Progress): Promise<TextConditioning[]> => (await conditioner()).encodePrompts(prompts, onProgress),
	encodePicture: async (picture: Picture, onProgress?: Progress): Promise<Float32Array> => (await conditioner()).encodePicture(picture, onProgress),
	decode: async (latent: Float32Array, height: number, width: number, onProgress?: Progress): Promise<Picture> =>
		(await conditioner()).decode(latent, height, width, onProgress)
};
export type ConditionerRemote = typeof remote;

Comlink.expose(remote, self);
