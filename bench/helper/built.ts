/** A helper as its owner starts it: the built command line of the package at `root`, reached as the command line reaches it (no origin, the token of its file). */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { decodePng } from '../../src/formats/png';
import type { Picture, TrainerClient } from '../../src/service/protocol';
import { connectHelper, type SocketLike } from '../../src/service/socket-client';

export const socketWith =
	(token: string) =>
	(url: string): SocketLike =>
		new WebSocket(url, { headers: { authorization: `Bearer ${token}` }, perMessageDeflate: false }) as unknown as SocketLike;

export interface Built {
	child: ChildProcess;
	client: TrainerClient;
	/** Milliseconds since the epoch. */
	started: number;
	/** When it had printed its pairing code. */
	listening: number;
	close(): Promise<void>;
}

/** @param models a folder whose checkpoints it may read */
export async function startBuilt(root: string, models?: string): Promise<Built> {
	const config = await mkdtemp(join(tmpdir(), 'utsushi-bench-'));
	if (models !== undefined) await writeFile(join(config, 'folders.json'), JSON.stringify({ folders: [models], results: null, salt: 'bench' }));
	const started = Date.now();
	const child = spawn(process.execPath, ['bin/utsushi.mjs', 'serve', '--port', '0'], {
		cwd: root,
		stdio: ['ignore', 'pipe', 'inherit'],
		env: { ...process.env, UTSUSHI_CONFIG: config }
	});
	const ended = new Promise<void>((done) => child.once('close', () => done()));
	const close = async (): Promise<void> => {
		child.kill('SIGTERM');
		await ended;
		await rm(config, { recursive: true, force: true });
	};
	try {
		let text = '';
		await Promise.race([
			new Promise<void>((done) => child.stdout.on('data', (data: Buffer) => (text += data.toString()).includes('Pairing code') && done())),
			ended.then(() => {
				throw new Error(`The helper ended:\n${text}`);
			})
		]);
		const listening = Date.now();
		const { url, token } = JSON.parse(await readFile(join(config, 'data', 'helper', 'access.json'), 'utf8')) as { url: string; token: string };
		const client = await connectHelper({ url, token: '', open: socketWith(token) });
		return {
			child,
			client,
			started,
			listening,
			async close() {
				client.close();
				await close();
			}
		};
	} catch (error) {
		await close();
		throw error;
	}
}

/** One of the bundled sample faces, 256². */
export async function samplePicture(root: string, name: string): Promise<Picture> {
	return decodePng(new Uint8Array(await readFile(join(root, `public/samples/front/${name}.png`))));
}
