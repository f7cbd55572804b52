/**
 * Model files of jobs: the bundled model, or a file of the user's. A file is remembered by its handle where the browser gives one (Chrome, Edge), so that the queue finds
 * it again after a reload; elsewhere it has to be chosen again. The gigabytes are never copied.
 */
import type { JobInput } from '../../service/queue';
import type { ModelSource, Problem } from '../../service/protocol';
import type { QueueStore } from '../../storage/queue';
import { handleOf } from './handles';
import { MINI } from '../train/trainer.svelte';

/** Before the id of a model that lies on the helper. */
const ON_HELPER = 'helper ';

/** Files chosen in this visit. */
const sources = new Map<string, ModelSource>();

type Permission = 'granted' | 'denied' | 'prompt';
/** Not in the library types: only some browsers have it. */
interface PermissionHandle {
	queryPermission?: (options: { mode: 'read' }) => Promise<Permission>;
	requestPermission?: (options: { mode: 'read' }) => Promise<Permission>;
}

function keyOf(name: string, blob: Blob): string {
	return `${name} ${blob.size}`;
}

/** How a job refers to the model that is chosen now. */
export async function modelReference(source: ModelSource, store: QueueStore | null): Promise<JobInput['model']> {
	if (source.kind === 'bundled') return { kind: 'bundled', name: source.id };
	if (source.kind === 'named') {
		// The id is all there is to remember: the helper finds the file by it.
		return { kind: 'file', name: source.id, key: ON_HELPER + source.id };
	}
	const key = keyOf(source.name, source.blob);
	sources.set(key, source);
	const handle = handleOf(source.blob);
	if (handle && store) await store.models.put(key, handle).catch(() => undefined);
	return { kind: 'file', name: source.name, key };
}

function problem(code: string, name: string, message: string): Problem {
	return { level: 'warning', code, where: 'model', values: { name }, message };
}

/** The file to open, or what the user has to do first. */
export async function resolveModel(model: JobInput['model'], store: QueueStore | null): Promise<{ source: ModelSource } | { problem: Problem }> {
	if (model.kind === 'bundled') return { source: MINI };
	if (model.key.startsWith(ON_HELPER)) return { source: { kind: 'named', id: model.key.slice(ON_HELPER.length) } };
	const known = sources.get(model.key);
	if (known) return { source: known };
	const handle = await store?.models.get(model.key).catch(() => undefined);
	if (!handle) {
		const message = `This browser does not remember where “${model.name}” is. Choose the file again, and the queue goes on.`;
		return { problem: problem('queue.modelFile', model.name, message) };
	}
	const permission = await (handle as PermissionHandle).queryPermission?.({ mode: 'read' });
	if (permission !== undefined && permission !== 'granted') {
		const message = `The browser wants to be asked again before “${model.name}” may be read. Allow it, and the queue goes on.`;
		return { problem: problem('queue.permission', model.name, message) };
	}
	try {
		const source: ModelSource = { kind: 'file', name: model.name, blob: await handle.getFile() };
		sources.set(model.key, source);
		return { source };
	} catch {
		const message = `“${model.name}” is no longer where it was. Choose the file again, and the queue goes on.`;
		return { problem: problem('queue.modelMoved', model.name, message) };
	}
}

/** Must be called from a click. True when the file may be read now. */
export async function allowModel(model: JobInput['model'], store: QueueStore | null): Promise<boolean> {
	if (model.kind === 'bundled') return true;
	const handle = await store?.models.get(model.key).catch(() => undefined);
	return (await (handle as PermissionHandle | undefined)?.requestPermission?.({ mode: 'read' })) === 'granted';
}

/** The user chose the file of a job again. */
export function giveModel(model: JobInput['model'], file: File): void {
	if (model.kind === 'file') sources.set(model.key, { kind: 'file', name: model.name, blob: file });
}
