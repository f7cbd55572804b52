/**
 * WebGPU in Node: Dawn through the npm package `webgpu`.
 *
 * Rule: the object `create` returns must stay referenced for as long as any device lives (Dawn frees the instance with
 * it), so instances are cached per list of flags for the life of the process.
 */
import { create, globals } from 'webgpu';

/** Validation stays on: for tests and for people who report problems. */
export const CHECKED_FLAGS: readonly string[] = ['enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia'];

/** For long runs of shaders that the tests already validated: no per-call validation, no bounds clamps, no workgroup clearing. */
export const FAST_FLAGS: readonly string[] = [
	'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia,skip_validation,disable_robustness,disable_workgroup_init'
];

const instances = new Map<string, GPU>();

/** `flags` as Dawn's `create` takes them, e.g. `backend=null`, `adapter=…`, `enable-dawn-features=…`. */
export function dawn(flags: readonly string[] = CHECKED_FLAGS): Promise<GPU> {
	const key = flags.join(' ');
	let instance = instances.get(key);
	if (!instance) {
		Object.assign(globalThis, globals);
		instance = create([...flags]);
		instances.set(key, instance);
	}
	return Promise.resolve(instance);
}
