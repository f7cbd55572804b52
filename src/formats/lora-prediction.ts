/**
 * What the model that a LoRA was trained on predicts, by the LoRA's own metadata. Checkpoints of SD 1.5 that predict velocity often do not say so; the LoRA that somebody trained with that
 * set by hand does (`modelspec.prediction_type`, Stability ModelSpec: `epsilon` or `v`).
 */
import { openSafetensors } from './safetensors';
import { blobSource } from './source';

export function predictionOf(metadata: Readonly<Record<string, string>>): 'v' | undefined {
	return /^v/.test(metadata['modelspec.prediction_type'] ?? '') ? 'v' : undefined;
}

/** `v` when one of these files says so; a file that cannot be read says nothing here, whoever uses it refuses it. */
export async function predictionOfFiles(files: readonly Blob[]): Promise<'v' | undefined> {
	for (const file of files) {
		const metadata = await openSafetensors(blobSource(file)).then(
			(opened) => opened.metadata,
			() => ({})
		);
		if (predictionOf(metadata)) return 'v';
	}
	return undefined;
}
