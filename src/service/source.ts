/** The bytes of a model, wherever it comes from. */
import { errorProblem } from '../jobs/problem';
import { ServiceError } from './errors';
import type { Platform } from './platform';
import type { ModelExtras, ModelSource } from './protocol';

/** @throws ServiceError when there is no such model */
export async function openSource(
	source: ModelSource,
	platform: Pick<Platform, 'fetchBundled' | 'shelf'>,
	onProgress: (fraction: number) => void
): Promise<{ name: string; blob: Blob } & ModelExtras> {
	switch (source.kind) {
		case 'bundled':
			return { name: source.id, blob: await platform.fetchBundled(source.url, onProgress) };
		case 'file':
			return source;
		case 'named': {
			if (!platform.shelf)
				throw new ServiceError(
					errorProblem('trainer.helperOnly', 'model', 'Models by name are on the helper; in a browser, choose the model’s file.', { request: 'openModel' })
				);
			const { entry, blob } = await platform.shelf.open(source.id);
			return { name: entry.name, blob, vae: source.vae, prediction: source.prediction };
		}
	}
}
