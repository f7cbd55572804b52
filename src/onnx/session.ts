/**
 * Runs ONNX models in onnxruntime's WebAssembly, in browser workers and in Node alike, on several threads where the surroundings allow it: a VAE at 1024² is 10 TFLOP.
 * - The runtime is imported when the first session is opened; in a browser its .wasm comes from the app's own origin. Node has a build of its own, because only that one knows
 *   Node's threads. In a browser threads need an isolated page (`service/headers.ts`); without that there is one.
 * - The number of threads changes the last bits of a VAE's output (1, 2 and 4 threads: 1e-7 apart; a text encoder's stay), so a run that goes on with other cores than it began
 *   with goes on with pictures encoded that much differently.
 * - Opening and running are queued: the runtime does not like two at once.
 * - `close` frees the session inside the runtime's heap. That heap never shrinks; only ending the worker gives its pages back.
 */
import type { InferenceSession, Tensor } from 'onnxruntime-web/wasm';
import wasmUrl from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?url';

export interface OnnxTensor {
	readonly dims: readonly number[];
	readonly data: Float32Array | BigInt64Array;
}

export interface OnnxSession {
	/** @returns all outputs by name @throws Error of the runtime, e.g. when memory is exhausted */
	run(inputs: Readonly<Record<string, OnnxTensor>>): Promise<Record<string, OnnxTensor>>;
	close(): Promise<void>;
}

type Runtime = typeof import('onnxruntime-web/wasm');

let runtime: Promise<Runtime> | undefined;
let queue: Promise<unknown> = Promise.resolve();

function loadRuntime(): Promise<Runtime> {
	runtime ??= (import.meta.env.SSR ? import('onnxruntime-web') : import('onnxruntime-web/wasm')).then((ort: Runtime) => {
		ort.env.logLevel = 'error';
		ort.env.wasm.numThreads = threads();
		// In Node the runtime finds its file beside its own module.
		if (typeof location !== 'undefined') ort.env.wasm.wasmPaths = { wasm: new URL(wasmUrl, location.href).href };
		return ort;
	});
	return runtime;
}

let cores = typeof navigator === 'undefined' ? 4 : navigator.hardwareConcurrency;

/** How many cores there are, for surroundings that do not say it themselves (Node 20); before the first session. */
export function tellCores(count: number): void {
	cores = count;
}

/** As many as there are cores, up to 8: more gain little and take the page's own. */
function threads(): number {
	return !import.meta.env.SSR && !crossOriginIsolated ? 1 : Math.max(1, Math.min(8, cores));
}

function inTurn<T>(work: () => Promise<T>): Promise<T> {
	const result = queue.then(work);
	queue = result.catch(() => undefined);
	return result;
}

/** @param model a serialised ModelProto, no longer needed afterwards @throws Error of the runtime when the model is not valid */
export async function openSession(model: Uint8Array): Promise<OnnxSession> {
	const ort = await loadRuntime();
	const session: InferenceSession = await inTurn(() => ort.InferenceSession.create(model, { executionProviders: ['wasm'], enableCpuMemArena: false }));
	return {
		run: (inputs) =>
			inTurn(async () => {
				const feeds: Record<string, Tensor> = {};
				for (const [name, { data, dims }] of Object.entries(inputs)) {
					feeds[name] = data instanceof Float32Array ? new ort.Tensor('float32', data, dims) : new ort.Tensor('int64', data, dims);
				}
				const results = await session.run(feeds);
				return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, unpack(name, tensor)]));
			}),
		close: () => inTurn(() => session.release())
	};
}

function unpack(name: string, tensor: Tensor): OnnxTensor {
	const { data, dims } = tensor;
	if (!(data instanceof Float32Array) && !(data instanceof BigInt64Array)) throw new TypeError(`Output ${name} is neither float nor int64`);
	return { dims, data };
}
