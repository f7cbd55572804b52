/**
 * Compute pipelines, one per distinct WGSL text and binding layout, compiled asynchronously.
 *
 * Rules: all compilations of a program are started before any is awaited (drivers compile in parallel); a text that is
 * already compiling is joined, not compiled twice; an error names the shader and shows the offending line.
 *
 * Shaders declare their constants and scalars in group 1. A program that makes a bind group for every dispatch anyway asks for them in group 0
 * (`joined`): setting one group instead of two takes a third off recording.
 */
import { GpuError, type Gpu } from './gpu';
import { shaderName, shaderText, type BindingAccess, type ShaderRequest } from './shaders';

export interface Pipeline {
	readonly pipeline: GPUComputePipeline;
	readonly storageLayout: GPUBindGroupLayout;
	readonly name: string;
}

/** Where `joined` pipelines have the constants and the scalars. */
export const JOINED = { params: 30, scalars: 31 } as const;

const ENTRY = /^\s*@compute[^{};]*\bfn main\s*\(/m;

const join = (code: string): string =>
	code.replace(/@group\(1\)\s*@binding\(([01])\)/g, (_, n: string) => `@group(0) @binding(${n === '0' ? JOINED.params : JOINED.scalars})`);

export class PipelineCache {
	readonly #pipelines = new Map<string, Promise<Pipeline>>();
	readonly #layouts = new Map<string, GPUBindGroupLayout>();
	/** Group 1: the dispatch's constants (dynamic offset into one buffer) and the step's scalars. */
	readonly uniformLayout: GPUBindGroupLayout;

	constructor(readonly gpu: Gpu) {
		this.uniformLayout = gpu.device.createBindGroupLayout({
			label: 'params',
			entries: [
				{ binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true } },
				{ binding: 1, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform' } }
			]
		});
	}

	get size(): number {
		return this.#pipelines.size;
	}

	/** The pipeline for a request; concurrent calls for one text share one compilation. */
	async get(request: ShaderRequest, joined = false): Promise<Pipeline> {
		const name = shaderName(request);
		const key = joined ? `${name} joined` : name;
		let pending = this.#pipelines.get(key);
		if (!pending) {
			pending = shaderText(request).then((code) => this.#compile(name, joined ? join(code) : code, request.access, joined));
			this.#pipelines.set(key, pending);
			pending.catch(() => this.#pipelines.delete(key));
		}
		return pending;
	}

	#layout(access: BindingAccess, joined: boolean): GPUBindGroupLayout {
		const key = `${Array.from(access, (mode) => mode ?? '-').join(' ')}${joined ? ' joined' : ''}`;
		let layout = this.#layouts.get(key);
		if (!layout) {
			layout = this.gpu.device.createBindGroupLayout({
				label: key,
				entries: [
					...access.flatMap((mode, binding) =>
						mode === undefined
							? []
							: [{ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type: mode === 'read' ? ('read-only-storage' as const) : ('storage' as const) } }]
					),
					...(joined ? Object.values(JOINED).map((binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform' as const } })) : [])
				]
			});
			this.#layouts.set(key, layout);
		}
		return layout;
	}

	async #compile(name: string, code: string, access: BindingAccess, joined: boolean): Promise<Pipeline> {
		const { device } = this.gpu;
		const storageLayout = this.#layout(access, joined);
		device.pushErrorScope('validation');
		const module = device.createShaderModule({ label: name, code });
		const moduleError = await device.popErrorScope();
		// Without validation (Node's fast flags) Dawn ends the process over a module without an entry point, and one that failed to parse has none.
		const failed = moduleError === null && (await module.getCompilationInfo()).messages.some(({ type }) => type === 'error');
		const fault = moduleError?.message ?? (failed ? 'it does not compile' : ENTRY.test(code) ? undefined : 'there is no entry point main');
		if (fault !== undefined) throw new GpuError('shader', await describe(name, code, module, fault));
		const layout = device.createPipelineLayout({ label: name, bindGroupLayouts: joined ? [storageLayout] : [storageLayout, this.uniformLayout] });
		try {
			const pipeline = await device.createComputePipelineAsync({ label: name, layout, compute: { module, entryPoint: 'main' } });
			return { pipeline, storageLayout, name };
		} catch (cause) {
			throw new GpuError('shader', await describe(name, code, module, cause instanceof Error ? cause.message : String(cause)));
		}
	}
}

async function describe(name: string, code: string, module: GPUShaderModule, message: string): Promise<string> {
	const lines = code.split('\n');
	const info = await module.getCompilationInfo();
	const errors = info.messages.filter((m) => m.type === 'error');
	if (errors.length === 0) return `${name}: ${message}`;
	return errors.map((m) => `${name}:${m.lineNum}:${m.linePos}: ${m.message}\n    ${lines[m.lineNum - 1] ?? ''}`).join('\n');
}

const caches = new WeakMap<GPUDevice, PipelineCache>();

/** One cache per device: programs built one after another share their pipelines. */
export function pipelinesOf(gpu: Gpu): PipelineCache {
	let cache = caches.get(gpu.device);
	if (!cache) {
		cache = new PipelineCache(gpu);
		caches.set(gpu.device, cache);
	}
	return cache;
}
