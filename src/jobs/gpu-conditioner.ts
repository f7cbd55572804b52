/**
 * A conditioner whose VAE runs on the GPU. Text stays with ONNX Runtime, and so do pictures where the GPU has no room for them, or where it is the CPU itself (a software adapter).
 * What the VAE takes of the GPU is there from the first picture until `close`.
 */
import type { GpuVae } from '../diffusion/vae-gpu';
import { GpuError, type Gpu } from '../gpu/gpu';
import { GraphError } from '../graph/shape';
import type { Arenas } from '../kernels/arenas';
import type { Conditioner } from './conditioner';
import type { OpenModel } from './model';

/** Whether pictures go through the GPU on this adapter. On lavapipe the CPU's own kernels are quicker. */
export const encodesOnGpu = (gpu: Gpu): boolean => !gpu.adapter.software;

/** More than the GPU has, or may bind at once. */
const noRoom = (cause: unknown): boolean => (cause instanceof GpuError && cause.code === 'memory') || cause instanceof GraphError;

/** @param open the conditioner for everything else, opened when that is needed */
export function openConditionerOn(gpu: Gpu, model: OpenModel, open: () => Promise<Conditioner>): Promise<Conditioner> {
	return encodesOnGpu(gpu) ? Promise.resolve(gpuConditioner(gpu, model, open)) : open();
}

export function gpuConditioner(gpu: Gpu, { checkpoint }: OpenModel, open: () => Promise<Conditioner>): Conditioner {
	let other: Promise<Conditioner> | undefined;
	let vae: Promise<GpuVae> | undefined;
	let fits = true;
	const others = (): Promise<Conditioner> => {
		other ??= open();
		other.catch(() => (other = undefined));
		return other;
	};
	const closeVae = async (): Promise<void> => {
		const closing = vae;
		vae = undefined;
		await (await closing)?.close();
	};
	const picture = async <T>(room: Arenas | undefined, here: (vae: GpuVae) => Promise<T>, there: (conditioner: Conditioner) => Promise<T>): Promise<T> => {
		if (fits) {
			try {
				vae ??= import('../diffusion/vae-gpu').then(({ openGpuVae }) => openGpuVae(gpu, checkpoint));
				const opened = await vae;
				opened.room = room;
				return await here(opened);
			} catch (cause) {
				if (!noRoom(cause)) throw cause;
				fits = false;
				await closeVae();
			}
		}
		return there(await others());
	};
	return {
		encodeText: async (prompts, onProgress) => (await others()).encodeText(prompts, onProgress),
		encodePrompts: async (prompts, onProgress) => (await others()).encodePrompts(prompts, onProgress),
		encodePicture: (given, onProgress) =>
			picture(
				undefined,
				(here) => here.latent(given, undefined, onProgress),
				(there) => there.encodePicture(given, onProgress)
			),
		decode: (latent, height, width, onProgress, room) =>
			picture(
				room,
				(here) => here.decode(latent, height, width, onProgress),
				(there) => there.decode(latent, height, width, onProgress)
			),
		async close() {
			await closeVae();
			await (await other)?.close();
		}
	};
}
