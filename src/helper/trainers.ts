/** The trainers of a helper: one for each GPU that Dawn lists, as one (`pool.ts`). With a single GPU, Dawn's own choice. */
import { FAST_FLAGS } from '../gpu/node';
import { createHost } from '../service/host';
import { createInProcessClient } from '../service/inProcess';
import type { Platform } from '../service/platform';
import type { TrainerClient } from '../service/protocol';
import { listAdapters } from './adapters';
import { poolOf } from './pool';

/** @param platform what a trainer works with, for these flags of Dawn's */
export async function openTrainers(platform: (flags: readonly string[]) => Platform): Promise<TrainerClient> {
	const names = await listAdapters();
	const flags = names.length < 2 ? [FAST_FLAGS] : names.map((name) => [...FAST_FLAGS, `adapter=${name}`]);
	return poolOf(flags.map((each) => createInProcessClient(createHost(platform(each)))));
}
