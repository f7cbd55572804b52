/**
 * What the host needs from its surroundings, so that one host serves the browser's worker and Node (`helper/platform.ts`): a GPU, the
 * frozen networks, and the bundled model. This file is the browser's side.
 */
import * as Comlink from 'comlink';
import { openGpu, type Gpu } from '../gpu/gpu';
import type { Progress } from '../diffusion/text';
import type { Conditioner } from '../jobs/conditioner';
import type { OpenModel } from '../jobs/model';
import { errorProblem } from '../jobs/problem';
import type { ConditionerRemote } from './conditionerWorker';
import type { SnapshotStore } from '../storage/snapshots/snapshots';
import { ServiceError } from './errors';
import type { ModelShelf } from './helper-protocol';
import type { TuningHome } from './tuning';

export interface Platform {
	openGpu(): Promise<Gpu>;
	openConditioner(model: OpenModel): Promise<Conditioner>;
	/** The bundled model's bytes; `onProgress` gets fractions 0..1. */
	fetchBundled(url: string, onProgress: (fraction: number) => void): Promise<Blob>;
	/** Where runs are kept on the way; absent: nowhere. */
	openSnapshots?(): Promise<SnapshotStore>;
	/** Where measurements of the GPU are kept; absent: nowhere. */
	openTuning?(): Promise<TuningHome>;
	/** Models by name; absent: there are none. */
	shelf?: ModelShelf;
}

async function browserSnapshots(): Promise<SnapshotStore> {
	const [{ opfsSlots }, { snapshotStore }] = await Promise.all([import('../storage/snapshots/opfs'), import('../storage/snapshots/snapshots')]);
	return snapshotStore(await opfsSlots());
}

async function browserTuning(): Promise<TuningHome> {
	const { tuningDatabase } = await import('../storage/tuning');
	return { platform: navigator.userAgent, cache: tuningDatabase() };
}

async function browserGpu(): Promise<Gpu> {
	if (!('gpu' in navigator)) {
		const insecure = !isSecureContext;
		throw new ServiceError(
			insecure
				? errorProblem('gpu.insecure', 'gpu', 'WebGPU only works on https addresses and on this computer’s own (http://127.0.0.1). Open Utsushi there.')
				: errorProblem(
						'gpu.missing',
						'gpu',
						'This browser has no WebGPU. Use a recent Chrome or Edge, Safari 26, or Firefox 141 and later, and update the graphics driver.'
					)
		);
	}
	return openGpu(navigator.gpu);
}

/** Reads a response piece by piece, so that progress can be shown. */
async function readAll(response: Response, onProgress: (fraction: number) => void): Promise<Blob> {
	const total = Number(response.headers.get('content-length') ?? 0);
	if (!response.body) return response.blob();
	const reader = response.body.getReader();
	const parts: Uint8Array<ArrayBuffer>[] = [];
	let done = 0;
	for (;;) {
		const { value, done: end } = await reader.read();
		if (end) break;
		parts.push(value);
		done += value.byteLength;
		if (total > 0) onProgress(Math.min(1, done / total));
	}
	return new Blob(parts);
}

async function fetchSameOrigin(url: string, onProgress: (fraction: number) => void): Promise<Blob> {
	const address = new URL(url, self.location.href);
	if (address.origin !== self.location.origin)
		throw new ServiceError(
			errorProblem('model.origin', 'model', 'Models are only loaded from this computer or from Utsushi itself, never from another site.', {
				origin: address.origin
			})
		);
	let detail: string;
	try {
		const response = await fetch(address);
		if (response.ok) return await readAll(response, onProgress);
		detail = `HTTP ${response.status}`;
	} catch (error) {
		detail = error instanceof Error ? error.message : String(error);
	}
	const message = `The bundled model could not be loaded (${detail}). Connect once to the address of Utsushi; afterwards it works offline.`;
	throw new ServiceError(errorProblem('model.notLoaded', 'model', message, { detail }));
}

async function conditionerInWorker({ blob, vae }: OpenModel): Promise<Conditioner> {
	const worker = new Worker(new URL('./conditionerWorker.ts', import.meta.url), { type: 'module', name: 'utsushi-conditioner' });
	const died = new Promise<never>((_, reject) => {
		worker.addEventListener('error', (event) => reject(new Error(event.message || 'The worker of the text encoder and VAE could not be started.')));
	});
	died.catch(() => undefined);
	const remote = Comlink.wrap<ConditionerRemote>(worker);
	const alive = <T>(work: Promise<T>): Promise<T> => Promise.race([work, died]);
	/** Progress comes over from the worker; what its receiver throws (a stop) ends the waiting, and closing ends the work. */
	const reporting = <T>(onProgress: Progress | undefined, work: (report?: Progress) => Promise<T>): Promise<T> => {
		if (!onProgress) return alive(work());
		return new Promise<T>((resolve, reject) => {
			const report = (fraction: number): void => {
				try {
					onProgress(fraction);
				} catch (error) {
					reject(error instanceof Error ? error : new Error(String(error)));
				}
			};
			alive(work(Comlink.proxy(report))).then(resolve, reject);
		});
	};
	const close = (): Promise<void> => {
		remote[Comlink.releaseProxy]();
		worker.terminate();
		return Promise.resolve();
	};
	try {
		await alive(remote.open(blob, vae));
	} catch (error) {
		await close();
		throw error;
	}
	return {
		encodeText: (prompts, onProgress) => reporting(onProgress, (report) => remote.encodeText([...prompts], report)),
		encodePrompts: (prompts, onProgress) => reporting(onProgress, (report) => remote.encodePrompts([...prompts], report)),
		encodePicture: (picture, onProgress) => reporting(onProgress, (report) => remote.encodePicture(picture, report)),
		decode: (latent, height, width, onProgress) => reporting(onProgress, (report) => remote.decode(latent, height, width, report)),
		close
	};
}

export function browserPlatform(): Platform {
	return {
		openGpu: browserGpu,
		openConditioner: conditionerInWorker,
		fetchBundled: fetchSameOrigin,
		openSnapshots: browserSnapshots,
		openTuning: browserTuning
	};
}
