/**
 * A conditioner whose VAE runs on the GPU. Text stays with ONNX Runtime, and so do pictures where the GPU has no room for them, or where it is the CPU itself (a software adapter).
 * What the VAE takes of the GPU is there from the first picture until `close`. Without a plan it is computed the quickest way there is room for.
 */
import type { GpuVae } from '../diffusion/vae-gpu';
import { GpuError, type Gpu } from '../gpu/gpu';
import { GraphError } from '../graph/shape';
import type { Conditioner, Place } from './conditioner';
import type { OpenModel } from './model';
import { encodesOnGpu } from './vae-room';

/** More than the GPU has, or may bind at once. */
const noRoom = (cause: unknown): boolean => (cause instanceof GpuError && cause.code === 'memory') || cause instanceof GraphError;

/** @param open the conditioner for everything else, opened when that is needed */
export function openConditionerOn(gpu: Gpu, model: OpenModel, open: () => Promise<Conditioner>): Promise<Conditioner> {
	return encodesOnGpu(gpu) ? Promise.resolve(gpuConditioner(gpu, model, open)) : open();
}

export function gpuConditioner(gpu: Gpu, { checkpoint }: OpenModel, open: () => Promise<Conditioner>): Conditioner {
	let other: Promise<Conditioner> | undefined;
	let vae: GpuVae | undefined;
	let fits = true;
	const others = (): Promise<Conditioner> => {
		other ??= open();
		other.catch(() => (other = undefined));
		return other;
	};
	const closeVae = async (): Promise<void> => {
		const closing = vae;
		vae = undefined;
		await closing?.close();
	};
	/** Of versions, the first that the GPU had room for when nobody had planned one. */
	let least = 0;
	const picture = async <T>(place: Place | undefined, here: (vae: GpuVae) => Promise<T>, there: (conditioner: Conditioner) => Promise<T>): Promise<T> => {
		while (fits && place !== 'cpu') {
			const { openGpuVae, VAE_VERSIONS } = await import('../diffusion/vae-gpu');
			try {
				vae ??= openGpuVae(gpu, checkpoint);
				vae.room = place?.arenas;
				vae.version = place?.version ?? least;
				return await here(vae);
			} catch (cause) {
				if (!noRoom(cause)) throw cause;
				await closeVae();
				if (place || ++least >= VAE_VERSIONS) fits = false;
			}
		}
		return there(await others());
	};
	return {
		encodeText: async (prompts, onProgress) => (await others()).encodeText(prompts, onProgress),
		encodePrompts: async (prompts, onProgress) => (await others()).encodePrompts(prompts, onProgress),
		encodePicture: (given, onProgress, place) =>
			picture(
				place,
				(here) => here.latent(given, undefined, onProgress),
				(there) => there.encodePicture(given, onProgress)
			),
		decode: (latent, height, width, onProgress, place) =>
			picture(
				place,
				(here) => here.decode(latent, height, width, onProgress),
				(there) => there.decode(latent, height, width, onProgress)
			),
		async close() {
			await closeVae();
			await (await other)?.close();
		}
	};
}
