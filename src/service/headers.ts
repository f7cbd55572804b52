/**
 * The response headers of the app, in one place for everybody who serves it: the helper's server, the service worker (which adds them
 * on static hosts that cannot) and the build (policy in a meta tag, for the very first visit to such a host).
 * Isolation (COOP + COEP) gives shared memory, i.e. threads for ONNX Runtime. The policy lets nothing out of this computer.
 */

const POLICY: Readonly<Record<string, string>> = {
	'default-src': "'none'",
	'script-src': "'self' 'wasm-unsafe-eval'",
	'worker-src': "'self'",
	// The helper of this very computer, for pages that do not come from it.
	'connect-src': "'self' blob: data: ws://127.0.0.1:* ws://localhost:*",
	'img-src': "'self' blob: data:",
	'style-src': "'self'",
	'font-src': "'self'",
	'manifest-src': "'self'",
	'base-uri': "'none'",
	'form-action': "'none'"
};

/** The policy as a meta tag takes it (a meta tag knows no frame-ancestors). */
export function metaPolicy(): string {
	return Object.entries(POLICY)
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
