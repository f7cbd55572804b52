/**
 * The response headers of the app, in one place for everybody who serves it: the helper's server, the service worker (which adds them
 * on static hosts that cannot) and the build (policy in a meta tag, for the very first visit to such a host).
 * Isolation (COOP + COEP) gives shared memory, i.e. threads for ONNX Runtime. The policy lets nothing out of this computer.
 */

/** Where a page that does not come from a helper may look for one: on this very computer. */
const ANY_HELPER = ['127.0.0.1:*', 'localhost:*'];

const policy = (helpers: readonly string[]): Readonly<Record<string, string>> => ({
	'default-src': "'none'",
	'script-src': "'self' 'wasm-unsafe-eval'",
	'worker-src': "'self'",
	'connect-src': `'self' blob: data: ${helpers.map((host) => `ws://${host}`).join(' ')}`,
	'img-src': "'self' blob: data:",
	'style-src': "'self'",
	'font-src': "'self'",
	'manifest-src': "'self'",
	'base-uri': "'none'",
	'form-action': "'none'"
});

/** The policy as a meta tag takes it (a meta tag knows no frame-ancestors). */
export function metaPolicy(helpers: readonly string[] = ANY_HELPER): string {
	return Object.entries(policy(helpers))
		.map(([directive, sources]) => `${directive} ${sources}`)
		.join('; ');
}

/** Headers for every response of the app, pages, scripts and workers alike. */
export const APP_HEADERS: Readonly<Record<string, string>> = {
	'Content-Security-Policy': `${metaPolicy()}; frame-ancestors 'none'`,
	'Cross-Origin-Opener-Policy': 'same-origin',
	'Cross-Origin-Embedder-Policy': 'require-corp',
	'Cross-Origin-Resource-Policy': 'same-origin',
	'Referrer-Policy': 'no-referrer',
	'X-Content-Type-Options': 'nosniff'
};

/** The same from a helper, whose pages need no other one. @param hosts its own, `127.0.0.1:5757` */
export function helperHeaders(hosts: readonly string[]): Readonly<Record<string, string>> {
	return { ...APP_HEADERS, 'Content-Security-Policy': `${metaPolicy(hosts)}; frame-ancestors 'none'` };
}
