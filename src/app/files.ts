/** Files that lie beside the page (samples, the mini model), as absolute addresses: a worker would resolve relative ones against its own script. */
export function appFile(path: string): string {
	return new URL(`${import.meta.env.BASE_URL}${path}`, document.baseURI).href;
}
