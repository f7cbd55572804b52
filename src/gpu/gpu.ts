/**
 * Opens a WebGPU device with everything the adapter offers, and says what it got.
 *
 * Rule: ask for the highest limits and every feature the kernels can use, then let the kernels adapt; nothing else in
 * the project talks to `requestAdapter`/`requestDevice`. Errors that no scope caught are kept and thrown by `check()`
 * at the next run or readback, because WebGPU itself would carry on silently with invalid objects.
 */

export interface AdapterFacts {
	readonly vendor: string;
	readonly architecture: string;
	readonly device: string;
	readonly description: string;
	readonly isFallback: boolean;
	/** Runs on the CPU (llvmpipe/lavapipe, SwiftShader, WARP): kernels then prefer few fat invocations. */
	readonly software: boolean;
}

export interface Gpu {
	readonly device: GPUDevice;
	readonly adapter: AdapterFacts;
	/** Halves can be read as `vec4<f16>`; otherwise they are unpacked from u32. */
	readonly f16: boolean;
	readonly subgroups: boolean;
	/** Multiplies 16 × 16 matrices of halves into f32 sums in a subgroup of 32 (`chromium-experimental-subgroup-matrix`). */
	readonly subgroupMatrix: boolean;
	/** Opened without bounds clamps, as `OpenOptions` said. */
	readonly unclamped?: boolean;
	/** Lanes of every subgroup where the adapter knows only one size; 0 otherwise. */
	readonly subgroupSize: number;
	readonly timestamps: boolean;
	readonly limits: GPUSupportedLimits;
	readonly features: ReadonlySet<string>;
	/** Resolves (never rejects) when the device is gone, also after `close()`. */
	readonly lost: Promise<GPUDeviceLostInfo>;
	/** Throws the first error that no scope caught, if there was one. */
	check(): void;
	close(): void;
}

export interface OpenOptions {
	/** false: pretend that shader-f16 is missing. */
	readonly f16?: boolean;
	/** Overrides the guess whether this is a software adapter (tests run both kinds of kernels anywhere). */
	readonly software?: boolean;
	/** false: pretend that subgroups are missing. */
	readonly subgroups?: boolean;
	/** false: pretend that subgroup matrices are missing, as in browsers. */
	readonly matrices?: boolean;
	/** The provider clamps no accesses (`FAST_FLAGS` in Node): what only was seen to compile that way is chosen only then. */
	readonly unclamped?: boolean;
	readonly onError?: (message: string) => void;
}

/** Raised when there is no usable adapter or the device was refused, lost or reported an error. */
export class GpuError extends Error {
	constructor(
		readonly code: 'unavailable' | 'lost' | 'memory' | 'shader' | 'validation',
		message: string
	) {
		super(message);
		this.name = 'GpuError';
	}
}

const MATRICES = 'chromium-experimental-subgroup-matrix';
const WANTED_FEATURES = ['shader-f16', 'subgroups', 'timestamp-query', MATRICES];
/** What brings these along, or is nothing without them. */
const NEEDS_HALVES = new Set(['shader-f16', MATRICES]);
const NEEDS_SUBGROUPS = new Set(['subgroups', MATRICES]);

/** What Dawn adds to `GPUAdapterInfo` for the matrix extension; not in the standard's types. */
interface MatrixConfig {
	readonly componentType: string;
	readonly resultComponentType: string;
	readonly M: number;
	readonly N: number;
	readonly K: number;
}

function multipliesHalves(info: GPUAdapterInfo & { readonly subgroupMatrixConfigs?: Iterable<MatrixConfig> }): boolean {
	const fits = (c: MatrixConfig): boolean => c.componentType === 'f16' && c.resultComponentType === 'f32' && c.M === 16 && c.N === 16 && c.K === 16;
	return info.subgroupMinSize <= 32 && info.subgroupMaxSize >= 32 && [...(info.subgroupMatrixConfigs ?? [])].some(fits);
}

const WANTED_LIMITS = [
	'maxBufferSize',
	'maxStorageBufferBindingSize',
	'maxStorageBuffersPerShaderStage',
	'maxComputeWorkgroupStorageSize',
	'maxComputeInvocationsPerWorkgroup',
	'maxComputeWorkgroupSizeX',
	'maxComputeWorkgroupSizeY',
	'maxComputeWorkgroupSizeZ',
	'maxComputeWorkgroupsPerDimension'
] as const satisfies readonly (keyof GPUSupportedLimits)[];

const SOFTWARE = /llvmpipe|lavapipe|swiftshader|softpipe|basic render|warp\b|software/i;

export async function openGpu(provider: GPU, options: OpenOptions = {}): Promise<Gpu> {
	const adapter = await provider.requestAdapter({ powerPreference: 'high-performance' });
	if (!adapter) throw new GpuError('unavailable', 'No WebGPU adapter was found.');
	const info = adapter.info;
	const facts: AdapterFacts = {
		vendor: info.vendor,
		architecture: info.architecture,
		device: info.device,
		description: info.description,
		isFallback: info.isFallbackAdapter ?? false,
		software: options.software ?? SOFTWARE.test(`${info.vendor} ${info.architecture} ${info.device} ${info.description}`)
	};
	const missing = (name: string): boolean =>
		(options.f16 === false && NEEDS_HALVES.has(name)) ||
		(options.subgroups === false && NEEDS_SUBGROUPS.has(name)) ||
		(options.matrices === false && name === MATRICES);
	const wanted = WANTED_FEATURES.filter((name) => !missing(name) && adapter.features.has(name));
	const requiredLimits: Record<string, number> = {};
	for (const name of WANTED_LIMITS) requiredLimits[name] = adapter.limits[name];
	// The list is checked against the adapter just above; the DOM's name type does not know Chromium's experimental feature.
	const requiredFeatures = wanted as GPUFeatureName[];
	const device = await adapter.requestDevice({ label: 'utsushi', requiredFeatures, requiredLimits }).catch((cause: unknown) => {
		throw new GpuError('unavailable', `The GPU refused a device: ${cause instanceof Error ? cause.message : String(cause)}`);
	});

	let failure: GpuError | undefined;
	let closed = false;
	device.addEventListener('uncapturederror', (event) => {
		const error = event.error;
		failure ??= new GpuError('validation', error.message);
		if (options.onError) options.onError(error.message);
		else console.error(`GPU error: ${error.message}`);
	});
	const lost = device.lost.then((reason) => {
		if (!closed) failure = new GpuError('lost', `The GPU device was lost (${reason.reason || 'unknown'}): ${reason.message}`);
		return reason;
	});
	const features = new Set<string>(device.features);
	return {
		device,
		adapter: facts,
		f16: features.has('shader-f16'),
		subgroups: features.has('subgroups'),
		unclamped: options.unclamped === true,
		subgroupMatrix: features.has(MATRICES) && features.has('shader-f16') && multipliesHalves(info),
		subgroupSize: features.has('subgroups') && info.subgroupMinSize === info.subgroupMaxSize ? info.subgroupMinSize : 0,
		timestamps: features.has('timestamp-query'),
		limits: device.limits,
		features,
		lost,
		check() {
			if (failure) throw failure;
		},
		close() {
			closed = true;
			device.destroy();
		}
	};
}
