/** Content types of what a build of the app consists of. Anything else is not served. */
const TYPES: Readonly<Record<string, string>> = {
	html: 'text/html; charset=utf-8',
	js: 'text/javascript; charset=utf-8',
	mjs: 'text/javascript; charset=utf-8',
	css: 'text/css; charset=utf-8',
	json: 'application/json; charset=utf-8',
	webmanifest: 'application/manifest+json; charset=utf-8',
	wasm: 'application/wasm',
	svg: 'image/svg+xml',
	png: 'image/png',
	ico: 'image/x-icon',
	webp: 'image/webp',
	woff2: 'font/woff2',
	txt: 'text/plain; charset=utf-8',
	safetensors: 'application/octet-stream'
};

/** Of a file name; undefined when this kind of file is not served. */
export function contentType(name: string): string | undefined {
	const dot = name.lastIndexOf('.');
	return dot < 0 ? undefined : TYPES[name.slice(dot + 1).toLowerCase()];
}
