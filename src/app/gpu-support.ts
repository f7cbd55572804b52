/** What can be said about WebGPU without loading the trainer: enough for the page to explain itself at once. */
export type GpuSupport = 'there' | 'missing' | 'insecure';

export function gpuSupport(): GpuSupport {
	if (!window.isSecureContext) return 'insecure';
	return 'gpu' in navigator ? 'there' : 'missing';
}
