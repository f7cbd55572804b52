/** What the commands that need a GPU share: the model's file, and a trainer in this process that is always closed again. */
import { basename } from 'node:path';
import { openFileAsBlob } from '../formats/node';
import { createHost } from '../service/host';
import { createInProcessClient } from '../service/inProcess';
import type { ModelSource, TrainerClient } from '../service/protocol';
import { folderSlots } from '../storage/snapshots/node';
import { snapshotStore } from '../storage/snapshots/snapshots';
import { nodePlatform } from './platform';
import { fileSize } from './recipeFile';

/** A checkpoint on disk, perhaps with another VAE, as the protocol wants it; read lazily, so a checkpoint of 7 GB never sits in memory. */
export async function modelSource(file: string, said: { readonly vae?: string | undefined; readonly prediction?: 'v' | undefined } = {}): Promise<ModelSource> {
	await fileSize(file, 'model');
	const { vae, prediction } = said;
	const source = { kind: 'file', name: basename(file), blob: await openFileAsBlob(file), prediction } as const;
	if (vae === undefined) return source;
	await fileSize(vae, 'model.vae');
	return { ...source, vae: { name: basename(vae), blob: await openFileAsBlob(vae) } };
}

/** @param snapshots folder for the snapshots of trainings; absent: none are taken */
export async function withTrainer<T>(work: (client: TrainerClient) => Promise<T>, snapshots?: string): Promise<T> {
	const platform = nodePlatform();
	const host = createHost(snapshots === undefined ? platform : { ...platform, openSnapshots: () => Promise.resolve(snapshotStore(folderSlots(snapshots))) });
	try {
		return await work(createInProcessClient(host));
	} finally {
		await host.close();
	}
}
