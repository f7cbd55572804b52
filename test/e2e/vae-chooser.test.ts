/**
 * Another VAE for a model, chosen on the page: a file that holds none is refused and the model stays as it was, one that fits is used, can be chosen by keyboard alone, and comes back with the
 * model on the next visit. The files lie in the browser's own file system, whose handles are real ones: dialogs are all that is left out.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeSafetensors, type TensorData } from '../../src/formats/safetensors-writer';
import { openServedApp, violations, type ServedApp } from '../support/app';
import { tinySdxl, tinySdxlBytes } from '../unit/diffusion/tiny-sdxl';

let app: ServedApp;
let page: ServedApp['page'];

async function vaeBytes(): Promise<Uint8Array> {
	const { file, config } = await tinySdxl();
	const tensors: TensorData[] = [];
	for (const [name, { shape }] of file.tensors) {
		if (name.startsWith(config.vae.prefix))
			tensors.push({ name: name.slice(config.vae.prefix.length), dtype: 'F32', shape, data: await file.readFloat32(name) });
	}
	return writeSafetensors(tensors);
}

/** Files of this computer, chosen on the page and kept in the browser's file system. */
async function put(files: Readonly<Record<string, Uint8Array>>): Promise<void> {
	const folder = await mkdtemp(join(tmpdir(), 'utsushi-vae-'));
	for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
	const input = await page.evaluateHandle(() => Object.assign(document.createElement('input'), { type: 'file', multiple: true }));
	await input.setInputFiles(Object.keys(files).map((name) => join(folder, name)));
	await input.evaluate(async ({ files: chosen }) => {
		for (const file of chosen ?? []) {
			const writer = await (await (await navigator.storage.getDirectory()).getFileHandle(file.name, { create: true })).createWritable();
			await writer.write(file);
			await writer.close();
		}
	});
	await rm(folder, { recursive: true });
}

/** What the next dialog would answer. */
const answer = (name: string): Promise<void> =>
	page.evaluate((wanted) => {
		Reflect.set(window, 'showOpenFilePicker', async () => [await (await navigator.storage.getDirectory()).getFileHandle(wanted)]);
	}, name);

async function openTiny(): Promise<void> {
	await answer('tiny.safetensors');
	await page.getByRole('button', { name: /Your own checkpoint/ }).click();
	await page.getByRole('group', { name: 'VAE' }).waitFor();
}

beforeAll(async () => {
	app = await openServedApp('en-GB');
	({ page } = app);
	await page.goto(`${app.server.url}#train`);
});
afterAll(() => app?.close());

test('a file without a VAE is refused in words, and the model stays open with its own', async () => {
	const other = writeSafetensors([{ name: 'hello', dtype: 'F32', shape: [1], data: new Float32Array(1) }]);
	await put({ 'tiny.safetensors': tinySdxlBytes(), 'bright.safetensors': await vaeBytes(), 'other.safetensors': other });
	await openTiny();
	const group = page.getByRole('group', { name: 'VAE' });
	await group.getByText('the model’s own', { exact: true }).waitFor();
	await answer('other.safetensors');
	await group.locator('button', { hasText: 'Another VAE' }).click();
	await group.getByText(/holds no VAE/).waitFor();
	await group.getByText('the model’s own', { exact: true }).waitFor();
	expect(await violations(page)).toEqual([]);
});

test('one that fits is chosen by keyboard, and the message is gone', async () => {
	const group = page.getByRole('group', { name: 'VAE' });
	await answer('bright.safetensors');
	await group.locator('button', { hasText: 'Another VAE' }).focus();
	await page.keyboard.press('Enter');
	await group.getByText('bright.safetensors', { exact: true }).waitFor();
	expect(await page.getByText(/holds no VAE/).count()).toBe(0);
	await group.getByRole('button', { name: 'Use the model’s own' }).waitFor();
	expect(await violations(page)).toEqual([]);
});

test('it comes back with the model on the next visit, and can be given up', async () => {
	await page.reload();
	await openTiny();
	const group = page.getByRole('group', { name: 'VAE' });
	await group.getByText('bright.safetensors', { exact: true }).waitFor();
	await group.getByRole('button', { name: 'Use the model’s own' }).press('Enter');
	await group.getByText('the model’s own', { exact: true }).waitFor();
	expect(app.seen.errors).toEqual([]);
});
