import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serveApp, type AppServer } from '../../../src/helper/server';

/** One raw request, so that nothing normalises the path on the way; the answer as text. */
function raw(port: number, head: string): Promise<string> {
	return new Promise((resolve, reject) => {
		const socket = connect(port, '127.0.0.1', () => socket.write(`${head}\r\nConnection: close\r\n\r\n`));
		let text = '';
		socket.on('data', (data) => (text += data.toString('latin1')));
		socket.on('end', () => resolve(text));
		socket.on('error', reject);
	});
}

describe('the app server', () => {
	let folder: string;
	let server: AppServer;
	beforeAll(async () => {
		folder = await mkdtemp(join(tmpdir(), 'utsushi-server-'));
		const root = join(folder, 'app');
		await mkdir(join(root, 'assets'), { recursive: true });
		await writeFile(join(folder, 'secret.txt'), 'secret');
		await writeFile(join(root, 'index.html'), '<!doctype html>app');
		await writeFile(join(root, 'assets', 'x-1.wasm'), new Uint8Array([0, 97, 115, 109]));
		await writeFile(join(root, 'private.key'), 'secret');
		await symlink(join(folder, 'secret.txt'), join(root, 'link.txt'));
		server = await serveApp({ root, port: 0 });
	});
	afterAll(async () => {
		await server.close();
		await rm(folder, { recursive: true, force: true });
	});

	const host = (): string => `Host: 127.0.0.1:${server.port}`;
	const get = (path: string, headers: Record<string, string> = {}): Promise<Response> => fetch(new URL(path, server.url), { headers });

	it('serves the page, isolated and closed to every other origin', async () => {
		const reply = await get('/');
		expect(reply.status).toBe(200);
		expect(await reply.text()).toContain('app');
		expect(reply.headers.get('content-type')).toBe('text/html; charset=utf-8');
		const policy = reply.headers.get('content-security-policy') ?? '';
		expect(policy).toMatch(/default-src '(self|none)'/);
		expect(policy).toMatch(/connect-src 'self'/);
		expect(policy).toContain("frame-ancestors 'none'");
		expect(policy).not.toMatch(/https?:|\*|unsafe-inline|'unsafe-eval'/);
		expect(reply.headers.get('cross-origin-opener-policy')).toBe('same-origin');
		expect(reply.headers.get('cross-origin-embedder-policy')).toBe('require-corp');
		expect(reply.headers.get('x-content-type-options')).toBe('nosniff');
	});

	it('gives WebAssembly its type and hashed files a long life', async () => {
		const reply = await get('/assets/x-1.wasm');
		expect(reply.headers.get('content-type')).toBe('application/wasm');
		expect(reply.headers.get('cache-control')).toContain('immutable');
		expect(new Uint8Array(await reply.arrayBuffer())).toEqual(new Uint8Array([0, 97, 115, 109]));
	});

	it('answers 304 to the tag it gave', async () => {
		const tag = (await get('/')).headers.get('etag') ?? '';
		expect(tag).not.toBe('');
		expect((await get('/', { 'if-none-match': tag })).status).toBe(304);
		expect((await get('/', { 'if-none-match': '"other"' })).status).toBe(200);
	});

	it.each([
		'/../secret.txt',
		'/%2e%2e/secret.txt',
		'/..%2fsecret.txt',
		'/assets/..%2f..%2fsecret.txt',
		'/..%5csecret.txt',
		'/assets/../../secret.txt',
		'/link.txt',
		'/private.key',
		'/%00',
		'//secret.txt',
		'/assets/',
		'/%zz',
		'http://127.0.0.1/index.html',
		'*'
	])('gives nothing for the path %s', async (path) => {
		const reply = await raw(server.port, `GET ${path} HTTP/1.1\r\n${host()}`);
		expect(reply).toMatch(/^HTTP\/1\.1 4\d\d /);
		expect(reply).not.toMatch(/\r\n\r\n.*secret/s);
	});

	it.each(['evil.example', 'evil.example:5757', '127.0.0.1', '127.0.0.1.evil.example', '[::1]', ''])('refuses the Host "%s"', async (name) => {
		const reply = await raw(server.port, `GET / HTTP/1.1\r\nHost: ${name}`);
		expect(reply).toMatch(/^HTTP\/1\.1 421 /);
		expect(reply).not.toContain('<!doctype html>app');
	});

	it('refuses to be written to', async () => {
		expect((await fetch(server.url, { method: 'POST', body: 'x' })).status).toBe(405);
		expect((await fetch(server.url, { method: 'HEAD' })).headers.get('content-length')).toBe('18');
	});

	it('takes another port by itself only when none was asked for', async () => {
		await expect(serveApp({ root: join(folder, 'app'), port: server.port })).rejects.toThrow(/EADDRINUSE/);
		const first = await serveApp({ root: join(folder, 'app') });
		const second = await serveApp({ root: join(folder, 'app') });
		expect(second.port).not.toBe(first.port);
		expect((await fetch(second.url)).status).toBe(200);
		await first.close();
		await second.close();
	});
});
