/** What the host needs from its surroundings, in Node: Dawn for the GPU, ONNX Runtime in this process, files on disk as Blobs. */
import { openFileAsBlob } from '../formats/node';
import { dawn, FAST_FLAGS } from '../gpu/node';
import { openGpu } from '../gpu/gpu';
import { conditionerOf } from '../jobs/conditioner';
import type { Platform } from '../service/platform';
import { tuningFile } from './tuningFile';

/** Timestamps are rounded to 65 µs by default, which is longer than many kernels take. */
export const EXACT_TIMES = 'disable-dawn-features=timestamp_quantization';

export function nodePlatform(flags: readonly string[] = FAST_FLAGS): Platform {
	return {
		openGpu: async () => openGpu(await dawn(flags), { unclamped: flags.some((flag) => flag.includes('disable_robustness')) }),
		openTuning: () => Promise.resolve(tuningFile(`node ${process.platform}`)),
		openConditioner: ({ checkpoint }) => Promise.resolve(conditionerOf(checkpoint)),
		// Node has no bundled addresses: the command line opens the file itself.
		fetchBundled: (url) => openFileAsBlob(url)
	};
}
