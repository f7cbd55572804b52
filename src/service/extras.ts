/**
 * Requests that most visits never make, kept out of the first load: snapshots that change places, the shelf of models. Runs that outlive their connection are the
 * helper's own (`run-house.ts`), in front of the host; asked of a worker they are refused.
 */
import { errorProblem } from '../jobs/problem';
import { ServiceError } from './errors';
import type { HelperReplyOf, HelperRequest } from './helper-protocol';
import type { Platform } from './platform';

/** The part of a snapshot that `jobs/resume.ts` keeps once. */
const COPIER = 'copier';
/** A LoRA is sent whole. */
const MAX_LORA = 2 ** 30;

function ownBuffer(bytes: Uint8Array): ArrayBuffer {
	return bytes.slice().buffer;
}

export async function answerExtra(request: HelperRequest, platform: Pick<Platform, 'openSnapshots' | 'shelf'>): Promise<HelperReplyOf[HelperRequest['type']]> {
	switch (request.type) {
		case 'listModels':
			return platform.shelf?.list() ?? { entries: [], problems: [] };
		case 'fetchLora': {
			if (!platform.shelf) return refuse(request.type);
			const { entry, blob } = await platform.shelf.open(request.id);
			if (entry.kind !== 'lora' || blob.size > MAX_LORA) {
				const message = `“${entry.name}” is not a LoRA of ordinary size; it stays where it is. Open it by name instead.`;
				throw new ServiceError(errorProblem('shelf.notLora', entry.name, message, { name: entry.name }));
			}
			return { name: entry.name, bytes: await blob.arrayBuffer() };
		}
		case 'takeSnapshot': {
			const store = await platform.openSnapshots?.();
			const state = await store?.load(request.job);
			if (!store || !state) return null;
			const copier = await store.loadKept(request.job, COPIER);
			return { state: ownBuffer(state), copier: copier ? ownBuffer(copier) : null };
		}
		case 'giveSnapshot': {
			const store = await platform.openSnapshots?.();
			if (!store) throw new ServiceError(errorProblem('storage.unavailable', 'snapshot', 'Snapshots cannot be kept here, so the run cannot move here.'));
			const { state, copier } = request.snapshot;
			await store.remove(request.job);
			// The copier first: a state that needs it must never be there without.
			if (copier) await store.keep(request.job, COPIER, new Uint8Array(copier));
			await store.save(request.job, new Uint8Array(state));
			return null;
		}
		case 'dropSnapshot':
			await (await platform.openSnapshots?.())?.remove(request.job);
			return null;
		case 'listRuns':
		case 'follow':
		case 'fetchResult':
		case 'forgetRun':
		case 'listPairings':
		case 'unpair':
			return refuse(request.type);
	}
}

function refuse(request: string): never {
	const message = `“${request}” is something only the helper can do; this trainer lives in the page and ends with it.`;
	throw new ServiceError(errorProblem('trainer.helperOnly', 'trainer', message, { request }));
}
