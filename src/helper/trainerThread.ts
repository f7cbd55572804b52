/** What runs on a trainer's thread: the engine on one GPU, behind the port that came with the thread. Only here does a helper load Dawn and ONNX Runtime. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { openFileAsBlob } from '../formats/node';
import { FAST_FLAGS } from '../gpu/node';
import { tellCores } from '../onnx/session';
import { createHost } from '../service/host';
import { serve } from '../service/wire';
import { folderSlots } from '../storage/snapshots/node';
import { snapshotStore } from '../storage/snapshots/snapshots';
import { listAdapters } from './adapters';
import { installationAt } from './installation';
import { Models } from './models';
import { nodePlatform } from './platform';
import type { ThreadData, ThreadNews } from './threads';

/** Serves until the thread is ended. The first thread finds out which GPUs there are and takes the first of them. */
export async function runThread(): Promise<void> {
	const { port, root, config, folder, adapter } = workerData as ThreadData & { port: MessagePort };
	tellCores(availableParallelism());
	const names = adapter === null ? await listAdapters() : [];
	parentPort?.postMessage({ adapters: names } satisfies ThreadNews);
	const chosen = adapter ?? (names.length > 1 ? names[0] : undefined);
	const installation = installationAt(root);
	const host = createHost({
		...nodePlatform(chosen === undefined ? FAST_FLAGS : [...FAST_FLAGS, `adapter=${chosen}`]),
		fetchBundled: () => openFileAsBlob(installation.bundled('models/mini.safetensors')),
		openSnapshots: () => Promise.resolve(snapshotStore(folderSlots(join(folder, 'snapshots')))),
		shelf: new Models(config)
	});
	serve(host, port);
	port.start();
}
