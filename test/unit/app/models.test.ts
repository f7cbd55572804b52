/** How jobs of the queue refer to models: another VAE and velocity belong to the model, also after a reload. */
import { beforeEach, expect, it, vi } from 'vitest';
import type { QueueStore } from '../../../src/storage/queue';

// The page around it wants a browser.
vi.mock('../../../src/app/train/trainer.svelte', () => ({ MINI: { kind: 'bundled', id: 'mini', url: '' } }));

const handles = new Map<string, FileSystemFileHandle>();
const store = {
	models: {
		get: (key: string) => Promise.resolve(handles.get(key)),
		put: (key: string, handle: FileSystemFileHandle) => Promise.resolve(void handles.set(key, handle))
	}
} as unknown as QueueStore;

const model = new File(['model'], 'anime.safetensors');
const vae = new File(['vae'], 'bright.safetensors');
const handleFor = (file: File) => ({ name: file.name, getFile: () => Promise.resolve(file) }) as unknown as FileSystemFileHandle;

/** A page that has just been loaded. */
async function freshPage() {
	vi.resetModules();
	const { rememberHandle } = await import('../../../src/app/queue/handles');
	return { rememberHandle, ...(await import('../../../src/app/queue/models')) };
}

beforeEach(() => handles.clear());

const plain = { kind: 'file', name: model.name, blob: model } as const;
const said = { ...plain, vae: { name: vae.name, blob: vae }, prediction: 'v' } as const;

it('keeps models apart that differ in their VAE or in what they predict', async () => {
	const { modelReference } = await freshPage();
	const keys = await Promise.all([plain, { ...plain, prediction: 'v' as const }, said].map((source) => modelReference(source, store)));
	expect(new Set(keys.map((one) => (one.kind === 'file' ? one.key : ''))).size).toBe(3);
});

it('finds both files again after a reload', async () => {
	const before = await freshPage();
	before.rememberHandle(model, handleFor(model));
	before.rememberHandle(vae, handleFor(vae));
	const reference = await before.modelReference(said, store);
	const after = await freshPage();
	expect(await after.resolveModel(reference, store)).toEqual({ source: said });
});

it('asks for the VAE by its name where the browser remembers no files, and takes it', async () => {
	const reference = await (await freshPage()).modelReference(said, store);
	const { giveModel, resolveModel } = await freshPage();
	expect(await resolveModel(reference, store)).toMatchObject({ problem: { code: 'queue.modelFile', values: { name: vae.name } } });
	giveModel(reference, vae);
	expect(await resolveModel(reference, store)).toMatchObject({ problem: { code: 'queue.modelFile', values: { name: model.name } } });
	giveModel(reference, model);
	expect(await resolveModel(reference, store)).toEqual({ source: said });
});

it('a VAE goes along to a model on the helper', async () => {
	const named = { kind: 'named', id: 'xl', vae: said.vae } as const;
	const { modelReference, resolveModel, sameSource } = await freshPage();
	expect(await resolveModel(await modelReference(named, store), store)).toEqual({ source: named });
	expect(sameSource(named, { ...named })).toBe(true);
	expect(sameSource(named, { kind: 'named', id: 'xl' })).toBe(false);
	expect(sameSource(plain, plain)).toBe(false);
});
