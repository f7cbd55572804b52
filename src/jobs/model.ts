/** A model that was opened: its file, what it is, and its UNet on the GPU once something needed it there. */
import { openCheckpoint, type Checkpoint } from '../diffusion/checkpoint';
import { predicting } from '../diffusion/config';
import { unetModules, type UnetModule } from '../diffusion/unet';
import { loadUnetWeights } from '../diffusion/weights';
import { blobSource } from '../formats/source';
import type { Gpu } from '../gpu/gpu';
import type { Base } from '../kernels/int8';
import { WeightStore } from '../kernels/weights';

export type Storage = 'f16' | 'f32';

export class OpenModel {
	readonly modules: readonly UnetModule[];
	#loaded: { gpu: Gpu; storage: Storage; base: Base; store: Promise<WeightStore> } | undefined;

	constructor(
		readonly id: string,
		readonly name: string,
		readonly blob: Blob,
		readonly checkpoint: Checkpoint,
		/** The file of the VAE, when not the model's own. */
		readonly vae?: Blob
	) {
		this.modules = unetModules(checkpoint.config.unet);
	}

	/** The UNet's weights on this GPU; kept for the next caller. Rejects with GpuError `memory` when they do not fit. */
	weights(gpu: Gpu, storage: Storage, onProgress?: (fraction: number) => void, base: Base = 'f16'): Promise<WeightStore> {
		const loaded = this.#loaded;
		if (loaded?.gpu === gpu && loaded.storage === storage && loaded.base === base) return loaded.store;
		this.release();
		const store = new WeightStore(gpu, storage, base);
		const loading = loadUnetWeights(this.checkpoint, store, onProgress).then(
			() => store,
			(error: unknown) => {
				store.destroy();
				if (this.#loaded?.store === loading) this.#loaded = undefined;
				throw error;
			}
		);
		this.#loaded = { gpu, storage, base, store: loading };
		return loading;
	}

	/** Takes the weights off the GPU. The file stays open. */
	release(): void {
		void this.#loaded?.store.then((store) => store.destroy()).catch(() => undefined);
		this.#loaded = undefined;
	}
}

/**
 * Reads the headers only. @param vae a file with another VAE @param prediction what the user says it predicts, where the file does not
 * @throws FormatError naming what a file is or lacks
 */
export async function openModel(id: string, name: string, blob: Blob, vae?: Blob, prediction?: 'v'): Promise<OpenModel> {
	const { config, ...files } = await openCheckpoint(blobSource(blob), vae && blobSource(vae));
	return new OpenModel(id, name, blob, { ...files, config: predicting(config, prediction) }, vae);
}
