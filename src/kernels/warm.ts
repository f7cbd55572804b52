/**
 * Compiles the kernels of planned programs before anything else of them exists, while the caller does other work: drivers compile on threads of their own, and a text that is
 * compiling already is joined by whoever needs it (`gpu/pipelines.ts`).
 *
 * Rule: it may only be early, never wrong. What cannot be compiled here is found again, with its error, by the program that needs it.
 */
import type { Gpu } from '../gpu/gpu';
import { pipelinesOf } from '../gpu/pipelines';
import { shaderName, type BindingAccess, type ShaderRequest } from '../gpu/shaders';
import type { Dispatch, Slot } from './dispatch';
import type { ProgramPlan } from './plan-program';
import { isCopy } from './residency';

/** How a dispatch binds its slots: what lies in a buffer that is written is never bound for reading only. */
export function accessOf(step: Dispatch, writable: (slot: Slot, index: number) => boolean): BindingAccess {
	const access: ('read' | 'read_write' | undefined)[] = [];
	step.bindings.forEach(({ slot, binding, access: mode }, i) => (access[binding ?? i] = mode === 'read' && !writable(slot, i) ? 'read' : 'read_write'));
	return access;
}

/** Enough to keep the driver's threads busy while this one is held up for half a second, and not so many that kernels which are needed sooner wait behind all of them. */
const AT_ONCE = 16;

/** Starts compiling what the plans need and returns at once. @returns how many kernels those are, once they are compiled (or are not: nothing rejects) */
export async function warmPlans(gpu: Gpu, plans: readonly ProgramPlan[]): Promise<number> {
	const cache = pipelinesOf(gpu);
	const before = cache.size;
	const wanted = new Map<string, ShaderRequest>();
	for (const { steps, memory, gradients } of plans) {
		const stored = new Set<Slot>(gradients.values());
		const writable = (slot: Slot): boolean => memory.place.has(slot) || stored.has(slot);
		for (const step of steps) {
			if (isCopy(step)) continue;
			const request = { shader: step.shader, conditions: step.conditions, constants: step.constants, access: accessOf(step, writable) };
			wanted.set(shaderName(request), request);
		}
	}
	const requests = wanted.values();
	const lane = async (): Promise<void> => {
		for (const request of requests) await cache.get(request, true).catch(() => undefined);
	};
	await Promise.all(Array.from({ length: AT_ONCE }, lane));
	return cache.size - before;
}
