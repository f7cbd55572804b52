/**
 * What the user said of a checkpoint that its file does not say, remembered by the file's name and size: another VAE, and that it predicts velocity. A VAE is remembered by its handle where the
 * browser gives one; a handle may want a click before it can be read again, and elsewhere the file has to be chosen again, so its name is kept in any case.
 */
import type { ModelExtras, ModelSource } from '../../service/protocol';
import { handleOf } from '../queue/handles';

const KEY = 'utsushi-model-extras';
const KEPT = 50;

interface Remembered {
	prediction?: 'v';
	/** Its file's name. */
	vae?: string;
}

type FileSource = Extract<ModelSource, { kind: 'file' }>;
export type ExtendedSource = Exclude<ModelSource, { kind: 'bundled' }>;

const keyOf = (source: ExtendedSource): string => (source.kind === 'file' ? `${source.name} ${source.blob.size}` : `helper ${source.id}`);

function all(): Record<string, Remembered> {
	try {
		const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}');
		return typeof kept === 'object' && kept !== null && !Array.isArray(kept) ? (kept as Record<string, Remembered>) : {};
	} catch {
		return {};
	}
}

async function handles() {
	const { openQueueStore } = await import('../../storage/queue');
	return openQueueStore();
}

/** Keeps what goes with this model; the newest fifty models are kept. Where nothing can be kept, it is asked again next time. */
export async function rememberExtras(source: ExtendedSource): Promise<void> {
	const key = keyOf(source);
	const { [key]: before, ...others } = all();
	void before;
	const said: Remembered = { ...(source.prediction ? { prediction: 'v' as const } : {}), ...(source.vae ? { vae: source.vae.name } : {}) };
	const entries = [...Object.entries(others), ...(Object.keys(said).length > 0 ? [[key, said] as const] : [])];
	try {
		localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(entries.slice(-KEPT))));
		const handle = source.vae && handleOf(source.vae.blob);
		if (!handle) return;
		const store = await handles();
		await store.models.put(`vae of ${key}`, handle).finally(() => store.close());
	} catch {
		// A private window, or no room.
	}
}

/** The name of the VAE that was used with this model last time. */
export function rememberedVae(source: ExtendedSource): string | undefined {
	const vae: unknown = all()[keyOf(source)]?.vae;
	return typeof vae === 'string' ? vae : undefined;
}

/** The file of that VAE, when it may be read. @param asking from a click: the browser may ask the user */
export async function openRememberedVae(source: ExtendedSource, asking: boolean): Promise<ModelExtras['vae']> {
	const name = rememberedVae(source);
	if (name === undefined) return undefined;
	try {
		const store = await handles();
		const handle = await store.models.get(`vae of ${keyOf(source)}`).finally(() => store.close());
		if (handle?.name !== name) return undefined;
		// Not in the library types: only some browsers have it.
		const ask = handle as { queryPermission?: (o: object) => Promise<string>; requestPermission?: (o: object) => Promise<string> };
		const permission = await (asking ? ask.requestPermission?.({ mode: 'read' }) : ask.queryPermission?.({ mode: 'read' }));
		if (permission !== undefined && permission !== 'granted') return undefined;
		return { name, blob: await handle.getFile() };
	} catch {
		return undefined;
	}
}

/** The model with everything that is known to go with it. */
export async function withExtras(source: FileSource): Promise<FileSource> {
	const vae = await openRememberedVae(source, false);
	const prediction = all()[keyOf(source)]?.prediction === 'v' ? ('v' as const) : undefined;
	return { ...source, ...(vae ? { vae } : {}), ...(prediction ? { prediction } : {}) };
}
