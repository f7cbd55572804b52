/**
 * Serves the built app on http://127.0.0.1 and nowhere else. A request can only name a file of a list made by walking the build, so no
 * path can lead outside of it; a request whose Host is not this address is refused, which stops DNS rebinding. The headers forbid
 * every other origin (docs/architecture.md, "Nothing leaves the computer") and make the page cross-origin isolated.
 */
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { APP_HEADERS, helperHeaders } from '../service/headers';
import { contentType } from './mime';

export const DEFAULT_PORT = 5757;
const ADDRESS = '127.0.0.1';

interface Entry {
	file: string;
	type: string;
	bytes: number;
	modified: number;
}

/** Every servable file under `root` by its URL path. */
async function listFiles(root: string): Promise<Map<string, Entry>> {
	const entries = new Map<string, Entry>();
	for (const item of await readdir(root, { recursive: true, withFileTypes: true })) {
		if (!item.isFile()) continue; // directories, and links that could lead elsewhere
		const file = join(item.parentPath, item.name);
		const type = contentType(item.name);
		if (type === undefined) continue;
		const { size, mtimeMs } = await stat(file);
		entries.set(`/${file.slice(root.length).split(/[\\/]/).filter(Boolean).join('/')}`, { file, type, bytes: size, modified: Math.floor(mtimeMs) });
	}
	const index = entries.get('/index.html');
	if (index) entries.set('/', index);
	return entries;
}

function refuse(response: ServerResponse, status: number, text: string, headers: Record<string, string> = {}): void {
	const body = `${text}\n`;
	response.writeHead(status, { ...APP_HEADERS, ...headers, 'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': Buffer.byteLength(body) });
	response.end(body);
}

/** The path of a request target, decoded; undefined when it is not a plain absolute path. */
function pathOf(target: string | undefined): string | undefined {
	if (target === undefined || !target.startsWith('/')) return undefined;
	try {
		return decodeURIComponent(target.split(/[?#]/, 1)[0] ?? '');
	} catch {
		return undefined;
	}
}

/** Names under which this server answers: exactly these. */
function hostsOf(port: number): string[] {
	return [`${ADDRESS}:${port}`, `localhost:${port}`];
}

async function respond(request: IncomingMessage, response: ServerResponse, root: string, port: number): Promise<void> {
	if (!hostsOf(port).includes((request.headers.host ?? '').toLowerCase()))
		return refuse(response, 421, `This is Utsushi on http://${ADDRESS}:${port}; open that address.`);
	if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, 'Only GET and HEAD.', { Allow: 'GET, HEAD' });
	const path = pathOf(request.url);
	if (path === undefined) return refuse(response, 400, 'Bad path.');
	// Listed anew each time, so that a build made meanwhile is served whole; the tree has a few dozen files.
	const entry = (await listFiles(root)).get(path);
	if (!entry) return refuse(response, 404, 'Not found.');
	const tag = `"${entry.modified.toString(36)}-${entry.bytes.toString(36)}"`;
	const headers = {
		...helperHeaders(hostsOf(port)),
		'Content-Type': entry.type,
		ETag: tag,
		// Vite names everything under /assets/ by content; the rest must be asked for again, or an update would never arrive.
		'Cache-Control': path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache'
	};
	if (request.headers['if-none-match'] === tag) {
		response.writeHead(304, headers);
		response.end();
		return;
	}
	response.writeHead(200, { ...headers, 'Content-Length': entry.bytes });
	if (request.method === 'HEAD') {
		response.end();
		return;
	}
	// A reader that went away is not an error of ours; `pipeline` closes the file in every case.
	pipeline(createReadStream(entry.file), response, () => undefined);
}

function listen(server: Server, port: number): Promise<number> {
	return new Promise((resolve, reject) => {
		server.once('error', reject);
		server.listen(port, ADDRESS, () => {
			server.off('error', reject);
			const address = server.address();
			if (address === null || typeof address === 'string') reject(new Error('The server has no port.'));
			else resolve(address.port);
		});
	});
}

export interface AppServer {
	url: string;
	port: number;
	/** `127.0.0.1:5757`, `localhost:5757` */
	hosts: readonly string[];
	/** For the socket, which begins as a request. */
	server: Server;
	close(): Promise<void>;
}

export interface ServeOptions {
	/** Folder of the built app. */
	root: string;
	/** Exactly this port, or an error; without it 5757, or any free one when that is taken. */
	port?: number;
}

export async function serveApp(options: ServeOptions): Promise<AppServer> {
	let port = 0;
	const server = createServer((request, response) => {
		respond(request, response, options.root, port).catch(() => {
			if (response.headersSent) response.destroy();
			else refuse(response, 500, 'The file could not be read.');
		});
	});
	// Whoever opens connections and says nothing must not keep the others out for long.
	server.maxConnections = 512;
	server.headersTimeout = 10_000;
	try {
		port = await listen(server, options.port ?? DEFAULT_PORT);
	} catch (error) {
		const busy = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
		if (!busy || options.port !== undefined) throw error;
		port = await listen(server, 0);
	}
	return {
		url: `http://${ADDRESS}:${port}/`,
		port,
		hosts: hostsOf(port),
		server,
		close: () =>
			new Promise((resolve) => {
				server.closeAllConnections();
				server.close(() => resolve());
			})
	};
}
