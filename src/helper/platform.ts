/** What the host needs from its surroundings, in Node: Dawn for the GPU, ONNX Runtime in this process, files on disk as Blobs. */
import { openAsBlob } from 'node:fs';
import { dawn, FAST_FLAGS, CHECKED_FLAGS } from '../gpu/node';
import { openGpu } from '../gpu/gpu';
import { conditionerOf } from '../jobs/conditioner';
import type { Platform } from '../service/platform';

export function nodePlatform(options: { checked?: boolean } = {}): Platform {
	return {
		openGpu: async () => openGpu(await dawn(options.checked ? CHECKED_FLAGS : FAST_FLAGS)),
		openConditioner: ({ checkpoint }) => Promise.resolve(conditionerOf(checkpoint)),
		// Node has no bundled addresses: the command line opens the file itself.
		fetchBundled: (url) => openAsBlob(url)
	};
}
