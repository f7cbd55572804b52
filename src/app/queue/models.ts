/**
 * Model files of jobs: the bundled model, or a file of the user's. A file is remembered by its handle where the browser gives one (Chrome, Edge), so that the queue finds
 * it again after a reload; elsewhere it has to be chosen again. The gigabytes are never copied.
 */
import type { JobInput } from '../../service/queue';
import type { ModelExtras, ModelSource, Problem } from '../../service/protocol';
import type { QueueStore } from '../../storage/queue';
import { handleOf } from './handles';
import { MINI } from '../train/trainer.svelte';

/** Before the id of a model that lies on the helper. */
const ON_HELPER = 'helper ';

/** Models chosen in this visit, and files that were chosen again for jobs, by the keys of their handles. */
const sources = new Map<string, ModelSource>();
const files = new Map<string, File>();

type Permission = 'granted' | 'denied' | 'prompt';
/** Not in the library types: only some browsers have it. */
interface PermissionHandle {
	queryPermission?: (options: { mode: 'read' }) => Promise<Permission>;
	requestPermission?: (options: { mode: 'read' }) => Promise<Permission>;
}

const said = ({ vae, prediction }: ModelExtras): string => (vae ? ` + ${vae.name} ${vae.blob.size}` : '') + (prediction ? ' v' : '');

/** The key under which the handle of a model's VAE lies. */
const vaeKey = (key: string): string => `vae ${key}`;

/** Two ways to name one model on the helper, or the bundled one. */
export function sameSource(a: ModelSource, b: ModelSource): boolean {
	if (a.kind === 'file' || b.kind === 'file' || a.id !== b.id) return false;
	return a.kind === 'bundled' || (b.kind === 'named' && a.vae === b.vae && a.prediction === b.prediction);
}

/** How a job refers to the model that is chosen now. */
export async function modelReference(source: ModelSource, store: QueueStore | null): Promise<JobInput['model']> {
	if (source.kind === 'bundled') return { kind: 'bundled', name: source.id };
	// Of a model on the helper the id is all there is to remember: the helper finds the file by it.
	const key = (source.kind === 'named' ? ON_HELPER + source.id : `${source.name} ${source.blob.size}`) + said(source);
	sources.set(key, source);
	const keep = async (name: string, blob: Blob): Promise<void> => {
		const handle = handleOf(blob);
		if (handle && store) await store.models.put(name, handle).catch(() => undefined);
	};
	if (source.kind === 'file') await keep(key, source.blob);
	if (source.vae) await keep(vaeKey(key), source.vae.blob);
	const { vae, prediction } = source;
	const extras = { ...(vae ? { vae: vae.name } : {}), ...(prediction ? { prediction } : {}) };
	return { kind: 'file', name: source.kind === 'named' ? source.id : source.name, key, ...extras };
}

function problem(code: string, name: string, message: string): Problem {
	return { level: 'warning', code, where: 'model', values: { name }, message };
}

/** A file that was remembered or chosen again, or what the user has to do first. */
async function fileOf(key: string, name: string, store: QueueStore | null): Promise<{ file: File } | { problem: Problem }> {
	const known = files.get(key);
	if (known) return { file: known };
	const handle = await store?.models.get(key).catch(() => undefined);
	if (!handle) {
		const message = `This browser does not remember where “${name}” is. Choose the file again, and the queue goes on.`;
		return { problem: problem('queue.modelFile', name, message) };
	}
	const permission = await (handle as PermissionHandle).queryPermission?.({ mode: 'read' });
	if (permission !== undefined && permission !== 'granted') {
		const message = `The browser wants to be asked again before “${name}” may be read. Allow it, and the queue goes on.`;
		return { problem: problem('queue.permission', name, message) };
	}
	try {
		return { file: await handle.getFile() };
	} catch {
		const message = `“${name}” is no longer where it was. Choose the file again, and the queue goes on.`;
		return { problem: problem('queue.modelMoved', name, message) };
	}
}

/** The model to open, or what the user has to do first. */
export async function resolveModel(model: JobInput['model'], store: QueueStore | null): Promise<{ source: ModelSource } | { problem: Problem }> {
	if (model.kind === 'bundled') return { source: MINI };
	const { name, key, prediction } = model;
	const known = sources.get(key);
	if (known) return { source: known };
	const extras: ModelExtras = prediction ? { prediction } : {};
	if (model.vae !== undefined) {
		const found = await fileOf(vaeKey(key), model.vae, store);
		if ('problem' in found) return found;
		extras.vae = { name: model.vae, blob: found.file };
	}
	let source: ModelSource;
	if (key.startsWith(ON_HELPER)) source = { kind: 'named', id: name, ...extras };
	else {
		const found = await fileOf(key, name, store);
		if ('problem' in found) return found;
		source = { kind: 'file', name, blob: found.file, ...extras };
	}
	sources.set(key, source);
	return { source };
}

/** Must be called from a click. True when the files may be read now. */
export async function allowModel(model: JobInput['model'], store: QueueStore | null): Promise<boolean> {
	if (model.kind === 'bundled') return true;
	const ask = async (key: string): Promise<boolean> => {
		if (files.has(key)) return true;
		const handle = await store?.models.get(key).catch(() => undefined);
		return (await (handle as PermissionHandle | undefined)?.requestPermission?.({ mode: 'read' })) === 'granted';
	};
	const vae = model.vae === undefined || (await ask(vaeKey(model.key)));
	return vae && (model.key.startsWith(ON_HELPER) || (await ask(model.key)));
}

/** The user chose a file of a job again: its VAE when it has that one's name, else its model. */
export function giveModel(model: JobInput['model'], file: File): void {
	if (model.kind === 'file') files.set(file.name === model.vae ? vaeKey(model.key) : model.key, file);
}
