/** A job's settings brought back into the form: the recipe with everything it needs, pictures, masks, folders, LoRA files and the model. */
import type { Job } from '../../service/queue';
import type { Picture } from '../../service/protocol';
import type { LoadedPicture } from '../picture/load';
import { draft } from '../train/draft.svelte';
import { trainer } from '../train/trainer.svelte';
import { editing } from './editing.svelte';
import { appQueue } from './queue.svelte';

/** Errors: `StorageError` when a picture or file of the job is gone. */
export async function restoreJob(job: Job): Promise<void> {
	const content = await appQueue.content(job);
	const { recipe } = job;
	const loaded = (picture: Picture | undefined, ref: { name: string; sha256?: string; bundled?: string } | null): LoadedPicture | null =>
		picture && ref ? { name: ref.name, picture, sha256: ref.sha256 ?? '', bundled: ref.bundled ?? null } : null;
	draft.take(structuredClone(recipe));
	draft.original = loaded(content.original, recipe.images.original);
	draft.target = loaded(content.target, recipe.images.target);
	draft.files.restore({
		pictures: content.pictures ?? [],
		mask: loaded(content.mask, recipe.mask),
		copier: content.copier ?? null,
		start: content.start ?? null
	});
	// A run that is going on keeps its model open; the job keeps its own either way (`saveEdited`).
	const source = appQueue.running ? null : await appQueue.modelSource(job);
	if (source && source.kind !== 'bundled') await trainer.choose(source);
	editing.job = { id: job.id, name: recipe.name, source: trainer.source };
}
