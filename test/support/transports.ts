/** One host behind each way to it: called directly, through a port as a worker is, through a helper's real socket with pairing and all. */
import { createServer } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pairings } from '../../src/helper/pairing';
import { serveSocket, type SocketLimits, type SocketServer } from '../../src/helper/socket';
import { createInProcessClient } from '../../src/service/inProcess';
import type { TrainerClient } from '../../src/service/protocol';
import { RunHouse, type HouseOptions } from '../../src/service/run-house';
import { memoryRunFiles, type RunFiles } from '../../src/service/run-log';
import { connectHelper, pairHelper, type HelperOptions } from '../../src/service/socket-client';
import { connect, serve, type TrainerHost } from '../../src/service/wire';
import { openSocket } from './socket';

export const TRANSPORTS = ['direct', 'port', 'socket'] as const;
export type Transport = (typeof TRANSPORTS)[number];

export interface Opened {
	client: TrainerClient;
	close(): Promise<void>;
}

export interface SocketHouse {
	url: string;
	/** What a page of the helper itself has. */
	origin: string;
	/** The command line's. */
	cliToken: string;
	/** Of a page at `origin` that was paired. */
	token: string;
	pairings: Pairings;
	house: RunHouse;
	sockets: SocketServer;
	connect(options?: Partial<HelperOptions>): Promise<TrainerClient>;
	close(): Promise<void>;
}

export interface SocketHouseOptions {
	limits?: Partial<SocketLimits>;
	files?: RunFiles;
	house?: HouseOptions;
	/** The clock of pairings. */
	now?: () => number;
}

/** The helper's socket around any trainer, without the app. */
export async function openSocketHouse(trainer: TrainerClient, options: SocketHouseOptions = {}): Promise<SocketHouse> {
	const folder = await mkdtemp(join(tmpdir(), 'utsushi-socket-'));
	const server = createServer();
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	const address = server.address();
	if (address === null || typeof address === 'string') throw new Error('no port');
	const [url, origin, cliToken] = [`ws://127.0.0.1:${address.port}/ws`, `http://127.0.0.1:${address.port}`, 'c'.repeat(43)];
	const pairings = new Pairings(folder, options.now);
	const house = await RunHouse.open(trainer, options.files ?? memoryRunFiles(), options.house ?? {});
	const sockets = serveSocket(server, {
		house,
		helper: { version: '0.0.0', instance: 'test' },
		pairings,
		token: cliToken,
		hosts: [`127.0.0.1:${address.port}`, `localhost:${address.port}`],
		...(options.limits ? { limits: options.limits } : {})
	});
	const token = await pairHelper({ url, code: await pairings.newCode(), open: openSocket({ origin }) });
	return {
		url,
		origin,
		cliToken,
		token,
		pairings,
		house,
		sockets,
		connect: (more = {}) => connectHelper({ url, token, open: openSocket({ origin }), ...more }),
		async close() {
			await sockets.close();
			server.closeAllConnections();
			await new Promise((resolve) => server.close(resolve));
			await house.flushed();
			await rm(folder, { recursive: true, force: true });
		}
	};
}

export async function openTransport(transport: Transport, host: TrainerHost): Promise<Opened> {
	switch (transport) {
		case 'direct':
			return { client: createInProcessClient(host), close: () => host.close() };
		case 'port': {
			const ports = new MessageChannel();
			serve(host, ports.port1);
			ports.port1.start();
			ports.port2.start();
			return {
				client: connect(ports.port2, { onClose: () => undefined }),
				async close() {
					ports.port1.close();
					ports.port2.close();
					await host.close();
				}
			};
		}
		case 'socket': {
			const socket = await openSocketHouse(createInProcessClient(host));
			const client = await socket.connect();
			return {
				client,
				async close() {
					client.close();
					await socket.close();
					await host.close();
				}
			};
		}
	}
}
