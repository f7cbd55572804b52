/** A running helper: the app and the socket on one address, trainers on threads of their own behind a house of runs. What `utsushi serve` starts. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { TrainerClient } from '../service/protocol';
import { RunHouse } from '../service/run-house';
import { configFolder } from './configFolder';
import { dataFolder, ownFolder, writeAccess } from './dataFolder';
import type { Installation } from './installation';
import { Models } from './models';
import { Pairings } from './pairing';
import { runFolder } from './runFolder';
import { serveApp } from './server';
import { serveSocket, type SocketLimits } from './socket';
import { openTrainers } from './threads';

/** How long the end of a helper waits for the current step and its snapshot. */
const PATIENCE_MS = 60_000;

export interface HelperOptions {
	installation: Installation;
	port?: number;
	config?: string;
	data?: string;
	/** Another trainer than the engine on threads of this process. */
	trainer?: TrainerClient;
	limits?: Partial<SocketLimits>;
	note?: (text: string) => void;
}

export interface Helper {
	/** `http://127.0.0.1:5757/` */
	url: string;
	port: number;
	/** Of the socket. */
	socketUrl: string;
	/** For the command line. */
	token: string;
	pairings: Pairings;
	house: RunHouse;
	trainer: TrainerClient;
	close(): Promise<void>;
}

/** @throws the error of listening when the port is taken */
export async function startHelper(options: HelperOptions): Promise<Helper> {
	const { installation } = options;
	const config = options.config ?? configFolder();
	const folder = await ownFolder(options.data ?? dataFolder());
	const app = await serveApp({ root: installation.app, ...(options.port === undefined ? {} : { port: options.port }) }).catch(async (error: unknown) => {
		await folder.release();
		throw error;
	});
	const trainer = options.trainer ?? (await openTrainers({ root: installation.root, config, folder: folder.path }));
	const models = new Models(config);
	const house = await RunHouse.open(trainer, runFolder(join(folder.path, 'runs')), { saveResult: (name, bytes) => models.save(name, bytes) });
	const pairings = new Pairings(config);
	const token = randomBytes(32).toString('base64url');
	const sockets = serveSocket(app.server, {
		house,
		helper: { version: installation.version, instance: randomBytes(8).toString('hex') },
		pairings,
		token,
		hosts: app.hosts,
		...(options.limits ? { limits: options.limits } : {}),
		...(options.note ? { note: options.note } : {})
	});
	const socketUrl = `ws://127.0.0.1:${app.port}/ws`;
	const hide = await writeAccess(folder.path, { url: socketUrl, token });
	return {
		url: app.url,
		port: app.port,
		socketUrl,
		token,
		pairings,
		house,
		trainer,
		async close() {
			await hide();
			await house.pause(PATIENCE_MS);
			await sockets.close();
			await app.close();
			trainer.close();
			await house.flushed();
			await folder.release();
		}
	};
}
