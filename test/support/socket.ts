/** A WebSocket of Node as the client takes it, with the origin a browser would send, and raw ones for what no client of ours would do. */
import WebSocket from 'ws';
import type { SocketLike } from '../../src/service/socket-client';

export interface SocketHeaders {
	origin?: string;
	authorization?: string;
	host?: string;
}

export function openSocket(headers: SocketHeaders): (url: string) => SocketLike {
	return (url) => {
		const { origin, ...others } = headers;
		return new WebSocket(url, { ...(origin === undefined ? {} : { origin }), headers: { ...others }, perMessageDeflate: false }) as unknown as SocketLike;
	};
}

/** Status of the answer to an upgrade: 101, or why not; 0 when the connection ended without one. */
export function upgradeStatus(url: string, headers: SocketHeaders): Promise<number> {
	return new Promise((resolve) => {
		const { origin, ...others } = headers;
		const socket = new WebSocket(url, { ...(origin === undefined ? {} : { origin }), headers: { ...others } });
		socket.on('open', () => {
			socket.terminate();
			resolve(101);
		});
		socket.on('unexpected-response', (request, response) => {
			resolve(response.statusCode ?? 0);
			request.destroy();
		});
		socket.on('error', () => resolve(0));
	});
}
