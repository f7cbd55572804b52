/**
 * The service worker: keeps the whole app (page, scripts, the mini model, samples, ONNX Runtime) so that it opens offline after the
 * first visit, and adds the isolation headers where the host does not send them.
 *
 * The build hands over `__FILES__`, every file with its SHA-256. The cache is addressed by content (`path?sha256=…`): an update downloads
 * only what changed, the previous version stays complete until the new one is, and a damaged or half-deployed download is refused
 * by the browser itself (`integrity`). A new version waits until the page says `activate`, so a running training is never swapped out.
 */
import { APP_HEADERS } from '../service/headers';

declare const self: ServiceWorkerGlobalScope;
declare const __FILES__: readonly (readonly [path: string, sha256: string])[];

const CACHE = 'utsushi-files';
const AT_ONCE = 4;
const scope = new URL(self.registration.scope);

/** URL path → key in the cache. The scope itself is the page. */
const keys = new Map(__FILES__.map(([path, sha256]) => [new URL(path, scope).pathname, `${new URL(path, scope).href}?sha256=${encodeURIComponent(sha256)}`]));
const page = keys.get(new URL('index.html', scope).pathname);

function isolated(response: Response): Response {
	const headers = new Headers(response.headers);
	for (const [name, value] of Object.entries(APP_HEADERS)) headers.set(name, value);
	return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

async function install(): Promise<void> {
	const cache = await caches.open(CACHE);
	const queue = [...__FILES__];
	const lane = async (): Promise<void> => {
		for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
			const [path, sha256] = next;
			const url = new URL(path, scope);
			const key = keys.get(url.pathname);
			if (key === undefined || (await cache.match(key)) !== undefined) continue;
			const response = await fetch(url, { cache: 'no-cache', integrity: `sha256-${sha256}` });
			if (!response.ok) throw new Error(`${path}: ${response.status}`);
			await cache.put(key, isolated(response));
		}
	};
	await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

async function activate(): Promise<void> {
	const cache = await caches.open(CACHE);
	const wanted = new Set(keys.values());
	for (const request of await cache.keys()) if (!wanted.has(request.url)) await cache.delete(request);
	await self.clients.claim();
}

async function answer(request: Request, key: string | undefined): Promise<Response> {
	const kept = key === undefined ? undefined : await (await caches.open(CACHE)).match(key);
	if (kept !== undefined) return kept;
	const response = await fetch(request);
	// Opaque and redirect responses cannot be rebuilt; they pass as they are.
	return response.status === 0 || response.redirected ? response : isolated(response);
}

self.addEventListener('install', (event) => event.waitUntil(install()));
self.addEventListener('activate', (event) => event.waitUntil(activate()));
self.addEventListener('message', (event) => {
	if ((event.data as { type?: unknown } | null)?.type === 'activate') event.waitUntil(self.skipWaiting());
});
self.addEventListener('fetch', (event) => {
	const url = new URL(event.request.url);
	if (event.request.method !== 'GET' || url.origin !== scope.origin || !url.pathname.startsWith(scope.pathname)) return;
	if (url.pathname === new URL('sw.js', scope).pathname) return;
	event.respondWith(answer(event.request, event.request.mode === 'navigate' && url.pathname === scope.pathname ? page : keys.get(url.pathname)));
});
