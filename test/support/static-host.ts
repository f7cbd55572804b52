/** A static host as one finds them: serves a folder under a path, sends no headers of its own, and counts what it was asked for. */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';
import { contentType } from '../../src/helper/mime';

export interface StaticHost {
	/** Of the folder, with a slash at the end. */
	url: string;
	/** Paths below the folder in the order they were asked for, since the last `forget`. */
	asked: string[];
	forget(): void;
	stop(): Promise<void>;
}

export async function hostStatically(folder: string, under: string): Promise<StaticHost> {
	const asked: string[] = [];
	const server = createServer((request, response) => {
		const { pathname } = new URL(request.url ?? '/', 'http://host');
		const path = normalize(pathname.slice(under.length) || 'index.html');
		if (pathname.startsWith(under)) asked.push(path);
		const file = join(folder, path);
		if (!pathname.startsWith(under) || path.startsWith('..') || !existsSync(file) || !statSync(file).isFile()) {
			response.writeHead(404).end();
			return;
		}
		response.writeHead(200, { 'Content-Type': contentType(path) ?? 'application/octet-stream' });
		createReadStream(file).pipe(response);
	});
	await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
	return {
		url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${under}`,
		asked,
		forget: () => {
			asked.length = 0;
		},
		stop: () =>
			new Promise((stopped) => {
				server.closeAllConnections();
				server.close(() => stopped());
			})
	};
}
